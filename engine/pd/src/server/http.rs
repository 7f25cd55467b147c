//! PD's HTTP API, `/pd/api/v1` and the keyspaces of `/pd/api/v2`, on the port of gRPC (tikv/pd
//! `server/api/router.go`): the paths for pd-ctl, clients' tests and operators. Paths, codes and JSON shapes are PD's.
mod config;
mod error;
mod go_format;
mod json;
mod keyspaces;
mod markers;
mod members;
mod regions;
mod score;
mod stores;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use kvproto::pdpb;
use serde::Serialize;
use tonic::Status;

use self::{error::ApiError, json::json};
use super::cluster::Cluster;

/// The state that the handlers read.
pub struct Api {
    pub cluster: Arc<Cluster>,
    pub member: pdpb::Member,
    pub data_dir: String,
    /// Seconds since the Unix epoch.
    pub started_s: i64,
}

type Shared = axum::extract::State<Arc<Api>>;
type Answer = Result<Response, ApiError>;

/// Builds the routes. An unknown path gets an answer of the protocol of the request, gRPC or HTTP.
pub fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/regions", get(regions::all))
        .route("/regions/key", get(regions::scan))
        .route("/regions/count", get(regions::count))
        .route("/regions/store/{id}", get(regions::of_store))
        .route("/region/id/{id}", get(regions::by_id))
        .route("/region/key/{key}", get(regions::by_key))
        .route("/stores", get(stores::all))
        .route("/stores/check", get(stores::by_state))
        .route("/stores/remove-tombstone", axum::routing::delete(stores::remove_tombstones))
        .route("/store/{id}", get(stores::one).delete(stores::remove))
        .route("/store/{id}/state", post(stores::set_state))
        .route("/members", get(members::members))
        .route("/leader", get(members::leader))
        .route("/health", get(members::health))
        .route("/ping", get(|| async {}))
        .route("/version", get(members::version))
        .route("/status", get(members::status))
        .route("/cluster", get(config::cluster))
        .route("/config", get(config::all).post(config::update))
        .route("/config/schedule", get(config::schedule).post(config::update_schedule))
        .route("/config/replicate", get(config::replication).post(config::update_replication))
        .route("/config/cluster-version", get(config::cluster_version))
        .route(
            "/admin/cluster/markers/snapshot-recovering",
            get(markers::is_snapshot_recovering).post(markers::mark).delete(markers::unmark),
        );
    Router::new()
        .nest("/pd/api/v1", v1)
        .nest("/pd/api/v2", keyspaces::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::new(api))
}

async fn not_found(request: Request) -> Response {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if request.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        return Status::unimplemented("").into_http();
    }
    let text = format!(
        "path {} not found; the paths of this PD begin with /pd/api/v1/ or /pd/api/v2/keyspaces",
        request.uri().path()
    );
    json(StatusCode::NOT_FOUND, &text)
}

async fn not_allowed(request: Request) -> Response {
    let text = format!("method {} is not allowed for {}", request.method(), request.uri().path());
    json(StatusCode::METHOD_NOT_ALLOWED, &text)
}

fn ok(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// Go omits fields with a zero value if the struct says `omitempty`.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
