//! `/pd/api/v2/keyspaces` (tikv/pd `server/apiv2/handlers/keyspace.go`). Codes and JSON are those of PD's handlers.
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, patch, post, put},
};
use kvproto::keyspacepb::{KeyspaceMeta, KeyspaceState};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Serializer, ser::PrettyFormatter};

use super::{Api, Shared, error::ApiError, go_format};
use crate::server::keyspace::{ConfigPatch, KeyspaceError, id_of};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Create {
    id: Option<u32>,
    name: String,
    config: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateConfig {
    config: ConfigPatch,
    preconditions: ConfigPatch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateState {
    state: String,
}

/// A keyspace. As in PD, fields with a zero value are omitted, but the id.
#[derive(Serialize)]
struct Keyspace {
    id: u32,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "super::is_zero")]
    created_at: i64,
    #[serde(skip_serializing_if = "super::is_zero")]
    state_changed_at: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
}

impl From<KeyspaceMeta> for Keyspace {
    fn from(meta: KeyspaceMeta) -> Self {
        Keyspace {
            id: id_of(&meta),
            state: meta.state().as_str_name(),
            created_at: meta.created_at,
            state_changed_at: meta.state_changed_at,
            name: meta.name,
            config: meta.config.into_iter().collect(),
        }
    }
}

#[derive(Serialize)]
struct Page {
    /// Null if there is none, as Go writes an empty list.
    keyspaces: Option<Vec<Keyspace>>,
    next_page_token: String,
}

type Parameters = Query<HashMap<String, String>>;

/// The routes below `/pd/api/v2/keyspaces`.
pub fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/keyspaces", get(all).post(create))
        // A keyspace may have the name `id`.
        .route("/keyspaces/id", post(create_by_id).get(load_named_id))
        .route("/keyspaces/id/{id}", get(load_by_id))
        .route("/keyspaces/{name}", get(load))
        .route("/keyspaces/{name}/config", patch(update_config))
        .route("/keyspaces/{name}/state", put(update_state))
}

async fn create(State(api): Shared, body: Bytes) -> Response {
    parsed(&api, &body, |Create { name, config, .. }| api.cluster.create_keyspace(&name, config))
}

async fn create_by_id(State(api): Shared, body: Bytes) -> Response {
    parsed(&api, &body, |Create { id, name, config }| api.cluster.create_keyspace_by_id(id, &name, config))
}

async fn load(State(api): Shared, Path(name): Path<String>, Query(query): Parameters) -> Response {
    running(&api, || {
        let found = api.cluster.keyspace_by_name(&name);
        if found.is_ok() && query.get("force_refresh_group_id").is_some_and(|value| value == "true") {
            // Groups of keyspaces are for several servers of timestamps.
            let text = "keyspace group manager is not initialized";
            return refused(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned());
        }
        answer(found)
    })
}

async fn load_named_id(api: Shared, query: Parameters) -> Response {
    load(api, Path("id".to_owned()), query).await
}

async fn load_by_id(State(api): Shared, Path(id): Path<String>) -> Response {
    running(&api, || match id.parse::<u64>() {
        // As in PD, which converts the id to 32 bits.
        Ok(id) => answer(api.cluster.keyspace_by_id(id as u32)),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "invalid keyspace id".to_owned()),
    })
}

async fn update_config(State(api): Shared, Path(name): Path<String>, body: Bytes) -> Response {
    parsed(&api, &body, |UpdateConfig { config, preconditions }| {
        api.cluster.update_keyspace_config(&name, config, &preconditions)
    })
}

async fn update_state(State(api): Shared, Path(name): Path<String>, body: Bytes) -> Response {
    running(&api, || {
        let UpdateState { state } = match parse(&body) {
            Ok(update) => update,
            Err(response) => return *response,
        };
        match KeyspaceState::from_str_name(&state.to_uppercase()) {
            Some(wanted) => answer(api.cluster.update_keyspace_state(&name, wanted)),
            None => refused(StatusCode::BAD_REQUEST, format!("unknown target state: {state}")),
        }
    })
}

/// Lists up to `limit` keyspaces from the id `page_token` on.
async fn all(State(api): Shared, Query(query): Parameters) -> Response {
    running(&api, || {
        let given = |name: &str| query.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let start = go_format::parse::<u32>(given("page_token").unwrap_or("0"), "ParseUint");
        let limit = go_format::parse::<i64>(given("limit").unwrap_or("0"), "ParseInt");
        let (start, limit) = match (start, limit) {
            // As in PD, -1 is no limit.
            (Ok(start), Ok(limit)) => (start, usize::try_from(limit).unwrap_or(0)),
            (Err(text), _) | (_, Err(text)) => return refused(StatusCode::BAD_REQUEST, text),
        };
        // One more, which begins the next page.
        let wanted = if limit == 0 { 0 } else { limit + 1 };
        let mut found = match api.cluster.keyspaces(start, wanted) {
            Ok(found) => found,
            Err(e) => return refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
        };
        let next = found.get(limit).filter(|_| limit > 0).map(id_of);
        if next.is_some() {
            found.truncate(limit);
        }
        let keyspaces: Vec<Keyspace> = found.into_iter().map(Keyspace::from).collect();
        indented(&Page {
            keyspaces: Some(keyspaces).filter(|list| !list.is_empty()),
            next_page_token: next.map(|id| id.to_string()).unwrap_or_default(),
        })
    })
}

/// Refuses requests before the cluster is bootstrapped (tikv/pd `middlewares.BootstrapChecker`).
fn running(api: &Api, handle: impl FnOnce() -> Response) -> Response {
    if api.cluster.is_bootstrapped() {
        return handle();
    }
    refused(StatusCode::INTERNAL_SERVER_ERROR, ApiError::NotBootstrapped.to_string())
}

fn parsed<T: DeserializeOwned>(
    api: &Api,
    body: &Bytes,
    change: impl FnOnce(T) -> Result<KeyspaceMeta, KeyspaceError>,
) -> Response {
    running(api, || match parse(body) {
        Ok(request) => answer(change(request)),
        Err(response) => *response,
    })
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|e| {
        let text = format!("[PD:gin:ErrBindJSON]bind JSON error, {e}");
        Box::new(refused(StatusCode::BAD_REQUEST, text))
    })
}

fn answer(changed: Result<KeyspaceMeta, KeyspaceError>) -> Response {
    match changed {
        Ok(meta) => indented(&Keyspace::from(meta)),
        Err(e @ KeyspaceError::Precondition(_)) => refused(StatusCode::CONFLICT, e.to_string()),
        Err(e) => refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    }
}

/// Formats JSON like the second version of PD's API: indented by four spaces.
fn indented(value: &impl Serialize) -> Response {
    let mut body = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"    "));
    match value.serialize(&mut serializer) {
        Ok(()) => with_type(StatusCode::OK, body),
        Err(e) => refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    }
}

/// An error: its text as JSON.
fn refused(status: StatusCode, text: String) -> Response {
    with_type(status, serde_json::Value::String(text).to_string().into_bytes())
}

fn with_type(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
