//! The HTTP status server (TiKV `src/server/status_server/mod.rs`): metrics, configuration, regions, profiles. Paths,
//! codes, headers and shapes are TiKV's.
mod async_tasks;
mod config;
mod grpc_service;
mod heap;
mod profile;
mod ready;
mod region;
mod region_meta;
mod reply;
mod state;
mod symbol;
mod tls;

use std::{net::TcpListener as StdListener, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use security::Acceptor;
use tokio::runtime::Handle;

use self::{
    reply::{no_sniff, text, typed},
    state::Shared,
};
use crate::runtime;

pub use state::Status;

/// Serves on the current runtime until that ends.
pub fn start(listener: StdListener, status: Status, tls: Option<Acceptor>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = routes().with_state(Arc::new(status));
    runtime::spawn(&Handle::current(), "status-server", async move {
        let served = match tls {
            None => tls::serve_plain(listener, router).await,
            Some(tls) => tls::serve(listener, tls, router).await,
        };
        if let Err(e) = served {
            log::warn!("the status server ended: {e}");
        }
    });
    Ok(())
}

fn routes() -> Router<Arc<Status>> {
    let not_found = || async { text(StatusCode::NOT_FOUND, "path not found") };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(|| async { text(StatusCode::OK, "") }))
        .route("/ready", get(ready::ready))
        .route("/config", get(config::get).post(config::update))
        .route("/config/reload", put(config::reload))
        .route("/pause_grpc", put(grpc_service::pause))
        .route("/resume_grpc", put(grpc_service::resume))
        .route("/log-level", put(config::log_level))
        .route("/engine_type", get(|| async { typed("text/plain", "raft-kv") }))
        .route("/region/{id}", get(region::region))
        .route("/resource_groups", get(none))
        .route("/force_partition_ranges", get(none))
        .route("/debug/fail_point", get(|| async { text(StatusCode::OK, "") }))
        .route("/debug/ime/cached_regions", get(no_memory_engine))
        .route("/async_tasks", get(async_tasks::table))
        .route("/debug/pprof/profile", get(profile::cpu))
        .route("/debug/pprof/heap", get(heap::heap))
        .route("/debug/pprof/heap_list", get(heap::gone_list))
        .route("/debug/pprof/heap_activate", get(heap::gone_switch))
        .route("/debug/pprof/heap_deactivate", get(heap::gone_switch))
        .route("/debug/pprof/symbol", get(symbol::count).post(symbol::resolve))
        .route("/debug/pprof/cmdline", get(cmdline))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
}

async fn metrics(State(status): Shared) -> Response {
    typed("text/plain; version=0.0.4", status.metrics.to_text())
}

/// This server has no resource groups and no pinned ranges.
async fn none() -> Response {
    typed("application/json", "[]")
}

/// Answers with TiKV's text for a disabled in-memory engine.
async fn no_memory_engine() -> Response {
    text(StatusCode::BAD_REQUEST, "In memory engine is not enabled")
}

/// Returns the arguments of this process, each followed by a zero byte.
async fn cmdline() -> Response {
    let mut out = Vec::new();
    for arg in std::env::args_os() {
        out.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(arg.as_os_str()));
        out.push(0);
    }
    no_sniff(typed("text/plain", Bytes::from(out)))
}
