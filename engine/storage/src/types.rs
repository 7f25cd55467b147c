//! Results of commands.
//!
//! Mirrors `src/storage/types.rs`.
use std::time::Duration;

use kvproto::kvrpcpb::{self, Action, Context, LockInfo};
use txn_types::{Key, Lock, TimeStamp, Value};

use crate::{
    errors::{Error, Result, extract_key_error},
    statistics::SchedulerDetails,
};

/// Status of a transaction, according to its primary key.
#[derive(PartialEq, Debug, Clone)]
pub enum TxnStatus {
    /// Rolled back earlier.
    RolledBack,
    /// Rolled back now, since its lock's TTL had expired.
    TtlExpire,
    /// No lock or record was found; a rollback record was written.
    LockNotExist,
    /// Still locked.
    Uncommitted {
        /// The lock found.
        lock: Lock,
        /// Whether the request has raised the lock's min_commit_ts.
        min_commit_ts_pushed: bool,
    },
    /// Committed.
    Committed {
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
    },
    /// The pessimistic lock was removed now, since the TTL had expired.
    PessimisticRollBack,
    /// No lock or record was found; nothing was written.
    LockNotExistDoNothing,
}

impl TxnStatus {
    /// Returns the reply on the wire; `primary_key` is raw.
    pub fn into_check_response(self, primary_key: Vec<u8>) -> kvrpcpb::CheckTxnStatusResponse {
        let mut resp = kvrpcpb::CheckTxnStatusResponse::default();
        let action = match self {
            TxnStatus::RolledBack => Action::NoAction,
            TxnStatus::TtlExpire => Action::TtlExpireRollback,
            TxnStatus::LockNotExist => Action::LockNotExistRollback,
            TxnStatus::PessimisticRollBack => Action::TtlExpirePessimisticRollback,
            TxnStatus::LockNotExistDoNothing => Action::LockNotExistDoNothing,
            TxnStatus::Committed { commit_ts } => {
                resp.commit_version = commit_ts.into_inner();
                Action::NoAction
            }
            TxnStatus::Uncommitted { lock, min_commit_ts_pushed } => {
                resp.lock_ttl = lock.ttl;
                resp.lock_info = Some(lock.into_lock_info(primary_key));
                if min_commit_ts_pushed { Action::MinCommitTsPushed } else { Action::NoAction }
            }
        };
        resp.action = action.into();
        resp
    }
}

/// Result of a prewrite.
#[derive(Debug, Default)]
pub struct PrewriteResult {
    /// One error for each locked key; empty if all keys are prewritten.
    pub locks: Vec<Result<()>>,
    /// For an async-commit transaction; zero after a fallback to two phases, or for other transactions.
    pub min_commit_ts: TimeStamp,
    /// For a transaction committed in one phase; zero otherwise.
    pub one_pc_commit_ts: TimeStamp,
}

/// Result of CheckSecondaryLocks.
#[derive(PartialEq, Debug, Clone)]
pub enum SecondaryLocksStatus {
    /// All keys are locked; the locks.
    Locked(Vec<LockInfo>),
    /// Committed at this timestamp.
    Committed(TimeStamp),
    /// Rolled back.
    RolledBack,
}

impl SecondaryLocksStatus {
    /// Returns the reply on the wire.
    pub fn into_response(self) -> kvrpcpb::CheckSecondaryLocksResponse {
        let mut resp = kvrpcpb::CheckSecondaryLocksResponse::default();
        match self {
            SecondaryLocksStatus::Locked(locks) => resp.locks = locks,
            SecondaryLocksStatus::Committed(ts) => resp.commit_ts = ts.into_inner(),
            SecondaryLocksStatus::RolledBack => {}
        }
        resp
    }
}

/// Result of a pessimistic lock request for one key.
#[derive(Debug)]
pub enum PessimisticLockKeyResult {
    /// The request asked for no value.
    Empty,
    /// The key's value, if it has one.
    Value(Option<Value>),
    /// Whether the key has a value.
    Existence(bool),
    /// The key is locked although a version is newer than for_update_ts.
    LockedWithConflict {
        /// The newest value.
        value: Option<Value>,
        /// commit_ts of the newest version, and for_update_ts of the lock.
        conflict_ts: TimeStamp,
    },
    /// The key is not locked; only used with results per key.
    Failed(Error),
}

