//! Errors of PD itself, and refusals of requests.

use std::{io, net::SocketAddr, path::PathBuf};

use kvproto::pdpb::{self, ErrorType};

pub type Result<T> = std::result::Result<T, Error>;

/// An error that prevents PD from starting or from keeping its state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PD: {what} {path} failed: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "PD: the state file {path} is damaged: {reason}. It was not changed: restore it from a backup, or move the \
         whole directory away to create a new cluster",
        path = path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    #[error("PD: {path} is in use by another PD; stop that one or give another data directory", path = path.display())]
    Locked { path: PathBuf },
    #[error("PD: {path}: expected cluster {wanted}, found {found}; give the id found or another directory",
        path = path.display())]
    ClusterId { path: PathBuf, found: u64, wanted: u64 },
    #[error("PD: cannot listen on {addr}: {source}; free the port or give another address")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("PD: cannot start threads: {0}")]
    Runtime(io::Error),
    #[error("PD: {0}")]
    Config(String),
    #[error("PD: {0}")]
    Security(#[from] security::Error),
}

impl Error {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }
}

/// A refused request: PD answers with an error in the response header.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({kind:?})")]
pub struct Refusal {
    pub kind: ErrorType,
    pub message: String,
}

impl Refusal {
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Refusal {
        Refusal { kind, message: message.into() }
    }

    pub(super) fn unknown(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorType::Unknown, message)
    }

    pub(super) fn to_header_error(&self) -> pdpb::Error {
        pdpb::Error { r#type: self.kind as i32, message: self.message.clone() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::unknown(error.to_string())
    }
}
