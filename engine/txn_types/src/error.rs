//! Errors of this crate.
use keys::{hex_lower, hex_upper};
use kvproto::kvrpcpb::{LockInfo, write_conflict::Reason};

use crate::TimeStamp;

/// A version that is newer than a transaction's timestamp. TiKV: `mvcc::ErrorInner::WriteConflict`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write conflict, start_ts: {start_ts}, conflict_start_ts: {conflict_start_ts}, conflict_commit_ts: \
     {conflict_commit_ts}, key: {}, primary: {}, reason: {reason:?}",
    hex_upper(.key), hex_upper(.primary)
)]
pub struct WriteConflict {
    /// Start of the transaction that found the conflict.
    pub start_ts: TimeStamp,
    /// Start of the other transaction.
    pub conflict_start_ts: TimeStamp,
    /// Commit timestamp of the other transaction; zero if it is not committed.
    pub conflict_commit_ts: TimeStamp,
    /// Raw key.
    pub key: Vec<u8>,
    /// Raw primary key of the transaction that found the conflict, or of the lock found.
    pub primary: Vec<u8>,
    /// The check that found the conflict.
    pub reason: Reason,
}

/// Undecodable record, or a conflict with a read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Undecodable key or part of a record.
    #[error(transparent)]
    Codec(#[from] keys::Error),
    /// Not a lock record.
    #[error("bad format lock data: {what} in {}", hex_lower(.data))]
    BadFormatLock {
        /// The invalid part.
        what: &'static str,
        /// The record.
        data: Vec<u8>,
    },
    /// Not a write record.
    #[error("bad format write data: {what} in {}", hex_lower(.data))]
    BadFormatWrite {
        /// The invalid part.
        what: &'static str,
        /// The record.
        data: Vec<u8>,
    },
    /// Lock that the reader must wait for or resolve.
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    /// Version newer than the reader's timestamp.
    #[error(transparent)]
    WriteConflict(Box<WriteConflict>),
    /// Request or change that these types do not allow.
    #[error("invalid operation: {0}")]
    InvalidOperation(String),
}

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