/// Result of a pessimistic lock request, per key.
#[derive(Debug, Default)]
pub struct PessimisticLockResults(pub Vec<PessimisticLockKeyResult>);

impl PessimisticLockResults {
    /// Returns `values` and `not_founds` of the reply on the wire.
    pub fn into_legacy_values_and_not_founds(self) -> (Vec<Vec<u8>>, Vec<bool>) {
        let asked = self.0.iter().any(|r| !matches!(r, PessimisticLockKeyResult::Empty));
        let valued = self.0.iter().any(|r| matches!(r, PessimisticLockKeyResult::Value(_)));
        let found = |r: &PessimisticLockKeyResult| match r {
            PessimisticLockKeyResult::Empty => true,
            PessimisticLockKeyResult::Value(value) => value.is_some(),
            PessimisticLockKeyResult::Existence(exists) => *exists,
            PessimisticLockKeyResult::LockedWithConflict { value, .. } => value.is_some(),
            PessimisticLockKeyResult::Failed(_) => false,
        };
        let not_founds = if asked { self.0.iter().map(|r| !found(r)).collect() } else { Vec::new() };
        let value = |r| match r {
            PessimisticLockKeyResult::Value(value) => value.unwrap_or_default(),
            _ => Vec::new(),
        };
        let values = if valued { self.0.into_iter().map(value).collect() } else { Vec::new() };
        (values, not_founds)
    }

    /// Returns `results` and `errors` of the reply on the wire, for requests with results per key.
    /// TiKV: `into_pb`.
    pub fn into_results_and_errors(self) -> (Vec<kvrpcpb::PessimisticLockKeyResult>, Vec<kvrpcpb::KeyError>) {
        use kvrpcpb::PessimisticLockKeyResultType::{
            LockResultFailed, LockResultLockedWithConflict, LockResultNormal,
        };
        let mut errors = Vec::new();
        let result = |result| {
            let mut pb =
                kvrpcpb::PessimisticLockKeyResult { r#type: LockResultNormal.into(), ..Default::default() };
            match result {
                PessimisticLockKeyResult::Empty => {}
                PessimisticLockKeyResult::Value(value) => {
                    pb.existence = value.is_some();
                    pb.value = value.unwrap_or_default();
                }
                PessimisticLockKeyResult::Existence(exists) => pb.existence = exists,
                PessimisticLockKeyResult::LockedWithConflict { value, conflict_ts } => {
                    pb.r#type = LockResultLockedWithConflict.into();
                    pb.existence = value.is_some();
                    pb.value = value.unwrap_or_default();
                    pb.locked_with_conflict_ts = conflict_ts.into_inner();
                }
                PessimisticLockKeyResult::Failed(e) => {
                    pb.r#type = LockResultFailed.into();
                    errors.push(extract_key_error(&e));
                }
            }
            pb
        };
        let results = self.0.into_iter().map(result).collect();
        (results, errors)
    }
}

/// Time to wait for a lock. TiKV: `src/storage/lock_manager/mod.rs` `WaitTimeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitTimeout {
    /// `pessimistic-txn.wait-for-lock-timeout`.
    Default,
    /// Up to this number of milliseconds, and up to the default.
    Millis(u64),
}

impl WaitTimeout {
    /// Reads `wait_timeout` of a request: 0 means the default, and a negative number forbids a wait.
    pub fn from_encoded(encoded: i64) -> Option<Self> {
        match encoded {
            0 => Some(Self::Default),
            ms => u64::try_from(ms).ok().map(Self::Millis),
        }
    }

    /// Returns the duration; `ceiling` is the default, and the longest one.
    pub fn into_duration_with_ceiling(self, ceiling: Duration) -> Duration {
        match self {
            Self::Default => ceiling,
            Self::Millis(ms) => Duration::from_millis(ms).min(ceiling),
        }
    }
}

