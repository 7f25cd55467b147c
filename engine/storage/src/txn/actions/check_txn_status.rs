//! Determines the status of a transaction, and rolls back transactions that will not be committed.
//!
//! Mirrors `src/storage/txn/actions/check_txn_status.rs`.
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, LockType, SharedLocks, TimeStamp, Write, WriteType};

use super::common::put_or_release;
use crate::{
    mvcc::{ErrorInner, MvccTxn, OverlappedWrite, Result, SnapshotReader, TxnCommitRecord, facts},
    types::TxnStatus,
};

/// Parameters of a CheckTxnStatus request.
#[derive(Clone, Copy, Debug)]
pub struct StatusQuery {
    /// Timestamp for the check whether the lock's TTL has expired.
    pub current_ts: TimeStamp,
    /// start_ts of the transaction that found the lock; zero for none.
    pub caller_start_ts: TimeStamp,
    /// Treat an async-commit lock as a plain one.
    pub force_sync_commit: bool,
    /// Whether the client resolves a pessimistic lock, which needs no rollback record.
    pub resolving_pessimistic_lock: bool,
    /// Whether a lock of another primary is an error.
    pub verify_is_primary: bool,
    /// Whether to roll back a transaction that is not found; otherwise that is an error.
    pub rollback_if_not_exist: bool,
}

/// Whether a lock's TTL has expired.
fn is_expired(lock: &Lock, current_ts: TimeStamp) -> bool {
    lock.ts.physical().saturating_add(lock.ttl) < current_ts.physical()
}

/// Handles a locked primary: checks its TTL, and pushes its min_commit_ts above the caller.
pub fn check_txn_status_lock_exists<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    primary_key: Key,
    mut lock: Lock,
    query: StatusQuery,
) -> Result<TxnStatus> {
    let expired = is_expired(&lock, query.current_ts);
    tracepoints::step_inside!(
        STATUS_CHECK_LOCK,
        txn.req,
        facts::ttl_check(&primary_key, &lock, query.current_ts, expired)
            .ts_unless_zero("caller_start_ts", query.caller_start_ts.into_inner()),
        start_ts = lock.ts.into_inner(),
        current_ts = query.current_ts.into_inner(),
        lock_ttl = lock.ttl,
        expired = expired,
    );
    if query.verify_is_primary && !primary_key.is_encoded_from(&lock.primary) {
        return check_mismatching_primary(txn, reader, primary_key, lock, query);
    }
    if lock.use_async_commit && !query.force_sync_commit {
        // Only the locks of all keys together determine whether the transaction is committed.
        return Ok(TxnStatus::Uncommitted { lock, min_commit_ts_pushed: false });
    }
    if lock.is_pessimistic_lock() {
        if let Some(status) = check_pessimistic_primary(txn, reader, primary_key.clone(), &lock, query)? {
            return Ok(status);
        }
    } else if expired {
        let is_pessimistic_txn = lock.is_pessimistic_txn();
        rollback_lock(txn, reader, primary_key, &lock, is_pessimistic_txn, true)?;
        return Ok(TxnStatus::TtlExpire);
    }
    let caller = query.caller_start_ts;
    if !lock.min_commit_ts.is_zero() && !caller.is_max() && caller >= lock.min_commit_ts {
        lock.min_commit_ts = caller.next().max(query.current_ts);
        txn.put_lock(primary_key, &lock);
    }
    let pushed = caller.is_max() || (!caller.is_zero() && lock.min_commit_ts > caller);
    Ok(TxnStatus::Uncommitted { lock, min_commit_ts_pushed: pushed })
}

