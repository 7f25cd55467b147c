//! CPU profiles over HTTP, as TiKV's `/debug/pprof/profile` (`src/server/status_server/profile.rs`).
use std::time::Duration;

use axum::{
    body::Body,
    extract::{Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use tracepoints_profile::{ProfileError, cpu, format};

use super::{attachment, text, typed};

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

/// Answers with an SVG, or with pprof's protobuf if the request's own Content-Type asks for it.
pub async fn cpu(params: Result<Query<Params>, QueryRejection>, headers: HeaderMap) -> Response {
    let Ok(Query(params)) = params else {
        let expected = "expected seconds and frequency as numbers, e.g. ?seconds=10&frequency=99";
        return text(StatusCode::BAD_REQUEST, expected);
    };
    let protobuf = headers.get(header::CONTENT_TYPE).is_some_and(|v| v == "application/protobuf");
    match take(&params, protobuf).await {
        Ok(body) => {
            let content_type = if protobuf { "application/octet-stream" } else { "image/svg+xml" };
            attachment(typed(content_type, body), "attachment; filename=\"cpu_profile\"")
        }
        Err(e) => text(status_of(&e), e.to_string()),
    }
}

/// If the client goes away, this future and its sampler are dropped, which ends the profile.
async fn take(params: &Params, protobuf: bool) -> Result<Body, ProfileError> {
    let duration = Duration::from_secs(params.seconds);
    cpu::check_duration(duration)?;
    let running = cpu::start(params.frequency)?;
    tokio::time::sleep(duration).await;
    let finish = move || {
        let profile = running.finish()?;
        Ok(match protobuf {
            true => format::pprof::write(&profile.profile).into(),
            false => profile.svg("CPU")?.into(),
        })
    };
    tokio::task::spawn_blocking(finish).await.unwrap_or(Err(ProfileError::Reader))
}

fn status_of(error: &ProfileError) -> StatusCode {
    match error {
        ProfileError::Duration(_) | ProfileError::Frequency(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
