//! `/ready`: whether this store is ready to serve (TiKV `GLOBAL_SERVER_READINESS`).
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};

use super::{reply::text, state::Shared};

/// Maximum number of committed entries that a ready peer has not applied (TiKV:
/// `raftstore.leader-transfer-max-log-lag`).
const MAX_LAG: u64 = 128;

/// `?verbose` lists the conditions.
pub async fn ready(State(status): Shared, RawQuery(query): RawQuery) -> Response {
    // This server starts only after its store has joined the cluster.
    let connected_to_pd = true;
    let mut caught_up = true;
    for id in status.router.region_ids() {
        if let Some(meta) = status.router.query_region_meta(id).await {
            caught_up &= meta.raft.commit.saturating_sub(meta.raft.applied) <= MAX_LAG;
        }
    }
    let code = if caught_up { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let mut names =
        query.iter().flat_map(|q| q.split('&')).map(|pair| pair.split('=').next().unwrap_or(pair));
    let body = match names.any(|name| name == "verbose") {
        true => format!(
            "{{\n  \"connected_to_pd\": {connected_to_pd},\n  \"raft_peers_caught_up\": {caught_up}\n}}"
        ),
        false => String::new(),
    };
    text(code, body)
}
