//! Heap profiles over HTTP, as TiKV's `/debug/pprof/heap`: jemalloc's samples of live allocations.
use std::io;

use axum::{
    body::Body,
    extract::{Query, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use tracepoints_profile::heap as profile;

use super::reply::{attachment, no_sniff, text, typed};
use crate::heap;

#[derive(serde::Deserialize)]
pub struct Params {
    /// `true`: answers with an SVG.
    jeprof: Option<String>,
}

/// Answers with jemalloc's own text, which `jeprof` and `pprof` read; with `?jeprof=true`, with an SVG.
pub async fn heap(params: Result<Query<Params>, QueryRejection>) -> Response {
    let picture = params.is_ok_and(|p| p.jeprof.as_deref() == Some("true"));
    let taken = tokio::task::spawn_blocking(move || take(picture)).await;
    match taken.unwrap_or_else(|e| Err(e.to_string())) {
        Ok(body) => {
            let content_type = if picture { "image/svg+xml" } else { "application/octet-stream" };
            no_sniff(attachment(typed(content_type, body), "attachment; filename=\"profile\""))
        }
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}

fn take(picture: bool) -> Result<Body, String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| format!("create tmp file fail: {e}"))?;
    heap::dump(file.path()).map_err(|e| format!("dump_prof: {e}"))?;
    let read = |e: io::Error| format!("read {} fail: {e}", file.path().display());
    let dump = std::fs::read(file.path()).map_err(read)?;
    match picture {
        true => profile::svg(&dump, "Heap").map(Body::from).map_err(|e| e.to_string()),
        false => Ok(dump.into()),
    }
}

/// Answers with TiKV's text: clients show it.
pub async fn gone_list() -> Response {
    let instead = "Deprecated, heap profiling is always enabled by default, just use /debug/pprof/heap to get the heap \
                   profile when needed";
    text(StatusCode::GONE, instead)
}

pub async fn gone_switch() -> Response {
    text(StatusCode::GONE, "Deprecated, use config `memory.enable_heap_profiling` to toggle")
}