/// Handles a key that is not the primary named in its lock.
fn check_mismatching_primary<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    primary_key: Key,
    lock: Lock,
    query: StatusQuery,
) -> Result<TxnStatus> {
    if query.resolving_pessimistic_lock || !lock.is_pessimistic_lock() {
        let info = lock.into_lock_info(primary_key.into_raw()?);
        return Err(ErrorInner::PrimaryMismatch(Box::new(info)).into());
    }
    // A pessimistic lock of a retried statement, whose primary has changed since: the lock is stale.
    let action = MissingLockAction::rollback(query.rollback_if_not_exist);
    let status = check_txn_status_missing_lock(txn, reader, primary_key.clone(), None, action, false)?;
    txn.unlock_key(primary_key, true, TimeStamp::zero());
    Ok(status)
}

/// Returns the status of the transaction if the pessimistic lock was removed.
fn check_pessimistic_primary<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    primary_key: Key,
    lock: &Lock,
    query: StatusQuery,
) -> Result<Option<TxnStatus>> {
    if lock.is_pessimistic_lock_with_conflict()
        && let Some(status) = check_determined_txn_status(reader, &primary_key)?
    {
        // A late retry acquired the lock again after the transaction had ended.
        txn.unlock_key(primary_key, true, TimeStamp::zero());
        return Ok(Some(status));
    }
    if !is_expired(lock, query.current_ts) {
        return Ok(None);
    }
    if query.resolving_pessimistic_lock {
        txn.unlock_key(primary_key, true, TimeStamp::zero());
        return Ok(Some(TxnStatus::PessimisticRollBack));
    }
    rollback_lock(txn, reader, primary_key, lock, true, true)?;
    Ok(Some(TxnStatus::TtlExpire))
}

/// Returns the status according to the transaction's record; `None` without a record.
fn check_determined_txn_status<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: &Key,
) -> Result<Option<TxnStatus>> {
    Ok(match reader.get_txn_commit_record(key)? {
        TxnCommitRecord::SingleRecord { write, .. } if write.write_type == WriteType::Rollback => {
            Some(TxnStatus::RolledBack)
        }
        TxnCommitRecord::SingleRecord { commit_ts, .. } => Some(TxnStatus::Committed { commit_ts }),
        TxnCommitRecord::OverlappedRollback { .. } => Some(TxnStatus::RolledBack),
        TxnCommitRecord::None { .. } => None,
    })
}

/// Handles a key that the transaction has not locked: returns the status from its record, or takes `action`.
/// `mismatch_lock` is the lock of another transaction on the key.
pub fn check_txn_status_missing_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    primary_key: Key,
    mismatch_lock: Option<Lock>,
    action: MissingLockAction,
    resolving_pessimistic_lock: bool,
) -> Result<TxnStatus> {
    let overlapped_write = match reader.get_txn_commit_record(&primary_key)? {
        TxnCommitRecord::SingleRecord { write, .. } if write.write_type == WriteType::Rollback => {
            return Ok(TxnStatus::RolledBack);
        }
        TxnCommitRecord::SingleRecord { commit_ts, .. } => return Ok(TxnStatus::Committed { commit_ts }),
        TxnCommitRecord::OverlappedRollback { .. } => return Ok(TxnStatus::RolledBack),
        TxnCommitRecord::None { overlapped_write } => overlapped_write,
    };
    let protected = match action {
        MissingLockAction::ReturnError => {
            let (start_ts, key) = (reader.start_ts, primary_key.into_raw()?);
            return Err(ErrorInner::TxnNotFound { start_ts, key }.into());
        }
        MissingLockAction::Rollback => false,
        MissingLockAction::ProtectedRollback => true,
    };
    if resolving_pessimistic_lock {
        return Ok(TxnStatus::LockNotExistDoNothing);
    }
    if !protected {
        collapse_prev_rollback(txn, reader, &primary_key)?;
    }
    if let (Some(lock), None) = (mismatch_lock, &overlapped_write) {
        txn.mark_rollback_on_mismatching_lock(&primary_key, lock, protected);
    }
    if let Some(write) = make_rollback(reader.start_ts, protected, overlapped_write) {
        txn.put_write(primary_key, reader.start_ts, &write);
    }
    Ok(TxnStatus::LockNotExist)
}

