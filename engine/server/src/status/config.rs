//! The configuration, and the few things in it that can be changed while the server runs.
use axum::{
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Shared, text, typed};
use crate::logger;

/// What can be changed online, under its name in `tikv.toml`.
const ONLINE: &str = "log.level";

#[derive(Deserialize)]
pub struct Params {
    /// Hidden keys, too. This server hides none.
    full: Option<String>,
}

pub async fn get(State(status): Shared, Query(params): Query<Params>) -> Response {
    if let Some(Err(e)) = params.full.map(|full| full.parse::<bool>()) {
        return text(StatusCode::BAD_REQUEST, e.to_string());
    }
    match serde_json::to_string(&*status.config.read()) {
        Ok(json) => typed("application/json", json),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("the configuration as JSON: {e}")),
    }
}

/// `{"log.level": "warn"}`: dotted names and their new values.
pub async fn update(State(status): Shared, body: Bytes) -> Response {
    let changes = match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(changes) => changes,
        Err(e) => {
            return text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to decode, error: {e}"));
        }
    };
    // All or none.
    let level = match changes.iter().map(|(name, value)| level_of(name, value)).collect::<Result<Vec<_>, _>>()
    {
        Ok(levels) => levels.last().copied(),
        Err(e) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to update, error: {e}")),
    };
    if let Some(level) = level {
        set_level(&status, level);
    }
    text(StatusCode::OK, "")
}

fn level_of<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    if name != ONLINE {
        return Err(format!(
            "config {name} can not be changed online, only {ONLINE} can; change tikv.toml and restart the store"
        ));
    }
    let level = value.as_str().ok_or_else(|| format!("expected the name of a log level, met {value}"))?;
    logger::parse_level(level).map(|_| level)
}

fn set_level(status: &super::Status, level: &str) {
    if let Ok(filter) = logger::parse_level(level) {
        logger::init(filter);
        level.clone_into(&mut status.config.write().log.level);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LogLevel {
    log_level: String,
}

/// `{"log-level": "info"}`
pub async fn log_level(State(status): Shared, body: Bytes) -> Response {
    let level = serde_json::from_slice::<LogLevel>(&body).map_err(|e| e.to_string());
    match level.and_then(|l| logger::parse_level(&l.log_level).map(|_| l.log_level)) {
        Ok(level) => {
            set_level(&status, &level);
            text(StatusCode::OK, "")
        }
        Err(e) => text(StatusCode::BAD_REQUEST, e),
    }
}
