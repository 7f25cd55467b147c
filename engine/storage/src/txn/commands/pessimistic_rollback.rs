//! PessimisticRollback: gives pessimistic locks back; the transaction goes on.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, LockOrSharedLocks, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext, encode_keys};
use crate::{errors::Result, types::ProcessResult};

/// TiKV: `commands/pessimistic_rollback.rs`.
#[derive(Clone, Debug)]
pub struct PessimisticRollback {
    pub ctx: Context,
    pub keys: Vec<Key>,
    pub start_ts: TimeStamp,
    /// Locks with a later one were taken by a later statement, and stay.
    pub for_update_ts: TimeStamp,
}

impl From<kvrpcpb::PessimisticRollbackRequest> for PessimisticRollback {
    fn from(req: kvrpcpb::PessimisticRollbackRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            keys: encode_keys(req.keys),
            start_ts: req.start_version.into(),
            for_update_ts: req.for_update_ts.into(),
        }
    }
}

command_ext!(
    PessimisticRollback, "pessimistic_rollback", ts: start_ts, keys: keys,
    fn need_flow_control(&self) -> bool {
        false
    }
);

impl WriteCommand for PessimisticRollback {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let mut txn = context.txn(self.start_ts);
        let ours = |lock: &LockOrSharedLocks| match lock {
            LockOrSharedLocks::Lock(lock) => {
                lock.is_pessimistic_lock()
                    && lock.ts == self.start_ts
                    && lock.for_update_ts <= self.for_update_ts
            }
            LockOrSharedLocks::Shared(_) => false,
        };
        context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            for key in self.keys {
                if reader.load_lock(&key)?.is_some_and(|lock| ours(&lock)) {
                    txn.unlock_key(key, true, TimeStamp::zero());
                }
            }
            Ok(())
        })?;
        Ok(WriteResult::new(txn, ProcessResult::MultiRes { results: Vec::new() }))
    }
}
