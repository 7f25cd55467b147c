//! CPU profiles over HTTP, as TiKV's `/debug/pprof/profile` (`src/server/status_server/profile.rs`).
use std::time::Duration;

use axum::{
    extract::{Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tracepoints_profile::{CpuProfile, ProfileError, cpu};

#[derive(serde::Deserialize)]
#[serde(default)]
pub struct Params {
    seconds: u64,
    frequency: i32,
}

impl Default for Params {
    fn default() -> Self {
        Self { seconds: 10, frequency: 99 }
    }
}

/// An SVG, or pprof's protobuf if the request's own Content-Type says so.
pub async fn cpu(params: Result<Query<Params>, QueryRejection>, headers: HeaderMap) -> Response {
    let Ok(Query(params)) = params else {
        let expected = "expected seconds and frequency as numbers, e.g. ?seconds=10&frequency=99";
        return (StatusCode::BAD_REQUEST, expected).into_response();
    };
    let protobuf = headers.get(header::CONTENT_TYPE).is_some_and(|v| v == "application/protobuf");
    match tokio::task::spawn_blocking(move || take(&params, protobuf)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(e)) => (status_of(&e), e.to_string()).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn take(params: &Params, protobuf: bool) -> Result<Response, ProfileError> {
    let profile: CpuProfile = cpu::profile(Duration::from_secs(params.seconds), params.frequency)?;
    if protobuf {
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"cpu_profile\""),
        ];
        return Ok((headers, profile.pprof).into_response());
    }
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], profile.svg("CPU")?).into_response())
}

fn status_of(error: &ProfileError) -> StatusCode {
    match error {
        ProfileError::Duration(_) | ProfileError::Frequency(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
