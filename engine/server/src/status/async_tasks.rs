//! `/async_tasks`: the requests in flight. TiKV answers with the tree of its traced tasks, as text; without
//! any request both answer with an empty body.
use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tracepoints::collector::{self, InFlight};

use super::{reply, state::Status};

#[derive(serde::Deserialize)]
#[serde(default)]
pub struct Params {
    /// `text` or `json`.
    format: String,
    limit: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { format: "text".into(), limit: 1000 }
    }
}

pub async fn table(
    State(status): State<Arc<Status>>,
    params: Result<Query<Params>, QueryRejection>,
) -> Response {
    let expected = || {
        let text = "expected format (text or json) and limit (a number), e.g. ?format=json&limit=100";
        (StatusCode::BAD_REQUEST, text).into_response()
    };
    let Ok(Query(params)) = params else { return expected() };
    let (rows, all) =
        collector::current().map(|c| c.in_flight(status.store_id, params.limit)).unwrap_or_default();
    match params.format.as_str() {
        "json" => Json(serde_json::json!({ "store": status.store_id, "requests": all, "in_flight": rows }))
            .into_response(),
        "text" => reply::text(StatusCode::OK, text(&rows, all)),
        _ => expected(),
    }
}

/// Formats one request a line, with its wait on the next line.
fn text(rows: &[InFlight], all: usize) -> String {
    let mut out: String = rows.iter().map(InFlight::to_text).collect();
    if all > rows.len() {
        out.push_str(&format!("and {} more\n", all - rows.len()));
    }
    out
}
