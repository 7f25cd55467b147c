//! `/stores` and `/store` (tikv/pd `server/api/store.go`, `pkg/response/store.go`).
use std::{collections::BTreeMap, time::Duration};

use axum::extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection};
use kvproto::metapb::{Store, StoreState};
use serde::Serialize;

use super::{
    Answer, Shared,
    error::ApiError,
    go_format::{self, Float},
    is_zero, ok, score,
};
use crate::server::{cluster::Inner, store_state::StoreStateError, stores::StoreInfo};

#[derive(Serialize)]
struct Label {
    key: String,
    value: String,
}

#[derive(Serialize)]
struct MetaStore {
    #[serde(skip_serializing_if = "is_zero")]
    id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    address: String,
    #[serde(skip_serializing_if = "is_zero")]
    state: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label>,
    #[serde(skip_serializing_if = "is_zero")]
    version: String,
    #[serde(skip_serializing_if = "is_zero")]
    peer_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    status_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    git_hash: String,
    #[serde(skip_serializing_if = "is_zero")]
    start_timestamp: i64,
    #[serde(skip_serializing_if = "is_zero")]
    deploy_path: String,
    #[serde(skip_serializing_if = "is_zero")]
    last_heartbeat: i64,
    #[serde(skip_serializing_if = "is_zero")]
    physically_destroyed: bool,
    #[serde(skip_serializing_if = "is_zero")]
    node_state: i32,
    state_name: &'static str,
}

#[derive(Serialize)]
struct Status {
    capacity: String,
    available: String,
    used_size: String,
    leader_count: usize,
    leader_weight: Float,
    leader_score: Float,
    leader_size: u64,
    region_count: usize,
    region_weight: Float,
    region_score: Float,
    region_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    learner_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pending_peer_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    slow_score: u64,
    #[serde(skip_serializing_if = "is_zero")]
    sending_snap_count: u32,
    #[serde(skip_serializing_if = "is_zero")]
    receiving_snap_count: u32,
    #[serde(skip_serializing_if = "is_zero")]
    is_busy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<String>,
}

#[derive(Serialize)]
struct ApiStore {
    store: MetaStore,
    status: Status,
}

#[derive(Serialize)]
struct ApiStores {
    count: usize,
    stores: Vec<ApiStore>,
}

/// The load of regions on a store.
#[derive(Clone, Copy, Default)]
struct Load {
    leaders: usize,
    leader_size: u64,
    peers: usize,
    size: u64,
    learners: usize,
    pending: usize,
}

fn loads(inner: &Inner) -> BTreeMap<u64, Load> {
    let mut loads = BTreeMap::<u64, Load>::new();
    for info in inner.regions.iter() {
        for peer in &info.meta.peers {
            let load = loads.entry(peer.store_id).or_default();
            load.peers += 1;
            load.size += info.approximate_size;
            load.learners += usize::from(peer.is_learner());
            load.pending += usize::from(!info.has_caught_up(peer));
        }
        if let Some(leader) = info.leader_store() {
            let load = loads.entry(leader).or_default();
            load.leaders += 1;
            load.leader_size += info.approximate_size;
        }
    }
    loads
}

/// Down and Disconnected are not real states: PD shows them for silent stores that are Up.
fn state_name(store: &StoreInfo, inner: &Inner, now_ms: u64) -> &'static str {
    match store.meta.state() {
        StoreState::Up if store.down_ms(now_ms) > inner.max_store_down_ms => "Down",
        StoreState::Up if store.is_disconnected(now_ms) => "Disconnected",
        StoreState::Up => "Up",
        StoreState::Offline => "Offline",
        StoreState::Tombstone => "Tombstone",
    }
}

fn meta(meta: &Store, state_name: &'static str) -> MetaStore {
    let label =
        |label: &kvproto::metapb::StoreLabel| Label { key: label.key.clone(), value: label.value.clone() };
    MetaStore {
        id: meta.id,
        address: meta.address.clone(),
        state: meta.state,
        labels: meta.labels.iter().map(label).collect(),
        version: meta.version.clone(),
        peer_address: meta.peer_address.clone(),
        status_address: meta.status_address.clone(),
        git_hash: meta.git_hash.clone(),
        start_timestamp: meta.start_timestamp,
        deploy_path: meta.deploy_path.clone(),
        last_heartbeat: meta.last_heartbeat,
        physically_destroyed: meta.physically_destroyed,
        node_state: meta.node_state,
        state_name,
    }
}

