//! AcquirePessimisticLock: locks keys before they are written.
use kvproto::kvrpcpb::{self, Assertion, Context, Op, PessimisticLockWakeUpMode};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::{Error, ErrorInner, Result},
    mvcc,
    txn::actions::acquire_pessimistic_lock::{PessimisticLockProperties, acquire_pessimistic_lock},
    types::{PessimisticLockKeyResult, PessimisticLockResults, ProcessResult},
};

/// TiKV: `commands/acquire_pessimistic_lock.rs`. Does not wait for locks of other transactions: for any
/// `wait_timeout` it answers `KeyIsLocked` at once, as TiKV does for a negative one. Clients resolve the
/// lock, or wait and retry. Ignores `is_first_lock`, which is for TiKV's waiting queue, and `force`, which is
/// deprecated in TiKV, too.
#[derive(Clone, Debug)]
pub struct AcquirePessimisticLock {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Each key, and whether it must not exist.
    pub keys: Vec<(Key, bool)>,
    /// Raw.
    pub primary: Vec<u8>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Time to live of the lock, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Whether to return the values of the keys.
    pub return_values: bool,
    /// Whether to return whether the keys have values.
    pub check_existence: bool,
    /// Whether to lock only keys that have a value.
    pub lock_only_if_exists: bool,
    /// Fair locking: one key, with a result per key. A newer version is a conflict as in the normal mode;
    /// TiKV would lock the key despite it.
    pub by_key: bool,
}

impl TryFrom<kvrpcpb::PessimisticLockRequest> for AcquirePessimisticLock {
    type Error = Error;

    /// Fails if a mutation is not a pessimistic lock.
    fn try_from(req: kvrpcpb::PessimisticLockRequest) -> Result<Self> {
        let key = |m: &kvrpcpb::Mutation| match m.op() {
            Op::PessimisticLock => Ok((Key::from_raw(&m.key), m.assertion() == Assertion::NotExist)),
            other => {
                let what = format!(
                    "expected PessimisticLock mutations in a pessimistic lock request, found {other:?}"
                );
                Err(Error::from(ErrorInner::InvalidRequest(txn_types::Error::InvalidOperation(what))))
            }
        };
        let by_key = req.wake_up_mode() == PessimisticLockWakeUpMode::WakeUpModeForceLock;
        if by_key && req.mutations.len() > 1 {
            // TiKV's error text.
            let what = "multiple keys in a single request with allowed_lock_with_conflict set is not allowed";
            return Err(ErrorInner::InvalidRequest(txn_types::Error::InvalidOperation(what.into())).into());
        }
        Ok(Self {
            by_key,
            keys: req.mutations.iter().map(key).collect::<Result<_>>()?,
            ctx: req.context.unwrap_or_default(),
            primary: req.primary_lock,
            start_ts: req.start_version.into(),
            lock_ttl: req.lock_ttl,
            for_update_ts: req.for_update_ts.into(),
            min_commit_ts: req.min_commit_ts.into(),
            return_values: req.return_values,
            check_existence: req.check_existence,
            lock_only_if_exists: req.lock_only_if_exists,
        })
    }
}

fn is_of_the_key(e: &mvcc::ErrorInner) -> bool {
    matches!(e, mvcc::ErrorInner::KeyIsLocked(_) | mvcc::ErrorInner::WriteConflict { .. })
}

command_ext!(
    AcquirePessimisticLock, "acquire_pessimistic_lock", ctx: |cmd| &cmd.ctx, ts: |cmd| cmd.start_ts,
    keys: |cmd| cmd.keys.iter().map(|(key, _)| key).collect()
);

impl WriteCommand for AcquirePessimisticLock {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let mut txn = context.txn(self.start_ts);
        let props = PessimisticLockProperties {
            primary: &self.primary,
            lock_ttl: self.lock_ttl,
            for_update_ts: self.for_update_ts,
            need_value: self.return_values,
            need_check_existence: self.check_existence,
            min_commit_ts: self.min_commit_ts,
            lock_only_if_exists: self.lock_only_if_exists,
        };
        let by_key = self.by_key;
        let results = context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            let lock = |(key, absent)| match acquire_pessimistic_lock(&mut txn, reader, key, absent, &props) {
                // Errors of the key; the errors of the region belong to the request.
                Err(e) if by_key && is_of_the_key(&e.0) => Ok(PessimisticLockKeyResult::Failed(e.into())),
                locked => Ok(locked?),
            };
            self.keys.into_iter().map(lock).collect::<Result<Vec<_>>>()
        })?;
        let res = PessimisticLockResults(results);
        Ok(WriteResult::new(txn, ProcessResult::PessimisticLockRes { res }))
    }
}
