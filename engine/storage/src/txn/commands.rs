//! Commands of the scheduler: each turns a request into modifications.
//!
//! Mirrors `src/storage/txn/commands`.
mod acquire_pessimistic_lock;
mod acquire_pessimistic_lock_resumed;
mod atomic_store;
mod check_secondary_locks;
mod check_txn_status;
mod cleanup;
mod commit;
mod compare_and_swap;
mod flashback_to_version;
mod flush;
mod mvcc_by_key;
mod mvcc_by_start_ts;
mod pessimistic_rollback;
mod prewrite;
mod resolve_lock;
mod rollback;
mod txn_heart_beat;

pub use acquire_pessimistic_lock::AcquirePessimisticLock;
pub use acquire_pessimistic_lock_resumed::AcquirePessimisticLockResumed;
pub use atomic_store::RawAtomicStore;
pub use check_secondary_locks::CheckSecondaryLocks;
pub use check_txn_status::CheckTxnStatus;
pub use cleanup::Cleanup;
pub use commit::Commit;
pub use compare_and_swap::RawCompareAndSwap;
pub use flashback_to_version::{Flashback, FlashbackToVersion, FlashbackToVersionReadPhase};
pub use flush::{Flush, typed_flush};
pub use mvcc_by_key::MvccByKey;
pub use mvcc_by_start_ts::MvccByStartTs;
pub use pessimistic_rollback::{
    PessimisticRollback, PessimisticRollbackReadPhase, typed_pessimistic_rollback,
};
pub use prewrite::{Prewrite, PrewritePessimistic, typed_prewrite};
pub use resolve_lock::{
    RESOLVE_LOCK_BATCH_SIZE, ResolveLock, ResolveLockLite, ResolveLockReadPhase, typed_resolve_lock,
};
pub use rollback::Rollback;
pub use txn_heart_beat::TxnHeartBeat;

use std::{marker::PhantomData, sync::Arc};

use kvproto::kvrpcpb::{CommandPri, Context, LockInfo};
use tikv_kv::{Modify, Snapshot};
use tracepoints::Req;
use txn_types::{Key, TimeStamp};

use crate::{
    concurrency_manager::{ConcurrencyManager, KeyHandleGuard},
    errors::{Error, ErrorInner, Result},
    lock_manager::{LockDigest, LockWaitToken, lock_waiting_queue::LockWaitContextSharedState},
    mvcc::{MvccTxn, ReleasedLock, SnapshotReader},
    statistics::Statistics,
    txn::{raw_ext::RawExt, txn_status_cache::TxnStatusCache},
    types::{KeyToLock, PessimisticLockParameters, ProcessResult},
};

/// Properties of a command for the scheduler.
pub trait CommandExt {
    /// Returns the request's context.
    fn ctx(&self) -> &Context;
    /// Lower-case name, as in TiKV's metrics.
    fn tag(&self) -> &'static str;
    /// start_ts of the transaction; zero if the command covers several transactions.
    fn ts(&self) -> TimeStamp;
    /// Keys to latch.
    fn latch_keys(&self) -> Vec<&Key>;
    /// Bytes of the request, for flow control.
    fn write_bytes(&self) -> usize {
        self.latch_keys().iter().map(|k| k.len()).sum()
    }
    /// Whether the command only reads.
    fn readonly(&self) -> bool {
        false
    }
    /// Whether the command removes locks that other requests wait for, and so has a high priority.
    fn is_sys_cmd(&self) -> bool {
        false
    }
    /// Returns the priority: the pool that runs the command.
    fn priority(&self) -> CommandPri {
        if self.is_sys_cmd() { CommandPri::High } else { self.ctx().priority() }
    }
    /// Whether a busy scheduler rejects the command. TiKV: `Command::need_flow_control`.
    fn need_flow_control(&self) -> bool {
        !self.readonly() && self.priority() != CommandPri::High
    }
    /// Whether the command may read and write a region in flashback.
    fn allowed_in_flashback(&self) -> bool {
        false
    }
    /// Whether the keys have versions; raw keys have none.
    fn has_versions(&self) -> bool {
        true
    }
    /// Whether the command writes raw keys, which API V2 gives a causal timestamp.
    fn needs_raw_ext(&self) -> bool {
        false
    }
}

/// Context in which a command runs.
pub struct WriteContext<'a> {
    /// Request of the command, for its stages.
    pub req: Req,
    /// Memory locks and max_ts of the store.
    pub concurrency_manager: ConcurrencyManager,
    /// Statistics of the command's reads.
    pub statistics: &'a mut Statistics,
    /// Whether async commits are allowed.
    pub enable_async_commit: bool,
    /// Whether commits in one phase are allowed.
    pub enable_one_pc: bool,
    /// Status of ended transactions.
    pub txn_status_cache: &'a TxnStatusCache,
    /// Timestamp of a raw write on API V2.
    pub raw_ext: Option<RawExt>,
}