fn status(store: &StoreInfo, load: Load) -> Status {
    let stats = &store.stats;
    let started = Duration::from_secs(u64::try_from(store.meta.start_timestamp).unwrap_or(0));
    let heartbeat = Duration::from_nanos(u64::try_from(store.meta.last_heartbeat).unwrap_or(0));
    let uptime = heartbeat.checked_sub(started).filter(|uptime| !uptime.is_zero());
    Status {
        capacity: go_format::bytes_size(stats.capacity),
        available: go_format::bytes_size(stats.available),
        used_size: go_format::bytes_size(stats.used_size),
        leader_count: load.leaders,
        leader_weight: Float(1.0),
        leader_score: Float(load.leaders as f64),
        leader_size: load.leader_size,
        region_count: load.peers,
        region_weight: Float(1.0),
        region_score: Float(score::region_score(stats, load.size)),
        region_size: load.size,
        learner_count: load.learners,
        pending_peer_count: load.pending,
        slow_score: stats.slow_score,
        sending_snap_count: stats.sending_snap_count,
        receiving_snap_count: stats.receiving_snap_count,
        is_busy: stats.is_busy,
        start_ts: (!started.is_zero()).then(|| go_format::time(started)),
        last_heartbeat_ts: (!heartbeat.is_zero()).then(|| go_format::time(heartbeat)),
        uptime: uptime.map(go_format::duration),
    }
}

fn describe(store: &StoreInfo, inner: &Inner, loads: &BTreeMap<u64, Load>, now_ms: u64) -> ApiStore {
    let load = loads.get(&store.meta.id).copied().unwrap_or_default();
    ApiStore { store: meta(&store.meta, state_name(store, inner, now_ms)), status: status(store, load) }
}

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

fn states(params: Pairs) -> Result<Vec<String>, ApiError> {
    let Query(pairs) = params?;
    Ok(pairs.into_iter().filter(|(name, _)| name == "state").map(|(_, value)| value).collect())
}

/// Lists stores that are Up or Offline, or those in the states given by number.
pub async fn all(State(api): Shared, params: Pairs) -> Answer {
    let mut wanted = Vec::new();
    for text in states(params)? {
        let number = go_format::parse_i64(&text).map_err(ApiError::BadInput)?;
        let known = i32::try_from(number).ok().and_then(|number| StoreState::try_from(number).ok());
        wanted.push(known.ok_or_else(|| ApiError::BadInput(format!("unknown StoreState: {text}")))?);
    }
    if wanted.is_empty() {
        wanted = vec![StoreState::Up, StoreState::Offline];
    }
    list(&api, |store, _| wanted.contains(&store.meta.state()))
}

/// Lists stores by the names of their states, in any case.
pub async fn by_state(State(api): Shared, params: Pairs) -> Answer {
    const NAMES: [&str; 5] = ["up", "offline", "tombstone", "down", "disconnected"];
    let wanted = states(params)?;
    let wanted: Vec<String> =
        wanted.iter().map(|name| name.to_lowercase()).filter(|s| !s.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(ApiError::BadInput(format!("unknown StoreState: {unknown}")));
    }
    list(&api, |_, name| wanted.is_empty() || wanted.contains(&name.to_lowercase()))
}

fn list(api: &super::Api, is_wanted: impl Fn(&StoreInfo, &str) -> bool) -> Answer {
    let (inner, now_ms) = (api.cluster.running()?, api.cluster.now_ms());
    let loads = loads(&inner);
    let wanted = inner.stores.0.values().filter(|store| is_wanted(store, state_name(store, &inner, now_ms)));
    let stores: Vec<ApiStore> = wanted.map(|store| describe(store, &inner, &loads, now_ms)).collect();
    ok(&ApiStores { count: stores.len(), stores })
}

fn id_of(path: Result<Path<String>, PathRejection>) -> Result<u64, ApiError> {
    let Path(id) = path?;
    go_format::parse_u64(&id).map_err(ApiError::BadInput)
}

pub async fn one(State(api): Shared, id: Result<Path<String>, PathRejection>) -> Answer {
    let id = id_of(id)?;
    let (inner, now_ms) = (api.cluster.running()?, api.cluster.now_ms());
    let store = inner.stores.0.get(&id).ok_or(ApiError::StoreNotFound(id))?;
    ok(&describe(store, &inner, &loads(&inner), now_ms))
}

/// Takes a store out; `?force` means that it is physically destroyed.
pub async fn remove(State(api): Shared, id: Result<Path<String>, PathRejection>, params: Pairs) -> Answer {
    let (id, Query(params)) = (id_of(id)?, params?);
    api.cluster.remove_store(id, params.iter().any(|(name, _)| name == "force"))?;
    ok(&"The store is set as Offline.")
}

pub async fn set_state(State(api): Shared, id: Result<Path<String>, PathRejection>, params: Pairs) -> Answer {
    let (id, state) = (id_of(id)?, states(params)?.into_iter().next().unwrap_or_default());
    match state.to_lowercase().as_str() {
        "up" => api.cluster.up_store(id)?,
        "offline" => api.cluster.remove_store(id, false)?,
        _ => return Err(ApiError::BadInput(format!("invalid state {state}"))),
    }
    ok(&"The store's state is updated.")
}

pub async fn remove_tombstones(State(api): Shared) -> Answer {
    api.cluster.remove_tombstones().map_err(|e: StoreStateError| ApiError::from(e))?;
    ok(&"Remove tombstone successfully.")
}
