//! AcquirePessimisticLock: locks keys before they are written.
use kvproto::kvrpcpb::{self, Assertion, LockInfo, Op, PessimisticLockWakeUpMode};
use tikv_kv::Snapshot;
use txn_types::{Key, SharedLocks};

use super::{
    AfterWrite, WriteCommand, WriteContext, WriteResult, WriteResultLockInfo, command_ext, invalid_request,
    read_enum,
};
use crate::{
    errors::{Error, Result},
    mvcc,
    txn::actions::acquire_pessimistic_lock::acquire_pessimistic_lock,
    types::{
        KeyToLock, PessimisticLockKeyResult, PessimisticLockParameters, PessimisticLockResults,
        ProcessResult, WaitTimeout,
    },
};

/// TiKV: `commands/acquire_pessimistic_lock.rs`. Ignores `force`, which is deprecated in TiKV, too.
#[derive(Clone, Debug)]
pub struct AcquirePessimisticLock {
    /// The keys to lock.
    pub keys: Vec<KeyToLock>,
    /// The parameters that the keys share.
    pub parameters: PessimisticLockParameters,
}

impl TryFrom<kvrpcpb::PessimisticLockRequest> for AcquirePessimisticLock {
    type Error = Error;

    /// Fails if a mutation is not a pessimistic lock, or if a value of an enum is unknown.
    fn try_from(req: kvrpcpb::PessimisticLockRequest) -> Result<Self> {
        let key = |m: &kvrpcpb::Mutation| match m.op() {
            op @ (Op::PessimisticLock | Op::SharedPessimisticLock) => Ok(KeyToLock {
                key: Key::from_raw(&m.key),
                should_not_exist: read_enum::<Assertion>("assertion", m.assertion)? == Assertion::NotExist,
                shared: op == Op::SharedPessimisticLock,
            }),
            other => {
                let what = format!(
                    "expected PessimisticLock mutations in a pessimistic lock request, found {other:?}"
                );
                Err(invalid_request(what))
            }
        };
        let mode: PessimisticLockWakeUpMode = read_enum("wake_up_mode", req.wake_up_mode)?;
        let allow_lock_with_conflict = mode == PessimisticLockWakeUpMode::WakeUpModeForceLock;
        if allow_lock_with_conflict && req.mutations.len() > 1 {
            // TiKV's error text.
            let what = "multiple keys in a single request with allowed_lock_with_conflict set is not allowed";
            return Err(invalid_request(what.into()));
        }
        let keys = req.mutations.iter().map(key).collect::<Result<_>>()?;
        let parameters = PessimisticLockParameters {
            pb_ctx: req.context.unwrap_or_default(),
            primary: req.primary_lock,
            start_ts: req.start_version.into(),
            lock_ttl: req.lock_ttl,
            for_update_ts: req.for_update_ts.into(),
            wait_timeout: WaitTimeout::from_encoded(req.wait_timeout),
            return_values: req.return_values,
            min_commit_ts: req.min_commit_ts.into(),
            check_existence: req.check_existence,
            is_first_lock: req.is_first_lock,
            lock_only_if_exists: req.lock_only_if_exists,
            allow_lock_with_conflict,
        };
        Ok(Self { keys, parameters })
    }
}

command_ext!(
    AcquirePessimisticLock, "acquire_pessimistic_lock", ctx: |cmd| &cmd.parameters.pb_ctx,
    ts: |cmd| cmd.parameters.start_ts, keys: |cmd| cmd.keys.iter().map(|wanted| &wanted.key).collect()
);

impl WriteCommand for AcquirePessimisticLock {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let parameters = self.parameters;
        let (start_ts, ctx) = (parameters.start_ts, parameters.pb_ctx.clone());
        let mut txn = context.txn(start_ts);
        let mut results = Vec::with_capacity(self.keys.len());
        let blocked = context.read(start_ts, snapshot, &ctx, |reader| {
            for wanted in self.keys {
                match acquire_pessimistic_lock(&mut txn, reader, wanted.clone(), &parameters) {
                    Ok(result) => results.push(result),
                    Err(e) => return blocking(e).map(|lock| Some((wanted, lock))),
                }
            }
            Ok(None)
        })?;
        let Some((wanted, lock)) = blocked else {
            let res = PessimisticLockResults(results);
            return Ok(WriteResult::new(txn, ProcessResult::PessimisticLockRes { res }));
        };
        // Do not keep the locks of the keys before: the request is repeated as a whole.
        txn.clear();
        let lock = match lock {
            Blocking::Lock(lock) => lock,
            Blocking::Growing(mut shared) => {
                // Without further transactions, the key is free once the present ones end. The client retries, and
                // waits for that.
                shared.set_shrink_only();
                txn.put_shared_locks(wanted.key.clone(), &shared);
                let error = key_is_locked(shared.into_lock_info(wanted.key.into_raw()?));
                return Ok(WriteResult::new(txn, AfterWrite::Fail(Box::new(error))));
            }
        };
        if parameters.wait_timeout.is_some() {
            let wait = WriteResultLockInfo::new(wanted, lock, parameters, None)?;
            return Ok(WriteResult::new(txn, AfterWrite::WaitForLock(Box::new(wait))));
        }
        let error = key_is_locked(lock);
        match parameters.allow_lock_with_conflict {
            true => Ok(WriteResult::new(txn, failed(error))),
            false => Err(error),
        }
    }
}

/// A lock in the way of a request.
pub(super) enum Blocking {
    /// A lock of another transaction, or locks that no further transaction may join.
    Lock(LockInfo),
    /// Shared locks that further transactions may join: an exclusive request could wait forever.
    Growing(SharedLocks),
}

/// Returns the lock that the error names.
///
/// # Errors
/// Any other error.
pub(super) fn blocking(e: mvcc::Error) -> Result<Blocking> {
    match *e.0 {
        mvcc::ErrorInner::KeyIsLocked(lock) => Ok(Blocking::Lock(*lock)),
        mvcc::ErrorInner::NotInShrinkMode(shared) => Ok(Blocking::Growing(*shared)),
        other => Err(mvcc::Error::from(other).into()),
    }
}

/// Returns the error of a locked key.
pub(super) fn key_is_locked(lock: LockInfo) -> Error {
    mvcc::Error::from(mvcc::ErrorInner::KeyIsLocked(Box::new(lock))).into()
}

/// Returns the result of fair locking whose key is not locked.
pub(super) fn failed(error: Error) -> ProcessResult {
    let res = PessimisticLockResults(vec![PessimisticLockKeyResult::Failed(error)]);
    ProcessResult::PessimisticLockRes { res }
}