impl WriteContext<'_> {
    /// Creates an empty set of modifications for the transaction.
    fn txn(&self, start_ts: TimeStamp) -> MvccTxn {
        let mut txn = MvccTxn::new(start_ts, self.concurrency_manager.clone());
        txn.req = self.req;
        txn
    }

    /// Runs `f` with a reader, and takes its statistics even after an error.
    fn read<S: Snapshot, T>(
        &mut self,
        start_ts: TimeStamp,
        snapshot: S,
        ctx: &Context,
        f: impl FnOnce(&mut SnapshotReader<S>) -> Result<T>,
    ) -> Result<T> {
        let mut reader = SnapshotReader::new(start_ts, snapshot, !ctx.not_fill_cache);
        reader.reader.req = self.req;
        let result = f(&mut reader);
        self.statistics.add(&reader.reader.statistics);
        result
    }
}

/// The action after the modifications are written.
#[derive(Debug)]
pub enum AfterWrite {
    /// Send the response.
    Respond(Box<ProcessResult>),
    /// The request continues as another command.
    Run(Box<Command>),
    /// Send the error.
    Fail(Box<Error>),
    /// The request waits for a lock; nothing is written.
    WaitForLock(Box<WriteResultLockInfo>),
}

impl From<ProcessResult> for AfterWrite {
    fn from(pr: ProcessResult) -> Self {
        AfterWrite::Respond(Box::new(pr))
    }
}

/// A lock in the way of a pessimistic lock request. TiKV: `WriteResultLockInfo`.
#[derive(Debug)]
pub struct WriteResultLockInfo {
    /// The key to lock.
    pub wanted: KeyToLock,
    /// Identifies the lock.
    pub lock_digest: LockDigest,
    /// The lock.
    pub lock_info_pb: LockInfo,
    /// Parameters of the request.
    pub parameters: PessimisticLockParameters,
    /// Of a request that has waited already: its token, and the state that it shares.
    pub resumed: Option<(LockWaitToken, Arc<LockWaitContextSharedState>)>,
}

impl WriteResultLockInfo {
    fn new(
        wanted: KeyToLock,
        lock_info_pb: LockInfo,
        parameters: PessimisticLockParameters,
        resumed: Option<(LockWaitToken, Arc<LockWaitContextSharedState>)>,
    ) -> Result<Self> {
        let lock_digest = LockDigest { ts: lock_info_pb.lock_version.into(), hash: wanted.key.gen_hash()? };
        Ok(Self { wanted, lock_digest, lock_info_pb, parameters, resumed })
    }
}

/// Modifications of a command, and what follows.
pub struct WriteResult {
    /// The modifications, written together.
    pub modifies: Vec<Modify>,
    /// The response, or the next command.
    pub after: AfterWrite,
    /// Memory locks to drop once the write is applied.
    pub lock_guards: Vec<KeyHandleGuard>,
    /// Locks that the modifications remove.
    pub released_locks: Vec<ReleasedLock>,
    /// Start and commit timestamps of the transactions that are committed once the write is applied.
    pub known_txn_status: Vec<(TimeStamp, TimeStamp)>,
}

impl WriteResult {
    fn new(mut txn: MvccTxn, after: impl Into<AfterWrite>) -> Self {
        let lock_guards = std::mem::take(&mut txn.guards);
        let released_locks = std::mem::take(&mut txn.released_locks);
        let known_txn_status = Vec::new();
        Self {
            modifies: txn.into_modifies(),
            after: after.into(),
            lock_guards,
            released_locks,
            known_txn_status,
        }
    }

    /// Adds transactions of which the command knows that they are committed.
    fn with_committed(mut self, txns: impl IntoIterator<Item = (TimeStamp, TimeStamp)>) -> Self {
        self.known_txn_status.extend(txns);
        self
    }

    /// Creates the result of a command that only reads.
    fn read(pr: ProcessResult) -> Self {
        Self::raw(Vec::new(), pr, None)
    }

    /// Creates the result of a raw command. The memory lock of its timestamp ends after the write is applied.
    fn raw(modifies: Vec<Modify>, pr: ProcessResult, ext: Option<RawExt>) -> Self {
        let lock_guards = ext.into_iter().map(|ext| ext.key_guard).collect();
        let (released_locks, known_txn_status) = (Vec::new(), Vec::new());
        Self { modifies, after: pr.into(), lock_guards, released_locks, known_txn_status }
    }
}

/// Command that may write.
pub trait WriteCommand: CommandExt {
    /// Computes the modifications from the data in `snapshot`.
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult>;
}

/// Command whose response has type `T`.
pub struct TypedCommand<T> {
    /// The command.
    pub cmd: Command,
    answer: PhantomData<fn() -> T>,
}

impl<T> TypedCommand<T> {
    fn new(cmd: Command) -> Self {
        Self { cmd, answer: PhantomData }
    }
}

