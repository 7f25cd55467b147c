//! Commits one key of a transaction.
use kvproto::kvrpcpb::CommitRole;
use tikv_kv::Snapshot;
use txn_types::{Key, SharedLocks, TimeStamp, Write, WriteType};

use super::{
    common::{LockState, load_lock_state, put_or_release},
    mvcc::collect_mvcc_info_for_debug,
};
use crate::mvcc::{ErrorInner, MvccTxn, Result, SnapshotReader, TxnCommitRecord, facts};

/// Commits `key` at `commit_ts`; does nothing if it is already committed. The client's `commit_role` is the role of the
/// key: the errors of a key whose transaction must be committed by now have all records of the key.
///
/// TiKV: `actions/commit.rs`.
///
/// # Errors
/// `TxnLockNotFound` if the transaction was rolled back or never prewrote the key, `CommitTsExpired` if a
/// reader has pushed its min_commit_ts above `commit_ts`.
pub fn commit<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    commit_ts: TimeStamp,
    commit_role: CommitRole,
) -> Result<()> {
    let found = match load_lock_state(txn, reader, &key)? {
        LockState::Own(lock) => Some((lock, None)),
        LockState::Shared(mut shared) => shared.remove_lock(reader.start_ts).map(|lock| (lock, Some(shared))),
        LockState::Other(_) | LockState::None => None,
    };
    let Some((lock, others)) = found else {
        return handle_lock_not_found(reader, key, commit_ts, commit_role);
    };
    let start_ts = reader.start_ts;
    tracepoints::step_inside!(
        COMMIT_CHECK_LOCK,
        txn.req,
        facts::commit_check(&key, &lock, commit_ts),
        start_ts = start_ts.into_inner(),
        commit_ts = commit_ts.into_inner(),
        min_commit_ts = lock.min_commit_ts.into_inner(),
    );
    if commit_ts < lock.min_commit_ts {
        let min_commit_ts = lock.min_commit_ts;
        // A reader may raise the timestamp until the primary is committed, so that only secondaries are unexpected.
        let unexpected = !key.is_encoded_from(&lock.primary);
        let snapshot = || reader.reader.snapshot().clone();
        let mvcc_info = unexpected.then(|| collect_mvcc_info_for_debug(snapshot(), &key)).flatten();
        let key = key.into_raw()?;
        return Err(ErrorInner::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts, mvcc_info }.into());
    }
    let is_pessimistic_txn = lock.is_pessimistic_txn();
    let Some(write_type) = WriteType::from_lock_type(lock.lock_type) else {
        // Never prewritten: the client gave up the key, and the rollback of its lock got lost.
        log::warn!("rolling back a pessimistic lock at its commit: key {key}, start_ts {start_ts}");
        release(txn, key, others, is_pessimistic_txn, TimeStamp::zero());
        return Ok(());
    };
    let mut write = Write::new(write_type, start_ts, lock.short_value)
        .set_last_change(lock.last_change)
        .set_txn_source(lock.txn_source);
    if lock.rollback_ts.contains(&commit_ts) {
        write = write.set_overlapped_rollback(true, None);
    }
    txn.put_write(key.clone(), commit_ts, &write);
    release(txn, key, others, is_pessimistic_txn, commit_ts);
    Ok(())
}

/// Removes the transaction's lock. `others`: the rest of the shared locks, which other transactions keep.
fn release(
    txn: &mut MvccTxn,
    key: Key,
    others: Option<SharedLocks>,
    is_pessimistic_txn: bool,
    commit_ts: TimeStamp,
) {
    match others {
        Some(others) => put_or_release(txn, key, &others, commit_ts),
        None => txn.unlock_key(key, is_pessimistic_txn, commit_ts),
    }
}

/// Succeeds if the transaction is already committed: the client repeats its request.
fn handle_lock_not_found<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: Key,
    commit_ts: TimeStamp,
    commit_role: CommitRole,
) -> Result<()> {
    match reader.get_txn_commit_record(&key)? {
        TxnCommitRecord::SingleRecord { write, .. } if write.write_type != WriteType::Rollback => Ok(()),
        _ => {
            // The primary is committed before a secondary, so that the lock of a secondary cannot be rolled back.
            let unexpected = commit_role == CommitRole::Secondary;
            let snapshot = || reader.reader.snapshot().clone();
            let mvcc_info = unexpected.then(|| collect_mvcc_info_for_debug(snapshot(), &key)).flatten();
            let (start_ts, key) = (reader.start_ts, key.into_raw()?);
            Err(ErrorInner::TxnLockNotFound { start_ts, commit_ts, key, mvcc_info }.into())
        }
    }
}
