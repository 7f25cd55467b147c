//! `/regions` and `/region` (tikv/pd `server/api/region.go`, `pkg/response/region.go`).
use axum::{
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    response::Response,
};
use kvproto::{
    metapb::{Peer, PeerRole},
    pdpb::PeerStats,
};
use serde::{Deserialize, Serialize};

use super::{Answer, Shared, error::ApiError, go_format, is_zero, ok};
use crate::server::regions::RegionInfo;

/// Default and maximum number of regions that a scan returns.
const DEFAULT_LIMIT: i64 = 16;
const MAX_LIMIT: i64 = 10_240;

#[derive(Serialize)]
struct MetaPeer {
    #[serde(skip_serializing_if = "is_zero")]
    id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    store_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    role: i32,
    #[serde(skip_serializing_if = "is_zero")]
    is_witness: bool,
    role_name: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    is_learner: bool,
}

impl From<&Peer> for MetaPeer {
    fn from(peer: &Peer) -> MetaPeer {
        MetaPeer {
            id: peer.id,
            store_id: peer.store_id,
            role: peer.role,
            is_witness: peer.is_witness,
            role_name: match peer.role() {
                PeerRole::Voter => "Voter",
                PeerRole::Learner => "Learner",
                PeerRole::IncomingVoter => "IncomingVoter",
                PeerRole::DemotingVoter => "DemotingVoter",
            },
            is_learner: peer.is_learner(),
        }
    }
}

#[derive(Serialize)]
struct DownPeer {
    peer: MetaPeer,
    #[serde(skip_serializing_if = "is_zero")]
    down_seconds: u64,
}

impl From<&PeerStats> for DownPeer {
    fn from(stats: &PeerStats) -> DownPeer {
        DownPeer { peer: (&stats.peer.unwrap_or_default()).into(), down_seconds: stats.down_seconds }
    }
}

#[derive(Serialize)]
struct Epoch {
    #[serde(skip_serializing_if = "is_zero")]
    conf_ver: u64,
    #[serde(skip_serializing_if = "is_zero")]
    version: u64,
}

/// PD `response.RegionInfo`: sizes in MiB, keys in hex.
#[derive(Serialize)]
struct ApiRegion {
    id: u64,
    start_key: String,
    end_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<MetaPeer>,
    leader: MetaPeer,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    down_peers: Vec<DownPeer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending_peers: Vec<MetaPeer>,
    cpu_usage: u64,
    written_bytes: u64,
    read_bytes: u64,
    written_keys: u64,
    read_keys: u64,
    approximate_size: u64,
    approximate_keys: u64,
    approximate_kv_size: u64,
    approximate_columnar_kv_size: u64,
}

impl From<&RegionInfo> for ApiRegion {
    fn from(info: &RegionInfo) -> ApiRegion {
        let meta = &info.meta;
        let epoch = meta.region_epoch.map(|e| Epoch { conf_ver: e.conf_ver, version: e.version });
        ApiRegion {
            id: meta.id,
            start_key: go_format::to_hex(&meta.start_key),
            end_key: go_format::to_hex(&meta.end_key),
            epoch,
            peers: meta.peers.iter().map(MetaPeer::from).collect(),
            leader: (&info.leader.unwrap_or_default()).into(),
            down_peers: info.down_peers.iter().map(DownPeer::from).collect(),
            pending_peers: info.pending_peers.iter().map(MetaPeer::from).collect(),
            cpu_usage: info.cpu_usage,
            written_bytes: info.written.bytes,
            read_bytes: info.read.bytes,
            written_keys: info.written.keys,
            read_keys: info.read.keys,
            approximate_size: info.approximate_size,
            approximate_keys: info.approximate_keys,
            approximate_kv_size: info.approximate_kv_size,
            approximate_columnar_kv_size: info.approximate_columnar_kv_size,
        }
    }
}

#[derive(Serialize)]
struct ApiRegions {
    count: usize,
    regions: Option<Vec<ApiRegion>>,
}

fn list<'a>(found: impl IntoIterator<Item = &'a RegionInfo>) -> Answer {
    let regions: Vec<ApiRegion> = found.into_iter().map(ApiRegion::from).collect();
    ok(&ApiRegions { count: regions.len(), regions: Some(regions) })
}

pub async fn all(State(api): Shared) -> Answer {
    list(api.cluster.running()?.regions.iter())
}

pub async fn count(State(api): Shared) -> Answer {
    let count = api.cluster.running()?.regions.iter().count();
    ok(&ApiRegions { count, regions: None })
}

/// Keys are raw bytes, or hex with `format=hex`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ScanParams {
    key: String,
    end_key: String,
    limit: String,
    format: String,
}

pub async fn scan(State(api): Shared, params: Result<Query<ScanParams>, QueryRejection>) -> Answer {
    let Query(params) = params?;
    let (start, end) = (bytes(&params.key, &params.format)?, bytes(&params.end_key, &params.format)?);
    let limit = match params.limit.as_str() {
        "" => DEFAULT_LIMIT,
        text => go_format::parse_i64(text).map_err(ApiError::BadInput)?.min(MAX_LIMIT),
    };
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    list(api.cluster.running()?.regions.scan(&start, &end, limit))
}

pub async fn of_store(State(api): Shared, id: Result<Path<String>, PathRejection>) -> Answer {
    let Path(id) = id?;
    let id = go_format::parse_i64(&id).map_err(ApiError::BadInput)?;
    let has_peer = |info: &&RegionInfo| u64::try_from(id).is_ok_and(|id| info.meta.find_peer(id).is_some());
    list(api.cluster.running()?.regions.iter().filter(has_peer))
}

pub async fn by_id(State(api): Shared, id: Result<Path<String>, PathRejection>) -> Answer {
    let Path(id) = id?;
    let id = go_format::parse_u64(&id).map_err(ApiError::BadInput)?;
    if id == 0 {
        return Err(ApiError::RegionInvalidId);
    }
    one(api.cluster.region(id)?, || id.to_string())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct KeyParams {
    format: String,
}

/// PD unescapes the key once more than the path, so that clients can give any byte.
pub async fn by_key(
    State(api): Shared,
    key: Result<Path<String>, PathRejection>,
    params: Result<Query<KeyParams>, QueryRejection>,
) -> Answer {
    let (Path(key), Query(params)) = (key?, params?);
    let key = bytes(&unescape(&key)?, &params.format)?;
    one(api.cluster.region_of_key(&key)?, || format!("of key {}", go_format::to_hex(&key)))
}

fn one(found: Option<RegionInfo>, name: impl FnOnce() -> String) -> Result<Response, ApiError> {
    ok(&ApiRegion::from(&found.ok_or_else(|| ApiError::RegionNotFound(name()))?))
}

fn bytes(text: impl AsRef<[u8]>, format: &str) -> Result<Vec<u8>, ApiError> {
    match format {
        "hex" => go_format::parse_hex(text.as_ref()).map_err(ApiError::BadInput),
        _ => Ok(text.as_ref().to_vec()),
    }
}

/// Go's `url.QueryUnescape`: `+` is a space, `%XX` a byte.
fn unescape(text: &str) -> Result<Vec<u8>, ApiError> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let byte = match first {
            b'+' => b' ',
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| go_format::parse_hex(digits).ok());
                let bad = || ApiError::BadInput(format!("invalid URL escape in {text:?}"));
                rest = tail.get(2..).ok_or_else(bad)?;
                out.push(*digits.as_deref().and_then(<[u8]>::first).ok_or_else(bad)?);
                continue;
            }
            byte => *byte,
        };
        out.push(byte);
        rest = tail;
    }
    Ok(out)
}
