//! Replies in JSON, formatted like PD's.
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

/// Formats JSON like PD: indented by two spaces, with a newline at the end.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_string_pretty(value) {
        Ok(text) => (status, text + "\n"),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("\"{e}\"\n")),
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
