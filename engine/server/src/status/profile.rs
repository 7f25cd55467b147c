//! CPU profiles over HTTP, as TiKV's `/debug/pprof/profile` (`src/server/status_server/profile.rs`).
use std::time::Duration;

use axum::{
    body::Body,
    extract::{Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use tracepoints_profile::{ProfileError, format};
use tracepoints_sampler::{self as sampler, Sampler, SamplerError};

use super::reply::{attachment, text, typed};

#[derive(serde::Deserialize)]
#[serde(default)]
pub struct Params {
    seconds: u64,
    frequency: i32,
    /// `own` or `pprof`; ours where it works if empty.
    sampler: String,
}

/// Reason why a profile cannot be taken or written.
#[derive(Debug, thiserror::Error)]
enum CpuError {
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl Default for Params {
    fn default() -> Self {
        Self { seconds: 10, frequency: 99, sampler: String::new() }
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
async fn take(params: &Params, protobuf: bool) -> Result<Body, CpuError> {
    let duration = Duration::from_secs(params.seconds);
    sampler::check_duration(duration)?;
    let sampler = match params.sampler.as_str() {
        "" => Sampler::default(),
        name => name.parse()?,
    };
    let running = sampler::start(sampler, params.frequency)?;
    tokio::time::sleep(duration).await;
    let finish = move || -> Result<Body, CpuError> {
        let profile = running.finish()?;
        Ok(match protobuf {
            true => format::pprof::write(&profile.profile).into(),
            false => profile.svg("CPU")?.into(),
        })
    };
    tokio::task::spawn_blocking(finish).await.unwrap_or(Err(SamplerError::Reader.into()))
}

fn status_of(error: &CpuError) -> StatusCode {
    match error {
        CpuError::Sampler(
            SamplerError::Duration(_)
            | SamplerError::Frequency(_)
            | SamplerError::Name(_)
            | SamplerError::NeedsLinux,
        ) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
