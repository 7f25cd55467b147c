//! `/region/ID`: a region's state according to its peer on this store.
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};

use super::{
    region_meta,
    reply::{text, typed},
    state::Shared,
};

pub async fn region(State(status): Shared, Path(path): Path<String>) -> Response {
    let digits = path.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &path[..path.len() - digits.len()];
    if digits.is_empty() {
        return text(StatusCode::NOT_FOUND, format!("path /region/{path} not found"));
    }
    let id = match digits.parse::<u64>() {
        Ok(id) => id,
        Err(e) => return text(StatusCode::BAD_REQUEST, format!("invalid region id: {e}")),
    };
    match status.router.query_region_meta(id).await {
        Some(meta) => typed("application/json", region_meta::to_json(&meta).to_string()),
        None => text(StatusCode::NOT_FOUND, format!("region({id}) not found")),
    }
}
