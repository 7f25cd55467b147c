//! Errors of the engine below: mostly region errors that go back to the client as they are.
use kvproto::{errorpb, kvrpcpb::LockInfo};

#[derive(Debug, thiserror::Error)]
#[expect(clippy::large_enum_variant, reason = "always boxed, by Error")]
pub enum ErrorInner {
    /// The client must act on it: another leader, epoch, region.
    #[error("region error: {0:?}")]
    Request(errorpb::Error),
    /// The leader has a lock in memory that a replica read may not pass.
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    #[error("RocksDB: {0}")]
    Rocks(#[from] engine_rocks::Error),
    #[error("no answer within {0} ms of engine time")]
    Timeout(u64),
    #[error("the engine is shutting down; retry on another store")]
    Closed,
    #[error("{0}")]
    Other(String),
}

/// Boxed, since it travels in every result of the read path.
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

pub type Result<T> = std::result::Result<T, Error>;
