//! Takes a store's gRPC server off the network and puts it back.
use axum::{extract::State, http::StatusCode, response::Response};

use super::{reply::text, state::Shared};

pub async fn pause(State(status): Shared) -> Response {
    match status.grpc.pause().await {
        Ok(()) => text(StatusCode::OK, "Successfully pause grpc service"),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("fails to pause grpc: {e}")),
    }
}

pub async fn resume(State(status): Shared) -> Response {
    match status.grpc.resume().await {
        Ok(()) => text(StatusCode::OK, "Successfully resume grpc service"),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("fails to resume grpc: {e}")),
    }
}
