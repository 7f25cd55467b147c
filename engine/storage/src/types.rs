//! What commands answer.
//!
//! Mirrors `src/storage/types.rs`.
use kvproto::kvrpcpb::{self, Action, LockInfo};
use txn_types::{Lock, TimeStamp, Value};

use crate::{
    errors::{Error, Result, extract_key_error},
    txn::commands::Command,
};

/// What became of a transaction, by its primary key.
#[derive(PartialEq, Debug, Clone)]
pub enum TxnStatus {
    /// It was rolled back before.
    RolledBack,
    /// Its lock had outlived its TTL and has been rolled back now.
    TtlExpire,
    /// There was nothing of it; a rollback record has been left.
    LockNotExist,
    /// It is still locked.
    Uncommitted {
        lock: Lock,
        min_commit_ts_pushed: bool,
    },
    Committed {
        commit_ts: TimeStamp,
    },
    /// Its pessimistic lock had outlived its TTL and has been removed now.
    PessimisticRollBack,
    /// There was nothing of it, and nothing has been done.
    LockNotExistDoNothing,
}

impl TxnStatus {
    /// The reply on the wire; `primary_key` is raw.
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

/// The answer of a prewrite.
#[derive(Debug, Default)]
pub struct PrewriteResult {
    /// One error for each key that is locked; empty if all keys are prewritten.
    pub locks: Vec<Result<()>>,
    /// Of an async-commit transaction; zero: it fell back to two phases, or never asked.
    pub min_commit_ts: TimeStamp,
    /// Of a transaction committed in one phase; zero otherwise.
    pub one_pc_commit_ts: TimeStamp,
}

/// The answer of CheckSecondaryLocks.
#[derive(PartialEq, Debug, Clone)]
pub enum SecondaryLocksStatus {
    Locked(Vec<LockInfo>),
    Committed(TimeStamp),
    RolledBack,
}

impl SecondaryLocksStatus {
    /// The reply on the wire.
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

/// What a pessimistic lock request learns of one key.
#[derive(Debug)]
pub enum PessimisticLockKeyResult {
    /// Nothing was asked.
    Empty,
    Value(Option<Value>),
    Existence(bool),
    /// The key is not locked; only where keys are answered one by one.
    Failed(Error),
}

/// The answer of a pessimistic lock request, key by key.
#[derive(Debug, Default)]
pub struct PessimisticLockResults(pub Vec<PessimisticLockKeyResult>);

impl PessimisticLockResults {
    /// `values` and `not_founds` of the reply on the wire.
    pub fn into_legacy_values_and_not_founds(self) -> (Vec<Vec<u8>>, Vec<bool>) {
        let asked = self.0.iter().any(|r| !matches!(r, PessimisticLockKeyResult::Empty));
        let valued = self.0.iter().any(|r| matches!(r, PessimisticLockKeyResult::Value(_)));
        let found = |r: &PessimisticLockKeyResult| match r {
            PessimisticLockKeyResult::Empty => true,
            PessimisticLockKeyResult::Value(value) => value.is_some(),
            PessimisticLockKeyResult::Existence(exists) => *exists,
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

    /// `results` and `errors` of the reply on the wire, where keys are answered one by one. TiKV: `into_pb`.
    pub fn into_results_and_errors(self) -> (Vec<kvrpcpb::PessimisticLockKeyResult>, Vec<kvrpcpb::KeyError>) {
        use kvrpcpb::PessimisticLockKeyResultType::{LockResultFailed, LockResultNormal};
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

/// What a command leads to.
#[derive(Debug)]
pub enum ProcessResult {
    Res,
    MultiRes {
        results: Vec<Result<()>>,
    },
    PrewriteResult {
        result: PrewriteResult,
    },
    TxnStatus {
        txn_status: TxnStatus,
    },
    PessimisticLockRes {
        res: PessimisticLockResults,
    },
    SecondaryLocksStatus {
        status: SecondaryLocksStatus,
    },
    /// What the key held before, and whether it holds the new value now.
    RawCompareAndSwapRes {
        previous_value: Option<Value>,
        succeed: bool,
    },
    /// The command goes on as another one.
    NextCommand {
        cmd: Box<Command>,
    },
}

/// What a caller gets out of a [`ProcessResult`]; an error if the command answered something else.
pub trait CommandOutput: Sized + Send + 'static {
    fn from_result(pr: ProcessResult) -> Result<Self>;
}

macro_rules! output {
    ($type:ty, $pattern:pat => $value:expr) => {
        impl CommandOutput for $type {
            fn from_result(pr: ProcessResult) -> Result<Self> {
                match pr {
                    $pattern => Ok($value),
                    other => Err(Error::other(format!(
                        "expected a {}, the command answered {other:?}",
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
output!(
    (Option<Value>, bool),
    ProcessResult::RawCompareAndSwapRes { previous_value, succeed } => (previous_value, succeed)
);
output!(SecondaryLocksStatus, ProcessResult::SecondaryLocksStatus { status } => status);
