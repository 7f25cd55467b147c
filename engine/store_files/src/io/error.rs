//! Errors of readers of store files.

use std::{io, path::PathBuf};

/// A failure to read a RocksDB file. Each message names the file and, if there is one, the offset.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// An error of the operating system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Bytes that violate the format.
    #[error("{} at byte {offset}: {what}", .path.display())]
    Corruption {
        /// The file.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// The expectation and the finding.
        what: String,
    },
    /// Bytes that violate the format, and the range in which keys of the file are lost.
    #[error("{} at byte {offset}: {what}; lost: keys {}", .path.display(), span(.after, .up_to))]
    Lost {
        /// The file.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// The expectation and the finding.
        what: String,
        /// Lower bound: user keys before it are not lost; empty: unbounded.
        after: Vec<u8>,
        /// Upper bound: user keys after it are not lost; empty: unbounded.
        up_to: Vec<u8>,
    },
    /// A valid file with a feature that this reader does not support.
    #[error("{}: {what}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The missing feature and the remedy.
        what: String,
    },
    /// A directory that is not a RocksDB, or lacks a column family.
    #[error("{0}")]
    NotADb(String),
}

impl FileError {
    /// Adds the range `after` to `up_to` in which user keys are lost.
    #[must_use]
    pub fn losing(self, after: &[u8], up_to: &[u8]) -> FileError {
        match self {
            FileError::Corruption { path, offset, what } => {
                FileError::Lost { path, offset, what, after: after.to_vec(), up_to: up_to.to_vec() }
            }
            FileError::Io { path, source } => FileError::Lost {
                path,
                offset: 0,
                what: source.to_string(),
                after: after.to_vec(),
                up_to: up_to.to_vec(),
            },
            FileError::Unsupported { path, what } => {
                FileError::Lost { path, offset: 0, what, after: after.to_vec(), up_to: up_to.to_vec() }
            }
            other => other,
        }
    }

    /// Adds the name of the damaged block.
    #[must_use]
    pub fn in_block(self, name: &str) -> FileError {
        match self {
            FileError::Corruption { path, offset, what } => {
                FileError::Corruption { path, offset, what: format!("{name}: {what}") }
            }
            other => other,
        }
    }

    /// Appends `more` to the message of damage. Other errors stay as they are; see [`FileError::in_full`].
    #[must_use]
    pub fn also(self, more: &str) -> FileError {
        match self {
            FileError::Corruption { path, offset, what } => {
                FileError::Corruption { path, offset, what: format!("{what}; {more}") }
            }
            FileError::Lost { path, offset, what, after, up_to } => {
                FileError::Lost { path, offset, what: format!("{what}; {more}"), after, up_to }
            }
            other => other,
        }
    }

    /// Appends `more`, such as the action that was taken, to the message of any error.
    #[must_use]
    pub fn in_full(self, more: &str) -> FileError {
        match self {
            FileError::Io { path, source } => {
                FileError::Unsupported { path, what: format!("{source}; {more}") }
            }
            FileError::Unsupported { path, what } => {
                FileError::Unsupported { path, what: format!("{what}; {more}") }
            }
            FileError::NotADb(what) => FileError::NotADb(format!("{what}; {more}")),
            other => other.also(more),
        }
    }

    /// The user-key range in which keys were lost; an empty bound is unbounded.
    pub fn lost_keys(&self) -> Option<(&[u8], &[u8])> {
        match self {
            FileError::Lost { after, up_to, .. } => Some((after, up_to)),
            _ => None,
        }
    }

    /// Whether a file was missing: a running server may have removed it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, FileError>;

impl Clone for FileError {
    fn clone(&self) -> FileError {
        match self {
            FileError::Io { path, source } => {
                let again = source.raw_os_error().map(io::Error::from_raw_os_error);
                let again = again.unwrap_or_else(|| io::Error::new(source.kind(), source.to_string()));
                FileError::Io { path: path.clone(), source: again }
            }
            FileError::Corruption { path, offset, what } => {
                FileError::Corruption { path: path.clone(), offset: *offset, what: what.clone() }
            }
            FileError::Lost { path, offset, what, after, up_to } => FileError::Lost {
                path: path.clone(),
                offset: *offset,
                what: what.clone(),
                after: after.clone(),
                up_to: up_to.clone(),
            },
            FileError::Unsupported { path, what } => {
                FileError::Unsupported { path: path.clone(), what: what.clone() }
            }
            FileError::NotADb(what) => FileError::NotADb(what.clone()),
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
