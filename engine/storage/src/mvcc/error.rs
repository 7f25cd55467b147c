//! Errors of multi-version concurrency control.
use keys::hex_upper;
use kvproto::kvrpcpb::{Assertion, LockInfo, write_conflict::Reason};
use txn_types::TimeStamp;

use crate::concurrency_manager::InvalidMaxTsUpdate;

/// Reason why an expected pessimistic lock is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PessimisticLockNotFoundReason {
    /// The lock belongs to another transaction.
    LockTsMismatch,
    /// There is no lock, and a newer version prevents amending it.
    LockMissingAmendFail,
    /// The lock's for_update_ts differs from the one the client expects.
    LockForUpdateTsMismatch,
    /// A key that needed no lock has a newer version.
    NonLockKeyConflict,
}

/// Error of an MVCC operation; keys are raw. TiKV: `src/storage/mvcc/mod.rs` `ErrorInner`.
#[derive(Debug, thiserror::Error)]
pub enum ErrorInner {
    #[error(transparent)]
    Kv(#[from] tikv_kv::Error),
    /// Undecodable record.
    #[error(transparent)]
    BadFormat(txn_types::Error),
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    #[error("txn already committed, start_ts: {start_ts}, commit_ts: {commit_ts}, key: {}", hex_upper(.key))]
    Committed { start_ts: TimeStamp, commit_ts: TimeStamp, key: Vec<u8> },
    #[error("pessimistic lock already rolled back, start_ts: {start_ts}, key: {}", hex_upper(.key))]
    PessimisticLockRolledBack { start_ts: TimeStamp, key: Vec<u8> },
    #[error("txn lock not found, start_ts: {start_ts}, commit_ts: {commit_ts}, key: {}", hex_upper(.key))]
    TxnLockNotFound { start_ts: TimeStamp, commit_ts: TimeStamp, key: Vec<u8> },
    #[error("txn not found, start_ts: {start_ts}, key: {}", hex_upper(.key))]
    TxnNotFound { start_ts: TimeStamp, key: Vec<u8> },
    #[error("lock type not match, start_ts: {start_ts}, key: {}, pessimistic: {pessimistic}", hex_upper(.key))]
    LockTypeNotMatch { start_ts: TimeStamp, key: Vec<u8>, pessimistic: bool },
    #[error(
        "write conflict, start_ts: {start_ts}, conflict_start_ts: {conflict_start_ts}, conflict_commit_ts: \
         {conflict_commit_ts}, key: {}, primary: {}, reason: {reason:?}",
        hex_upper(.key), hex_upper(.primary)
    )]
    WriteConflict {
        start_ts: TimeStamp,
        conflict_start_ts: TimeStamp,
        conflict_commit_ts: TimeStamp,
        key: Vec<u8>,
        primary: Vec<u8>,
        reason: Reason,
    },
    #[error("key {} already exists, existing_start_ts: {existing_start_ts}", hex_upper(.key))]
    AlreadyExist { key: Vec<u8>, existing_start_ts: TimeStamp },
    /// PUT record without its value. The key is encoded and includes the start_ts.
    #[error("default not found: key {}: CF write names a value that CF default does not have", hex_upper(.key))]
    DefaultNotFound { key: Vec<u8> },
    #[error(
        "try to commit key {} with commit_ts {commit_ts} but min_commit_ts is {min_commit_ts}, start_ts: \
         {start_ts}",
        hex_upper(.key)
    )]
    CommitTsExpired { start_ts: TimeStamp, commit_ts: TimeStamp, key: Vec<u8>, min_commit_ts: TimeStamp },
    #[error("pessimistic lock not found, start_ts: {start_ts}, key: {}, reason: {reason:?}", hex_upper(.key))]
    PessimisticLockNotFound { start_ts: TimeStamp, key: Vec<u8>, reason: PessimisticLockNotFoundReason },
    #[error(
        "min_commit_ts {min_commit_ts} is larger than max_commit_ts {max_commit_ts}, start_ts: {start_ts}"
    )]
    CommitTsTooLarge { start_ts: TimeStamp, min_commit_ts: TimeStamp, max_commit_ts: TimeStamp },
    #[error(
        "assertion on data failed, start_ts: {start_ts}, key: {}, assertion: {assertion:?}, existing_start_ts: \
         {existing_start_ts}, existing_commit_ts: {existing_commit_ts}",
        hex_upper(.key)
    )]
    AssertionFailed {
        start_ts: TimeStamp,
        key: Vec<u8>,
        assertion: Assertion,
        existing_start_ts: TimeStamp,
        existing_commit_ts: TimeStamp,
    },
    #[error(
        "lock_only_if_exists needs return_values, which is not set, start_ts: {start_ts}, key: {}",
        hex_upper(.key)
    )]
    LockIfExistsFailed { start_ts: TimeStamp, key: Vec<u8> },
    #[error(transparent)]
    InvalidMaxTsUpdate(#[from] InvalidMaxTsUpdate),
    #[error("the lock is not the primary's: {0:?}")]
    PrimaryMismatch(Box<LockInfo>),
    /// Contradictory data, or a request that this engine does not support.
    #[error("{0}")]
    Other(String),
}

/// Boxed, because every result of the read path carries it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub Box<ErrorInner>);

impl From<ErrorInner> for Error {
    fn from(e: ErrorInner) -> Self {
        Error(Box::new(e))
    }
}

impl From<tikv_kv::Error> for Error {
    fn from(e: tikv_kv::Error) -> Self {
        ErrorInner::Kv(e).into()
    }
}

impl From<InvalidMaxTsUpdate> for Error {
    fn from(e: InvalidMaxTsUpdate) -> Self {
        ErrorInner::from(e).into()
    }
}

impl From<txn_types::Error> for Error {
    /// Keeps a conflict found by `txn_types`; every other error is an undecodable record.
    fn from(e: txn_types::Error) -> Self {
        match e {
            txn_types::Error::KeyIsLocked(info) => ErrorInner::KeyIsLocked(info),
            txn_types::Error::WriteConflict {
                start_ts,
                conflict_start_ts,
                conflict_commit_ts,
                key,
                primary,
                reason,
            } => ErrorInner::WriteConflict {
                start_ts,
                conflict_start_ts,
                conflict_commit_ts,
                key,
                primary,
                reason,
            },
            other => ErrorInner::BadFormat(other),
        }
        .into()
    }
}

/// Result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;