/// Rolls back one key that the transaction has locked.
pub fn rollback_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    lock: &Lock,
    is_pessimistic_txn: bool,
    collapse_rollback: bool,
) -> Result<()> {
    leave_rollback(txn, reader, &key, lock, collapse_rollback)?;
    txn.unlock_key(key, is_pessimistic_txn, TimeStamp::zero());
    Ok(())
}

/// Rolls back the part of the reader's transaction in shared locks, and removes it from `shared`.
pub fn rollback_shared_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    shared: &mut SharedLocks,
    collapse_rollback: bool,
) -> Result<()> {
    let Some(lock) = shared.remove_lock(reader.start_ts) else { return Ok(()) };
    leave_rollback(txn, reader, &key, &lock, collapse_rollback)?;
    put_or_release(txn, key, shared, TimeStamp::zero());
    Ok(())
}

/// Writes the rollback record of a lock that is about to be removed, unless there is one.
fn leave_rollback<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
    lock: &Lock,
    collapse_rollback: bool,
) -> Result<()> {
    let overlapped_write = match reader.get_txn_commit_record(key)? {
        TxnCommitRecord::None { overlapped_write } => overlapped_write,
        TxnCommitRecord::SingleRecord { write, commit_ts } if write.write_type != WriteType::Rollback => {
            return Err(ErrorInner::Other(format!(
                "key {key} is locked by transaction {}, which is committed there at {commit_ts}",
                lock.ts
            ))
            .into());
        }
        _ => return Ok(()),
    };
    if lock.short_value.is_none() && lock.lock_type == LockType::Put {
        txn.delete_value(key.clone(), lock.ts);
    }
    // Other clients learn of the rollback from the primary's record: protect it from being overwritten.
    let protected = key.is_encoded_from(&lock.primary) || lock.generation > 0;
    if let Some(write) = make_rollback(reader.start_ts, protected, overlapped_write) {
        txn.put_write(key.clone(), reader.start_ts, &write);
    }
    if collapse_rollback {
        collapse_prev_rollback(txn, reader, key)?;
    }
    Ok(())
}

/// Removes the previous rollback record if it is unprotected: the newer record replaces it.
pub fn collapse_prev_rollback<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
) -> Result<()> {
    if let Some((commit_ts, write)) = reader.seek_write(key, reader.start_ts)?
        && write.write_type == WriteType::Rollback
        && !write.as_ref().is_protected()
    {
        txn.delete_write(key.clone(), commit_ts);
    }
    Ok(())
}

/// Creates the record of a rollback. A commit at the same timestamp is kept, and marked if the rollback is
/// protected; an unprotected rollback needs no record then.
pub fn make_rollback(
    start_ts: TimeStamp,
    protected: bool,
    overlapped_write: Option<OverlappedWrite>,
) -> Option<Write> {
    match overlapped_write {
        None => Some(Write::new_rollback(start_ts, protected)),
        Some(OverlappedWrite { write, gc_fence }) => {
            debug_assert!(start_ts > write.start_ts);
            protected.then(|| write.set_overlapped_rollback(true, Some(gc_fence)))
        }
    }
}

/// Action if neither a lock nor a record is found.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum MissingLockAction {
    /// Write a rollback record.
    Rollback,
    /// Write a rollback record that is never collapsed.
    ProtectedRollback,
    /// Return an error.
    ReturnError,
}

impl MissingLockAction {
    /// Returns the action for a rollback.
    pub fn rollback_protect(protect_rollback: bool) -> Self {
        if protect_rollback { Self::ProtectedRollback } else { Self::Rollback }
    }

    /// Returns the action for a status check.
    pub fn rollback(rollback_if_not_exist: bool) -> Self {
        if rollback_if_not_exist { Self::ProtectedRollback } else { Self::ReturnError }
    }
}
