use keys::{escape::hex_upper, hex_lower};
use kvproto::kvrpcpb::{LockInfo, write_conflict::Reason};

use crate::TimeStamp;

/// What can be wrong with a record, or stand in the way of a read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A key or a part of a record does not decode.
    #[error(transparent)]
    Codec(#[from] keys::Error),
    /// Not a lock record.
    #[error("bad format lock data: {what} in {}", hex_lower(.data))]
    BadFormatLock {
        /// What did not fit.
        what: &'static str,
        /// The record.
        data: Vec<u8>,
    },
    /// Not a write record.
    #[error("bad format write data: {what} in {}", hex_lower(.data))]
    BadFormatWrite {
        /// What did not fit.
        what: &'static str,
        /// The record.
        data: Vec<u8>,
    },
    /// A lock that the reader has to wait for or resolve.
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    /// A newer version than the reader's timestamp allows.
    #[error(
        "write conflict, start_ts: {start_ts}, conflict_start_ts: {conflict_start_ts}, conflict_commit_ts: \
         {conflict_commit_ts}, key: {}, primary: {}, reason: {reason:?}",
        hex_upper(.key), hex_upper(.primary)
    )]
    WriteConflict {
        /// Start of the transaction that met the conflict.
        start_ts: TimeStamp,
        /// Start of the transaction it conflicts with.
        conflict_start_ts: TimeStamp,
        /// Commit of that transaction; zero where it is not committed.
        conflict_commit_ts: TimeStamp,
        /// The raw key.
        key: Vec<u8>,
        /// The raw primary key of the other transaction.
        primary: Vec<u8>,
        /// Which check found it.
        reason: Reason,
    },
    /// A request or a change that these types do not allow.
    #[error("invalid operation: {0}")]
    InvalidOperation(String),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
