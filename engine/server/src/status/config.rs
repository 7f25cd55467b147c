//! Reads the configuration and changes its online settings.
use axum::{
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    reply::{text, typed},
    state::Shared,
};

#[derive(Deserialize)]
pub struct Params {
    /// Includes hidden keys. This server hides none.
    full: Option<String>,
}

pub async fn get(State(status): Shared, Query(params): Query<Params>) -> Response {
    if let Some(Err(e)) = params.full.map(|full| full.parse::<bool>()) {
        return text(StatusCode::BAD_REQUEST, e.to_string());
    }
    match serde_json::to_string(&status.config.current()) {
        Ok(json) => typed("application/json", json),
        Err(e) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot format the configuration as JSON: {e}"))
        }
    }
}

#[derive(Deserialize)]
pub struct UpdateParams {
    /// `false`: the change lasts only until the next start.
    persist: Option<String>,
}

/// Applies `{"log.level": "warn"}`: dotted names and their new values. Writes them into the configuration
/// file, unless `?persist=false`.
pub async fn update(
    State(status): Shared,
    params: Result<Query<UpdateParams>, QueryRejection>,
    body: Bytes,
) -> Response {
    let persist = match params {
        Ok(Query(params)) => params.persist.map_or(Ok(true), |persist| persist.parse::<bool>()),
        Err(e) => return text(StatusCode::BAD_REQUEST, e.body_text()),
    };
    let persist = match persist {
        Ok(persist) => persist,
        Err(e) => return text(StatusCode::BAD_REQUEST, e.to_string()),
    };
    let changes = match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(changes) => changes,
        Err(e) => {
            return text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to decode, error: {e}"));
        }
    };
    // The change waits for the disk.
    let changed = tokio::task::spawn_blocking(move || match persist {
        true => status.config.update(&changes),
        false => status.config.update_without_persist(&changes),
    });
    answer(changed.await.unwrap_or_else(|e| Err(e.to_string())))
}

/// Reads file and flags again.
pub async fn reload(State(status): Shared) -> Response {
    let Some(cli) = status.cli.as_ref().filter(|cli| cli.config.is_some()) else {
        return answer(Err("this store was started without a configuration file (--config)".into()));
    };
    let read = match cli.resolve() {
        Ok((read, _)) => read,
        Err(e) => return answer(Err(e.to_string())),
    };
    answer(status.config.reload(read).map(|rest| {
        if !rest.is_empty() {
            let rest = rest.join(", ");
            log::warn!("settings changed in the configuration file that need a restart: {rest}");
        }
    }))
}

fn answer(changed: Result<(), String>) -> Response {
    match changed {
        Ok(()) => text(StatusCode::OK, ""),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to update, error: {e}")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LogLevel {
    log_level: String,
}

/// Sets `{"log-level": "info"}` until the next start.
pub async fn log_level(State(status): Shared, body: Bytes) -> Response {
    let level = serde_json::from_slice::<LogLevel>(&body).map_err(|e| e.to_string());
    let changed = level.and_then(|level| {
        let changes = Map::from_iter([("log.level".to_owned(), level.log_level.into())]);
        status.config.update_without_persist(&changes)
    });
    match changed {
        Ok(()) => text(StatusCode::OK, ""),
        Err(e) => text(StatusCode::BAD_REQUEST, e),
    }
}
