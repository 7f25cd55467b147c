//! What can go wrong between two formats.
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
    #[error("cannot encode the export as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the file is empty; expected Chrome JSON or OTLP (protobuf or JSON)")]
    Empty,
    #[error(transparent)]
    Input(#[from] tracepoints_input::InputError),
    #[error("this is {0}")]
    Foreign(&'static str),
    #[error("offset {offset}: expected {expected}, found {met}")]
    Syntax { offset: usize, expected: &'static str, met: String },
    #[error("no span was found in it: expected {0}")]
    NoSpan(&'static str),
    #[error(
        "the address of a collector is http://HOST:PORT (OTLP over HTTP, often port 4318) or grpc://HOST:PORT (often 4317); met {0:?}"
    )]
    Endpoint(String),
    #[error("{0:?}: TLS is not built in; send to a collector on this machine and let it forward over TLS")]
    Tls(String),
}
