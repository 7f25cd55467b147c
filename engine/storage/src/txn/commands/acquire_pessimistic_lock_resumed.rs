//! AcquirePessimisticLockResumed: continues a request of fair locking whose lock was released.
use std::sync::Arc;

use tikv_kv::Snapshot;
use txn_types::LockInfoExt;

use super::{
    AfterWrite, WriteCommand, WriteContext, WriteResult, WriteResultLockInfo,
    acquire_pessimistic_lock::{Blocking, blocking, failed, key_is_locked},
    command_ext,
};
use crate::{
    errors::{Result, extract_region_error_from_error},
    lock_manager::{
        LockWaitToken,
        lock_waiting_queue::{LockWaitContextSharedState, LockWaitEntry},
    },
    txn::actions::acquire_pessimistic_lock::acquire_pessimistic_lock,
    types::{KeyToLock, PessimisticLockParameters, PessimisticLockResults, ProcessResult},
};

/// TiKV: `commands/acquire_pessimistic_lock_resumed.rs`. TiKV continues the requests of all keys that a command
/// releases together; here each request is a command of its own, so that each has its own stages.
#[derive(Clone, Debug)]
pub struct AcquirePessimisticLockResumed {
    /// The key to lock. Also continues a shared request, for which TiKV would take an exclusive lock.
    pub wanted: KeyToLock,
    /// Parameters of the request.
    pub parameters: PessimisticLockParameters,
    /// Identifies the request.
    pub lock_wait_token: LockWaitToken,
    /// Shared with the handle that may end the wait.
    pub req_states: Arc<LockWaitContextSharedState>,
}

impl AcquirePessimisticLockResumed {
    /// Creates the command that continues the request. TiKV: `from_lock_wait_entries`.
    pub fn from_lock_wait_entry(entry: &LockWaitEntry) -> Self {
        Self {
            wanted: entry.wanted.clone(),
            parameters: entry.parameters.clone(),
            lock_wait_token: entry.lock_wait_token,
            req_states: entry.req_states.clone(),
        }
    }
}

command_ext!(
    AcquirePessimisticLockResumed, "acquire_pessimistic_lock_resumed", ctx: |cmd| &cmd.parameters.pb_ctx,
    ts: |cmd| cmd.parameters.start_ts, keys: |cmd| vec![&cmd.wanted.key]
);

impl WriteCommand for AcquirePessimisticLockResumed {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let Self { wanted, parameters, lock_wait_token, req_states } = self;
        let (start_ts, ctx) = (parameters.start_ts, parameters.pb_ctx.clone());
        let mut txn = context.txn(start_ts);
        let result = context.read(start_ts, snapshot, &ctx, |reader| {
            Ok(acquire_pessimistic_lock(&mut txn, reader, wanted.clone(), &parameters))
        })?;
        let e = match result {
            Ok(result) => {
                let res = PessimisticLockResults(vec![result]);
                return Ok(WriteResult::new(txn, ProcessResult::PessimisticLockRes { res }));
            }
            Err(e) => e,
        };
        txn.clear();
        let lock = match blocking(e) {
            Ok(Blocking::Lock(lock)) => lock,
            Ok(Blocking::Growing(shared)) => shared.into_lock_info(wanted.key.to_raw()?),
            // An error of the key. One of the region is an error of the request.
            Err(e) if extract_region_error_from_error(&e).is_none() => {
                return Ok(WriteResult::new(txn, failed(e)));
            }
            Err(e) => return Err(e),
        };
        // As in TiKV, the client retries. Only its request forbids others to join the locks.
        if lock.is_shared_lock() {
            return Ok(WriteResult::new(txn, failed(key_is_locked(lock))));
        }
        let resumed = Some((lock_wait_token, req_states));
        let wait = WriteResultLockInfo::new(wanted, lock, parameters, resumed)?;
        Ok(WriteResult::new(txn, AfterWrite::WaitForLock(Box::new(wait))))
    }
}
