//! `/admin/cluster/markers/snapshot-recovering`: set while a backup of volumes is restored (tikv/pd `server/api/admin.go`).
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{Answer, Shared, error::ApiError, ok};

#[derive(Serialize)]
struct Recovering {
    marked: bool,
}

pub async fn is_snapshot_recovering(State(api): Shared) -> Answer {
    ok(&Recovering { marked: api.cluster.is_snapshot_recovering() })
}

pub async fn mark(State(api): Shared) -> Answer {
    set(&api, true)
}

pub async fn unmark(State(api): Shared) -> Answer {
    set(&api, false)
}

fn set(api: &super::Api, marked: bool) -> Answer {
    api.cluster.mark_snapshot_recovering(marked).map_err(ApiError::from)?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}
