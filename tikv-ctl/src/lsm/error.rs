use std::{io, path::PathBuf};

/// Why a RocksDB file cannot be read; each message names the file and, where there is one, the offset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what the format asks for.
    #[error("{} at byte {offset}: {what}", .path.display())]
    Corruption {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was met.
        what: String,
    },
    /// The same, and which keys of the file are lost by it.
    #[error("{} at byte {offset}: {what}; lost: keys {}", .path.display(), span(.after, .up_to))]
    Lost {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was met.
        what: String,
        /// User keys before this one are not lost; empty: no such bound.
        after: Vec<u8>,
        /// Nor are those after this one; empty: no such bound.
        up_to: Vec<u8>,
    },
    /// A valid file that needs something this reader does not have.
    #[error("{}: {what}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is missing, and what to do.
        what: String,
    },
    /// The directory is no RocksDB, or lacks a column family.
    #[error("{0}")]
    NotADb(String),
}

impl Error {
    /// The same error, which loses user keys between `after` and `up_to`.
    #[must_use]
    pub fn losing(self, after: &[u8], up_to: &[u8]) -> Error {
        match self {
            Error::Corruption { path, offset, what } => {
                Error::Lost { path, offset, what, after: after.to_vec(), up_to: up_to.to_vec() }
            }
            Error::Io { path, source } => Error::Lost {
                path,
                offset: 0,
                what: source.to_string(),
                after: after.to_vec(),
                up_to: up_to.to_vec(),
            },
            Error::Unsupported { path, what } => {
                Error::Lost { path, offset: 0, what, after: after.to_vec(), up_to: up_to.to_vec() }
            }
            other => other,
        }
    }

    /// The same error, which is about the block `name`.
    #[must_use]
    pub fn in_block(self, name: &str) -> Error {
        match self {
            Error::Corruption { path, offset, what } => {
                Error::Corruption { path, offset, what: format!("{name}: {what}") }
            }
            other => other,
        }
    }

    /// The same error, with more to tell.
    #[must_use]
    pub fn also(self, more: &str) -> Error {
        match self {
            Error::Corruption { path, offset, what } => {
                Error::Corruption { path, offset, what: format!("{what}; {more}") }
            }
            Error::Lost { path, offset, what, after, up_to } => {
                Error::Lost { path, offset, what: format!("{what}; {more}"), after, up_to }
            }
            other => other,
        }
    }

    /// What is wrong, and what was done: for errors that keep no text of their own.
    #[must_use]
    pub fn in_full(self, more: &str) -> Error {
        match self {
            Error::Io { path, source } => Error::Unsupported { path, what: format!("{source}; {more}") },
            Error::Unsupported { path, what } => Error::Unsupported { path, what: format!("{what}; {more}") },
            Error::NotADb(what) => Error::NotADb(format!("{what}; {more}")),
            other => other.also(more),
        }
    }

    /// The user keys between which some are lost; an empty one is no bound.
    pub fn lost_keys(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Error::Lost { after, up_to, .. } => Some((after, up_to)),
            _ => None,
        }
    }

    /// Whether a file was not there: a running server may have removed it meanwhile.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Clone for Error {
    fn clone(&self) -> Error {
        match self {
            Error::Io { path, source } => {
                let again = source.raw_os_error().map(io::Error::from_raw_os_error);
                let again = again.unwrap_or_else(|| io::Error::new(source.kind(), source.to_string()));
                Error::Io { path: path.clone(), source: again }
            }
            Error::Corruption { path, offset, what } => {
                Error::Corruption { path: path.clone(), offset: *offset, what: what.clone() }
            }
            Error::Lost { path, offset, what, after, up_to } => Error::Lost {
                path: path.clone(),
                offset: *offset,
                what: what.clone(),
                after: after.clone(),
                up_to: up_to.clone(),
            },
            Error::Unsupported { path, what } => {
                Error::Unsupported { path: path.clone(), what: what.clone() }
            }
            Error::NotADb(what) => Error::NotADb(what.clone()),
        }
    }
}

fn span(after: &[u8], up_to: &[u8]) -> String {
    match (after.is_empty(), up_to.is_empty()) {
        (true, true) => "of the whole file".to_owned(),
        (true, false) => format!("up to {}", keys::escape(up_to)),
        (false, true) => format!("after {}", keys::escape(after)),
        (false, false) if after == up_to => keys::escape(after),
        (false, false) => format!("between {} and {}", keys::escape(after), keys::escape(up_to)),
    }
}
