//! ResolveLock: commits or rolls back the locks of transactions with a known outcome.
//!
//! Mirrors `commands/resolve_lock.rs`, `resolve_lock_readphase.rs` and `resolve_lock_lite.rs`.
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use kvproto::kvrpcpb::{self, CommitRole, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, LockOrSharedLocks, TimeStamp};

use super::{
    AfterWrite, Command, TypedCommand, WriteCommand, WriteContext, WriteResult, command_ext, encode_keys,
    invalid_request,
};
use crate::{
    errors::{ErrorInner, Result},
    mvcc::{self, MAX_TXN_WRITE_SIZE, MvccReader, MvccTxn, ScanMode, SnapshotReader, facts},
    txn::actions::{cleanup::cleanup, commit::commit},
    types::ProcessResult,
};

/// Maximum number of locks found in one read phase.
pub const RESOLVE_LOCK_BATCH_SIZE: usize = 256;

/// Maps start_ts to commit_ts; zero: rolled back.
pub type TxnStatusMap = Arc<HashMap<TimeStamp, TimeStamp>>;

/// Creates the request's command: resolves the given keys at once, or else searches for locks.
pub fn typed_resolve_lock(req: kvrpcpb::ResolveLockRequest) -> TypedCommand<()> {
    let ctx = req.context.unwrap_or_default();
    let (start_ts, commit_ts) = (req.start_version.into(), req.commit_version.into());
    if !req.keys.is_empty() {
        let resolve_keys = encode_keys(req.keys);
        return ResolveLockLite { ctx, start_ts, commit_ts, resolve_keys }.into();
    }
    let mut txn_status: HashMap<_, _> =
        req.txn_infos.iter().map(|info| (info.txn.into(), info.status.into())).collect();
    if !start_ts.is_zero() {
        txn_status.insert(start_ts, commit_ts);
    }
    ResolveLockReadPhase { ctx, txn_status: Arc::new(txn_status), scan_key: None }.into()
}

/// Commits or rolls back the lock of one transaction on one key.
fn resolve_one<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    start_ts: TimeStamp,
    commit_ts: TimeStamp,
) -> Result<()> {
    (txn.start_ts, reader.start_ts) = (start_ts, start_ts);
    tracepoints::step_inside!(
        RESOLVE_LOCK_KEY,
        txn.req,
        facts::change("Resolve the lock", &key)
            .ts("start_ts", start_ts.into_inner())
            .ts_unless_zero("commit_ts", commit_ts.into_inner())
            .outcome(if commit_ts.is_zero() { "roll back" } else { "commit" }),
        start_ts = start_ts.into_inner(),
        commit_ts = commit_ts.into_inner(),
    );
    if commit_ts.is_zero() {
        cleanup(txn, reader, key, TimeStamp::zero(), false)?;
    } else if commit_ts > start_ts {
        commit(txn, reader, key, commit_ts, CommitRole::Unknown)?;
    } else {
        return Err(ErrorInner::InvalidTxnTso { start_ts, commit_ts }.into());
    }
    Ok(())
}

/// Resolves given keys of one transaction.
#[derive(Clone, Debug)]
pub struct ResolveLockLite {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Commit timestamp of the transaction; zero: rolled back.
    pub commit_ts: TimeStamp,
    /// Encoded keys of the transaction.
    pub resolve_keys: Vec<Key>,
}

command_ext!(
    ResolveLockLite, "resolve_lock_lite", ts: start_ts, keys: resolve_keys,
    fn is_sys_cmd(&self) -> bool {
        true
    }
);

impl WriteCommand for ResolveLockLite {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        if self.start_ts.is_zero() {
            // A rollback record of no transaction; TiKV ends its process.
            return Err(invalid_request("expected the start_version of the locks of `keys`, found 0".into()));
        }
        let mut txn = context.txn(self.start_ts);
        context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            for key in self.resolve_keys {
                resolve_one(&mut txn, reader, key, self.start_ts, self.commit_ts)?;
            }
            Ok(())
        })?;
        let committed = (!self.commit_ts.is_zero()).then_some((self.start_ts, self.commit_ts));
        Ok(WriteResult::new(txn, ProcessResult::Res).with_committed(committed))
    }
}

