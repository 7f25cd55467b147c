//! Errors of PD itself, and refusals of requests.
use std::{io, net::SocketAddr, path::PathBuf};

use kvproto::pdpb::{self, ErrorType};

/// Result of PD's own functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that prevents PD from starting or from keeping its state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("PD: {what} {path} failed: {source}", path = path.display())]
    Io {
        /// The action that failed, e.g. "writing".
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Reason that the system gives.
        source: io::Error,
    },
    /// A state file is damaged.
    #[error(
        "PD: the state file {path} is damaged: {reason}. It was not changed: restore it from a backup, or move the \
         whole directory away to create a new cluster",
        path = path.display()
    )]
    Corrupt {
        /// The file or directory.
        path: PathBuf,
        /// The violation.
        reason: String,
    },
    /// Another process uses the directory.
    #[error("PD: {path} is in use by another PD; stop that one or give another data directory", path = path.display())]
    Locked {
        /// The file or directory.
        path: PathBuf,
    },
    /// The directory has the data of a store.
    #[error("PD: {path} contains the data of a store ({found}); give an empty directory, or one of a PD",
        path = path.display())]
    OfStore {
        /// The directory.
        path: PathBuf,
        /// A file or directory of the store.
        found: &'static str,
    },
    /// The directory has the state of another cluster.
    #[error("PD: {path}: expected cluster {wanted}, found {found}; give the id found or another directory",
        path = path.display())]
    ClusterId {
        /// The file or directory.
        path: PathBuf,
        /// Cluster id in the directory.
        found: u64,
        /// Cluster id in the settings.
        wanted: u64,
    },
    /// The port cannot be opened.
    #[error("PD: cannot listen on {addr}: {source}; free the port or give another address")]
    Listen {
        /// Address to listen on.
        addr: SocketAddr,
        /// Reason that the system gives.
        source: io::Error,
    },
    /// Threads cannot be started.
    #[error("PD: cannot start threads: {0}")]
    Runtime(io::Error),
    /// A setting is invalid; which one and why.
    #[error("PD: {0}")]
    Config(String),
    /// Certificates cannot be used.
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
    /// PD's kind of error.
    pub kind: ErrorType,
    /// PD's text.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal.
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