macro_rules! commands {
    ($($name:ident => $answer:ty),+ $(,)?) => {
        /// Any command.
        #[derive(Debug)]
        #[allow(missing_docs)] // each variant holds the command of its name
        pub enum Command {
            $($name($name),)+
        }

        impl Command {
            fn ext(&self) -> &dyn CommandExt {
                match self { $(Command::$name(cmd) => cmd,)+ }
            }

            /// Computes the modifications.
            pub fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
                match self { $(Command::$name(cmd) => cmd.process_write(snapshot, context),)+ }
            }
        }

        $(impl From<$name> for TypedCommand<$answer> {
            fn from(cmd: $name) -> Self {
                TypedCommand::new(Command::$name(cmd))
            }
        })+
    };
}
commands! {
    Prewrite => crate::types::PrewriteResult,
    PrewritePessimistic => crate::types::PrewriteResult,
    Flush => Vec<Result<()>>,
    AcquirePessimisticLock => crate::types::PessimisticLockResults,
    AcquirePessimisticLockResumed => crate::types::PessimisticLockResults,
    Commit => crate::types::TxnStatus,
    Cleanup => (),
    Rollback => (),
    PessimisticRollback => Vec<Result<()>>,
    PessimisticRollbackReadPhase => Vec<Result<()>>,
    TxnHeartBeat => crate::types::TxnStatus,
    CheckTxnStatus => crate::types::TxnStatus,
    CheckSecondaryLocks => crate::types::SecondaryLocksStatus,
    ResolveLockReadPhase => (),
    ResolveLock => (),
    ResolveLockLite => (),
    FlashbackToVersionReadPhase => (),
    FlashbackToVersion => (),
    MvccByKey => kvproto::kvrpcpb::MvccInfo,
    MvccByStartTs => Option<(Key, kvproto::kvrpcpb::MvccInfo)>,
    RawAtomicStore => (),
    RawCompareAndSwap => (Option<txn_types::Value>, bool),
}

impl CommandExt for Command {
    fn ctx(&self) -> &Context {
        self.ext().ctx()
    }
    fn tag(&self) -> &'static str {
        self.ext().tag()
    }
    fn ts(&self) -> TimeStamp {
        self.ext().ts()
    }
    fn latch_keys(&self) -> Vec<&Key> {
        self.ext().latch_keys()
    }
    fn write_bytes(&self) -> usize {
        self.ext().write_bytes()
    }
    fn readonly(&self) -> bool {
        self.ext().readonly()
    }
    fn is_sys_cmd(&self) -> bool {
        self.ext().is_sys_cmd()
    }
    fn allowed_in_flashback(&self) -> bool {
        self.ext().allowed_in_flashback()
    }
    fn has_versions(&self) -> bool {
        self.ext().has_versions()
    }
    fn needs_raw_ext(&self) -> bool {
        self.ext().needs_raw_ext()
    }
}

/// Returns the error of a request that this store cannot execute as it is.
fn invalid_request(what: String) -> Error {
    ErrorInner::InvalidRequest(txn_types::Error::InvalidOperation(what)).into()
}

/// Reads a value of an enum. An unknown value is refused: it may mean a check that the store would leave out.
fn read_enum<E: TryFrom<i32>>(field: &str, value: i32) -> Result<E> {
    E::try_from(value)
        .map_err(|_| invalid_request(format!("expected a value of kvrpcpb in {field}, found {value}")))
}

/// Encodes the raw keys of a request.
fn encode_keys(keys: Vec<Vec<u8>>) -> Vec<Key> {
    keys.iter().map(|k| Key::from_raw(k)).collect()
}

/// Implements `CommandExt` for a command: with the names of its fields, or with functions of the command.
macro_rules! command_ext {
    ($name:ty, $tag:literal, ts: $ts:ident, keys: $keys:ident $(, $extra:item)*) => {
        command_ext!(
            $name, $tag, ctx: |cmd| &cmd.ctx, ts: |cmd| cmd.$ts,
            keys: |cmd| $crate::txn::commands::LatchKeys::latch_keys(&cmd.$keys) $(, $extra)*
        );
    };
    ($name:ty, $tag:literal, ctx: $ctx:expr, ts: $ts:expr, keys: $keys:expr $(, $extra:item)*) => {
        impl $crate::txn::commands::CommandExt for $name {
            fn ctx(&self) -> &kvproto::kvrpcpb::Context {
                let ctx: fn(&$name) -> &kvproto::kvrpcpb::Context = $ctx;
                ctx(self)
            }
            fn tag(&self) -> &'static str {
                $tag
            }
            fn ts(&self) -> txn_types::TimeStamp {
                let ts: fn(&$name) -> txn_types::TimeStamp = $ts;
                ts(self)
            }
            fn latch_keys(&self) -> Vec<&txn_types::Key> {
                let keys: fn(&$name) -> Vec<&txn_types::Key> = $keys;
                keys(self)
            }
            $($extra)*
        }
    };
}
use command_ext;

/// One key or several.
trait LatchKeys {
    fn latch_keys(&self) -> Vec<&Key>;
}

impl LatchKeys for Key {
    fn latch_keys(&self) -> Vec<&Key> {
        vec![self]
    }
}

impl LatchKeys for Vec<Key> {
    fn latch_keys(&self) -> Vec<&Key> {
        self.iter().collect()
    }
}
