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
    /// Whether a file was not there: a running server may have removed it meanwhile.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;
