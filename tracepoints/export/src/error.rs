//! Errors of converting between formats.
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
    #[error("cannot encode the export as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("expected Chrome JSON or OTLP (protobuf or JSON), found an empty file")]
    Empty,
    #[error(transparent)]
    Input(#[from] tracepoints_input::InputError),
    #[error("this is {0}")]
    Foreign(&'static str),
    #[error("offset {offset}: expected {expected}, found {found}")]
    Syntax { offset: usize, expected: &'static str, found: String },
    #[error("expected {0}, found no span")]
    NoSpan(&'static str),
    #[error(
        "expected a collector's address http://HOST:PORT (OTLP over HTTP, often port 4318) or grpc://HOST:PORT (often 4317), found {0:?}"
    )]
    Endpoint(String),
    #[error("{0:?}: TLS is not built in; send to a collector on this machine and let it forward over TLS")]
    Tls(String),
}
