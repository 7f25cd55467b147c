//! Errors of the engine: mostly region errors, passed to the client unchanged.
use kvproto::{errorpb, kvrpcpb::LockInfo};

/// Error of an engine.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::large_enum_variant, reason = "always boxed, by Error")]
pub enum ErrorInner {
    /// Region error that the client must handle: another leader, epoch or region.
    #[error("region error: {0:?}")]
    Request(errorpb::Error),
    /// Lock in the leader's memory that blocks a replica read.
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    /// Error of RocksDB.
    #[error("RocksDB: {0}")]
    Rocks(#[from] engine_rocks::Error),
    /// The operation took longer than this number of milliseconds.
    #[error("no answer within {0} ms of engine time")]
    Timeout(u64),
    /// The engine is closed.
    #[error("the engine is shutting down; retry on another store")]
    Closed,
    /// Any other error, as text.
    #[error("{0}")]
    Other(String),
}

/// Boxed, because every result of the read path carries it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub Box<ErrorInner>);

impl<T: Into<ErrorInner>> From<T> for Error {
    fn from(e: T) -> Self {
        Error(Box::new(e.into()))
    }
}

impl From<errorpb::Error> for ErrorInner {
    fn from(e: errorpb::Error) -> Self {
        ErrorInner::Request(e)
    }
}

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