/// A key of a pessimistic lock request.
#[derive(Clone, Debug)]
pub struct KeyToLock {
    /// Encoded.
    pub key: Key,
    /// Whether the key must not exist.
    pub should_not_exist: bool,
    /// Whether other transactions may share the lock.
    pub shared: bool,
}

/// Parameters of a pessimistic lock request that its keys share.
#[derive(Clone, Debug)]
pub struct PessimisticLockParameters {
    /// The request's context: region, peer, epoch and options.
    pub pb_ctx: Context,
    /// Raw.
    pub primary: Vec<u8>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Time to live of the lock, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
    /// Time to wait for a lock of another transaction; `None`: no wait.
    pub wait_timeout: Option<WaitTimeout>,
    /// Whether to return the values of the keys.
    pub return_values: bool,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Whether to return whether the keys have values.
    pub check_existence: bool,
    /// Whether the transaction has no other lock, so that no other transaction waits for it.
    pub is_first_lock: bool,
    /// Whether to lock only keys that have a value.
    pub lock_only_if_exists: bool,
    /// Fair locking: one key, which is locked even if it has a newer version.
    pub allow_lock_with_conflict: bool,
}

/// The answer to a command's caller.
pub(crate) type Answer = (Result<ProcessResult>, SchedulerDetails);

/// Outcome of a command.
#[derive(Debug)]
pub enum ProcessResult {
    /// Done, without a result.
    Res,
    /// A result for each key.
    MultiRes {
        /// The results, in the order of the keys.
        results: Vec<Result<()>>,
    },
    /// Result of a prewrite.
    PrewriteResult {
        /// The result.
        result: PrewriteResult,
    },
    /// Status of a transaction.
    TxnStatus {
        /// The status.
        txn_status: TxnStatus,
    },
    /// Results of a pessimistic lock request.
    PessimisticLockRes {
        /// The results, in the order of the keys.
        res: PessimisticLockResults,
    },
    /// Status of an async-commit transaction.
    SecondaryLocksStatus {
        /// The status.
        status: SecondaryLocksStatus,
    },
    /// All records of one key.
    MvccKey {
        /// The records.
        mvcc: kvrpcpb::MvccInfo,
    },
    /// All records of the first key that has a record of a transaction.
    MvccStartTs {
        /// The key and its records.
        mvcc: Option<(Key, kvrpcpb::MvccInfo)>,
    },
    /// Previous value of the key, and whether the new value was written.
    RawCompareAndSwapRes {
        /// Value before the command.
        previous_value: Option<Value>,
        /// Whether the new value was written.
        succeed: bool,
    },
}

/// Conversion from [`ProcessResult`] to the caller's type; an error if the command returned another result.
pub trait CommandOutput: Sized + Send + 'static {
    /// Converts the result.
    fn from_result(pr: ProcessResult) -> Result<Self>;
}

macro_rules! output {
    ($type:ty, $pattern:pat => $value:expr) => {
        impl CommandOutput for $type {
            fn from_result(pr: ProcessResult) -> Result<Self> {
                match pr {
                    $pattern => Ok($value),
                    other => Err(Error::other(format!(
                        "expected a command result of type {}, found {other:?}",
                        stringify!($type)
                    ))),
                }
            }
        }
    };
}
output!((), ProcessResult::Res => ());
output!(Vec<Result<()>>, ProcessResult::MultiRes { results } => results);
output!(PrewriteResult, ProcessResult::PrewriteResult { result } => result);
output!(TxnStatus, ProcessResult::TxnStatus { txn_status } => txn_status);
output!(PessimisticLockResults, ProcessResult::PessimisticLockRes { res } => res);
output!(kvrpcpb::MvccInfo, ProcessResult::MvccKey { mvcc } => mvcc);
output!(Option<(Key, kvrpcpb::MvccInfo)>, ProcessResult::MvccStartTs { mvcc } => mvcc);
output!(
    (Option<Value>, bool),
    ProcessResult::RawCompareAndSwapRes { previous_value, succeed } => (previous_value, succeed)
);
output!(SecondaryLocksStatus, ProcessResult::SecondaryLocksStatus { status } => status);
