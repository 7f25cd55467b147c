//! The HTTP status server (TiKV `src/server/status_server/mod.rs`): metrics, configuration, regions, profiles.
mod profile;
mod region_meta;

use std::{net::TcpListener as StdListener, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use raftstore::RaftRouter;

use crate::{config::TikvConfig, metrics::Metrics};

/// What the status server tells.
pub struct Status {
    pub metrics: Metrics,
    pub config: TikvConfig,
    pub router: RaftRouter,
}

/// Serves on the current runtime until that ends.
pub fn start(listener: StdListener, status: Status) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = routes().with_state(Arc::new(status));
    tokio::spawn(async move {
        if let Err(e) = axum::serve(listener, router).await {
            log::warn!("the status server ended: {e}");
        }
    });
    Ok(())
}

fn routes() -> Router<Arc<Status>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(|| async {}))
        .route("/config", get(config))
        .route("/engine_type", get(|| async { "raft-kv" }))
        .route("/region/{id}", get(region))
        .route("/debug/pprof/profile", get(profile::cpu))
        .route("/debug/pprof/cmdline", get(cmdline))
        .fallback(|| async { (StatusCode::NOT_FOUND, "path not found") })
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], status.metrics.to_text()).into_response()
}

async fn config(State(status): State<Arc<Status>>) -> Response {
    Json(&status.config).into_response()
}

async fn region(State(status): State<Arc<Status>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<u64>() else {
        return (StatusCode::BAD_REQUEST, format!("expected a region id, a number, met {id:?}"))
            .into_response();
    };
    match status.router.query_region_meta(id).await {
        Some(meta) => Json(region_meta::to_json(&meta)).into_response(),
        None => (StatusCode::NOT_FOUND, format!("region({id}) not found")).into_response(),
    }
}

/// The arguments of this process, separated by zero bytes.
async fn cmdline() -> String {
    let args: Vec<_> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    args.join("\0")
}
