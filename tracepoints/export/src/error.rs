//! Errors of converting between formats.
use std::io;

/// Why a trace cannot be written, read or sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output cannot be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
    /// A value cannot be written as JSON.
    #[error("cannot encode the export as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The file is empty.
    #[error("expected Chrome JSON or OTLP (protobuf or JSON), found an empty file")]
    Empty,
    /// The file cannot be unpacked.
    #[error(transparent)]
    Input(#[from] tracepoints_input::InputError),
    /// The file has another format.
    #[error("this is {0}")]
    Foreign(&'static str),
    /// The JSON has an error at this byte.
    #[error("offset {offset}: expected {expected}, found {found}")]
    Syntax {
        /// Offset of the error in bytes.
        offset: usize,
        /// The bytes that the format allows there.
        expected: &'static str,
        /// The bytes found there.
        found: String,
    },
    /// The file has no span.
    #[error("expected {expected}, found no span{}", .notes.iter().map(|note| format!("; {note}")).collect::<String>())]
    NoSpan {
        /// The records that make spans.
        expected: &'static str,
        /// Descriptions of the records that could not be read.
        notes: Vec<String>,
    },
    /// The endpoint's address is wrong.
    #[error(
        "expected a collector's address http://HOST:PORT (OTLP over HTTP, often port 4318) or grpc://HOST:PORT (often 4317), found {0:?}"
    )]
    Endpoint(String),
    /// The certificates cannot be used.
    #[error("{0:?}: TLS is not built in; send to a collector on this machine and let it forward over TLS")]
    Tls(String),
}
