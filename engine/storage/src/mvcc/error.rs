//! Errors of multi-version concurrency control.
use std::fmt;

use keys::hex_upper;
use kvproto::{
    deadlock::WaitForEntry,
    kvrpcpb::{Assertion, LockInfo, MvccInfo},
};
use txn_types::{Key, Lock, SharedLocks, TimeStamp, WriteConflict};

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
    /// Error of the engine: usually a region error.
    #[error(transparent)]
    Kv(#[from] tikv_kv::Error),
    /// Undecodable record.
    #[error(transparent)]
    BadFormat(txn_types::Error),
    /// Lock of another transaction, which the client must resolve or wait for.
    #[error("key is locked (backoff or cleanup) {0:?}")]
    KeyIsLocked(Box<LockInfo>),
    /// The transaction to roll back is committed.
    #[error("txn already committed, start_ts: {start_ts}, commit_ts: {commit_ts}, key: {}", hex_upper(.key))]
    Committed {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
    },
    /// The transaction was rolled back on this key.
    #[error("pessimistic lock already rolled back, start_ts: {start_ts}, key: {}", hex_upper(.key))]
    PessimisticLockRolledBack {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
    },
    /// The lock to commit is missing: the transaction was rolled back.
    #[error("txn lock not found, start_ts: {start_ts}, commit_ts: {commit_ts}, key: {}", hex_upper(.key))]
    TxnLockNotFound {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
        /// All records of the key, if a correct client cannot cause the error.
        mvcc_info: Option<Box<MvccInfo>>,
    },
    /// The transaction has no lock and no record on its primary key.
    #[error("txn not found, start_ts: {start_ts}, key: {}", hex_upper(.key))]
    TxnNotFound {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
    },
    /// The lock is pessimistic where a prewritten one is expected, or the reverse.
    #[error("lock type not match, start_ts: {start_ts}, key: {}, pessimistic: {pessimistic}", hex_upper(.key))]
    LockTypeNotMatch {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
        /// Whether the lock found is pessimistic.
        pessimistic: bool,
    },
    /// A version newer than the transaction's timestamp.
    #[error(transparent)]
    WriteConflict(WriteConflict),
    /// An insert found a value.
    #[error("key {} already exists, existing_start_ts: {existing_start_ts}", hex_upper(.key))]
    AlreadyExist {
        /// Raw key.
        key: Vec<u8>,
        /// Start timestamp of the version found.
        existing_start_ts: TimeStamp,
    },
    /// PUT record without its value. The key is encoded and includes the start_ts.
    #[error("default not found: key {}: CF write names a value that CF default does not have", hex_upper(.key))]
    DefaultNotFound {
        /// Raw key.
        key: Vec<u8>,
    },
    /// The commit timestamp is below the minimum that readers have set.
    #[error(
        "try to commit key {} with commit_ts {commit_ts} but min_commit_ts is {min_commit_ts}, start_ts: \
         {start_ts}",
        hex_upper(.key)
    )]
    CommitTsExpired {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
        /// Minimum commit timestamp of the transaction.
        min_commit_ts: TimeStamp,
        /// All records of the key, if a correct client cannot cause the error.
        mvcc_info: Option<Box<MvccInfo>>,
    },
    /// The pessimistic lock of a prewritten key is missing and cannot be amended.
    #[error("pessimistic lock not found, start_ts: {start_ts}, key: {}, reason: {reason:?}", hex_upper(.key))]
    PessimisticLockNotFound {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
        /// The check that found it.
        reason: PessimisticLockNotFoundReason,
    },
    /// An async commit or 1PC would exceed the client's maximum commit timestamp.
    #[error(
        "min_commit_ts {min_commit_ts} is larger than max_commit_ts {max_commit_ts}, start_ts: {start_ts}"
    )]
    CommitTsTooLarge {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Minimum commit timestamp of the transaction.
        min_commit_ts: TimeStamp,
        /// Commit timestamp above which the client falls back to two phases; zero: none.
        max_commit_ts: TimeStamp,
    },
    /// The key exists or is absent against the client's assertion.
    #[error(
        "assertion on data failed, start_ts: {start_ts}, key: {}, assertion: {assertion:?}, existing_start_ts: \
         {existing_start_ts}, existing_commit_ts: {existing_commit_ts}",
        hex_upper(.key)
    )]
    AssertionFailed {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
        /// The client's assertion.
        assertion: Assertion,
        /// Start timestamp of the version found.
        existing_start_ts: TimeStamp,
        /// Commit timestamp of the version found.
        existing_commit_ts: TimeStamp,
    },
    /// A request has `lock_only_if_exists` without `return_values`.
    #[error(
        "lock_only_if_exists needs return_values, which is not set, start_ts: {start_ts}, key: {}",
        hex_upper(.key)
    )]
    LockIfExistsFailed {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Raw key.
        key: Vec<u8>,
    },
    /// Waiting for a lock would close a cycle of transactions that wait for each other.
    #[error(
        "deadlock occurs between txn:{start_ts} and txn:{lock_ts}, lock_key:{}, \
         deadlock_key_hash:{deadlock_key_hash}",
        hex_upper(.lock_key)
    )]
    Deadlock {
        /// Start timestamp of the transaction that must give up.
        start_ts: TimeStamp,
        /// Start timestamp of the transaction that it would wait for.
        lock_ts: TimeStamp,
        /// Raw key of the lock that it would wait for.
        lock_key: Vec<u8>,
        /// Hash of the key on which another transaction of the cycle waits for this one.
        deadlock_key_hash: u64,
        /// The cycle; its last entry is the refused wait.
        wait_chain: Vec<WaitForEntry>,
    },
    /// A timestamp of the request cannot come from PD.
    #[error(transparent)]
    InvalidMaxTsUpdate(#[from] InvalidMaxTsUpdate),
    /// The lock found belongs to another primary than the client believes.
    #[error("the lock is not the primary's: {0:?}")]
    PrimaryMismatch(Box<LockInfo>),
    /// An exclusive request found shared locks that others may still join. The command forbids that and reports the
    /// locks as `KeyIsLocked`.
    #[error("key is locked by shared locks without shrink-only flag: {0:?}")]
    NotInShrinkMode(Box<SharedLocks>),
    /// A flush of a pipelined transaction arrives after a later one, which has written the key.
    #[error("generation out of order: flush {generation} of key {key} found the lock of flush {}", .lock.generation)]
    GenerationOutOfOrder {
        /// Number of the flush.
        generation: u64,
        /// Encoded key.
        key: Key,
        /// The transaction's lock.
        lock: Box<Lock>,
    },
    /// Contradictory data, or a request that this engine does not support.
    #[error("{0}")]
    Other(String),
}

/// Boxed, because every result of the read path carries it.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub Box<ErrorInner>);

impl fmt::Debug for Error {
    /// Prints a conflict like TiKV, whose variant has the fields itself: a client gets this text in `retryable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            ErrorInner::WriteConflict(conflict) => f.debug_tuple("Error").field(conflict).finish(),
            other => f.debug_tuple("Error").field(other).finish(),
        }
    }
}

impl From<WriteConflict> for Error {
    fn from(conflict: WriteConflict) -> Self {
        ErrorInner::WriteConflict(conflict).into()
    }
}

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
            txn_types::Error::WriteConflict(conflict) => ErrorInner::WriteConflict(*conflict),
            other => ErrorInner::BadFormat(other),
        }
        .into()
    }
}

/// Result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;
