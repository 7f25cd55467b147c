use std::{io, path::PathBuf};

use crate::io::FileError;

/// The failure of a reader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the store cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system refused access to a path.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Any other failure. The message gives the expectation, the finding and the remedy.
    #[error("{0}")]
    Other(String),
}

/// The result of readers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps a message.
    pub fn other(what: impl Into<String>) -> Error {
        Error::Other(what.into())
    }
}