/// Finds locks of the transactions; needs no latches.
#[derive(Clone, Debug)]
pub struct ResolveLockReadPhase {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Outcome of each transaction.
    pub txn_status: TxnStatusMap,
    /// Key to continue from.
    pub scan_key: Option<Key>,
}

command_ext!(
    ResolveLockReadPhase, "resolve_lock", ctx: |cmd| &cmd.ctx, ts: |_| TimeStamp::zero(),
    keys: |_| Vec::new(),
    fn readonly(&self) -> bool {
        true
    }
);

impl WriteCommand for ResolveLockReadPhase {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let txn = context.txn(TimeStamp::zero());
        let fill_cache = !self.ctx.not_fill_cache;
        let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), fill_cache);
        let wanted = |lock: &Lock| self.txn_status.contains_key(&lock.ts);
        let found = reader.scan_locks(self.scan_key.as_ref(), None, wanted, RESOLVE_LOCK_BATCH_SIZE);
        context.statistics.add(&reader.statistics);
        let (locks, has_remain) = found?;
        let mut key_locks = Vec::with_capacity(locks.len());
        for (key, lock) in locks {
            match lock {
                LockOrSharedLocks::Lock(lock) => key_locks.push((key, lock)),
                LockOrSharedLocks::Shared(shared) => {
                    key_locks.extend(shared.iter().map(|lock| (key.clone(), lock.clone())));
                }
            }
        }
        let after = match key_locks.last() {
            None => ProcessResult::Res.into(),
            Some((last, _)) => {
                let scan_key = has_remain.then(|| last.clone());
                let (ctx, txn_status) = (self.ctx, self.txn_status);
                let cmd = ResolveLock { ctx, txn_status, scan_key, key_locks };
                AfterWrite::Run(Box::new(Command::ResolveLock(cmd)))
            }
        };
        Ok(WriteResult::new(txn, after))
    }
}

/// Resolves the locks found, then continues the search.
#[derive(Clone, Debug)]
pub struct ResolveLock {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Outcome of each transaction.
    pub txn_status: TxnStatusMap,
    /// Key to continue from; `None`: no more locks.
    pub scan_key: Option<Key>,
    /// Locks found, with their encoded keys.
    pub key_locks: Vec<(Key, Lock)>,
}

command_ext!(
    ResolveLock, "resolve_lock", ctx: |cmd| &cmd.ctx, ts: |_| TimeStamp::zero(),
    keys: |cmd| cmd.key_locks.iter().map(|(key, _)| key).collect(),
    fn is_sys_cmd(&self) -> bool {
        true
    }
);

impl WriteCommand for ResolveLock {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let mut txn = context.txn(TimeStamp::zero());
        let (txn_status, mut scan_key) = (self.txn_status, self.scan_key);
        let mut committed = BTreeSet::new();
        context.read(TimeStamp::zero(), snapshot, &self.ctx, |reader| {
            for (key, lock) in self.key_locks {
                let Some(commit_ts) = txn_status.get(&lock.ts).copied() else { continue };
                match resolve_one(&mut txn, reader, key.clone(), lock.ts, commit_ts) {
                    // The pessimistic lock was removed since it was found.
                    Err(e) if lock.is_pessimistic_lock() && is_lock_not_found(&e) => {}
                    Ok(()) if !commit_ts.is_zero() => drop(committed.insert((lock.ts, commit_ts))),
                    other => other?,
                }
                if txn.write_size() >= MAX_TXN_WRITE_SIZE {
                    scan_key = Some(key);
                    break;
                }
            }
            Ok(())
        })?;
        let after = match scan_key {
            None => ProcessResult::Res.into(),
            Some(key) => {
                let next = ResolveLockReadPhase { ctx: self.ctx, txn_status, scan_key: Some(key) };
                AfterWrite::Run(Box::new(Command::ResolveLockReadPhase(next)))
            }
        };
        Ok(WriteResult::new(txn, after).with_committed(committed))
    }
}

fn is_lock_not_found(e: &crate::errors::Error) -> bool {
    matches!(&*e.0, ErrorInner::Mvcc(e) if matches!(&*e.0, mvcc::ErrorInner::TxnLockNotFound { .. }))
}
