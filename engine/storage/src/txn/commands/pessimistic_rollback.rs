//! PessimisticRollback: releases pessimistic locks; the transaction continues.
//!
//! Mirrors `commands/pessimistic_rollback.rs` and `pessimistic_rollback_read_phase.rs`.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, LockOrSharedLocks, TimeStamp};

use super::{
    AfterWrite, Command, TypedCommand, WriteCommand, WriteContext, WriteResult, command_ext, encode_keys,
    resolve_lock::RESOLVE_LOCK_BATCH_SIZE,
};
use crate::{
    errors::Result,
    mvcc::{MvccReader, ScanMode},
    txn::actions::common::put_or_release,
    types::ProcessResult,
};

/// Creates the request's command: without keys it releases all locks of the transaction in the region.
pub fn typed_pessimistic_rollback(req: kvrpcpb::PessimisticRollbackRequest) -> TypedCommand<Vec<Result<()>>> {
    let ctx = req.context.unwrap_or_default();
    let (start_ts, for_update_ts) = (req.start_version.into(), req.for_update_ts.into());
    if req.keys.is_empty() {
        return PessimisticRollbackReadPhase { ctx, start_ts, for_update_ts, scan_key: None }.into();
    }
    PessimisticRollback { ctx, keys: encode_keys(req.keys), start_ts, for_update_ts, scan_key: None }.into()
}

/// Whether to release the lock. A later statement took a lock with a later for_update_ts, which stays.
fn must_release(lock: &Lock, start_ts: TimeStamp, for_update_ts: TimeStamp) -> bool {
    lock.is_pessimistic_lock() && lock.ts == start_ts && lock.for_update_ts <= for_update_ts
}

/// Releases the locks of these keys.
#[derive(Clone, Debug)]
pub struct PessimisticRollback {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded keys.
    pub keys: Vec<Key>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
    /// Key to continue the search from; `None`: no more locks.
    pub scan_key: Option<Key>,
}

command_ext!(
    PessimisticRollback, "pessimistic_rollback", ts: start_ts, keys: keys
);

impl WriteCommand for PessimisticRollback {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let (start_ts, for_update_ts) = (self.start_ts, self.for_update_ts);
        let mut txn = context.txn(start_ts);
        context.read(start_ts, snapshot, &self.ctx, |reader| {
            for key in self.keys {
                match reader.load_lock(&key)? {
                    Some(LockOrSharedLocks::Lock(lock)) if must_release(&lock, start_ts, for_update_ts) => {
                        txn.unlock_key(key, true, TimeStamp::zero());
                    }
                    Some(LockOrSharedLocks::Shared(mut shared)) => {
                        let own = shared.get_lock(start_ts);
                        if own.is_some_and(|lock| must_release(lock, start_ts, for_update_ts)) {
                            shared.remove_lock(start_ts);
                            put_or_release(&mut txn, key, &shared, TimeStamp::zero());
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        let after = match self.scan_key {
            None => ProcessResult::MultiRes { results: Vec::new() }.into(),
            scan_key => {
                let next = PessimisticRollbackReadPhase { ctx: self.ctx, start_ts, for_update_ts, scan_key };
                AfterWrite::Run(Box::new(Command::PessimisticRollbackReadPhase(next)))
            }
        };
        Ok(WriteResult::new(txn, after))
    }
}

/// Finds the transaction's pessimistic locks; needs no latches.
#[derive(Clone, Debug)]
pub struct PessimisticRollbackReadPhase {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
    /// Key to continue from.
    pub scan_key: Option<Key>,
}

command_ext!(
    PessimisticRollbackReadPhase, "pessimistic_rollback", ctx: |cmd| &cmd.ctx, ts: |cmd| cmd.start_ts,
    keys: |_| Vec::new(),
    fn readonly(&self) -> bool {
        true
    }
);

impl WriteCommand for PessimisticRollbackReadPhase {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let (start_ts, for_update_ts) = (self.start_ts, self.for_update_ts);
        let txn = context.txn(start_ts);
        let fill_cache = !self.ctx.not_fill_cache;
        let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), fill_cache);
        let wanted = |lock: &Lock| must_release(lock, start_ts, for_update_ts);
        let found = reader.scan_locks(self.scan_key.as_ref(), None, wanted, RESOLVE_LOCK_BATCH_SIZE);
        context.statistics.add(&reader.statistics);
        let (locks, has_remain) = found?;
        let keys: Vec<Key> = locks.into_iter().map(|(key, _)| key).collect();
        let after = match keys.last().cloned() {
            None => ProcessResult::MultiRes { results: Vec::new() }.into(),
            Some(last) => {
                let scan_key = has_remain.then_some(last);
                let next = PessimisticRollback { ctx: self.ctx, keys, start_ts, for_update_ts, scan_key };
                AfterWrite::Run(Box::new(Command::PessimisticRollback(next)))
            }
        };
        Ok(WriteResult::new(txn, after))
    }
}
