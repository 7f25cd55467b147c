//! Commits one key of a transaction.
use tikv_kv::Snapshot;
use txn_types::{Key, SharedLocks, TimeStamp, Write, WriteType};

use super::common::{LockState, load_lock_state, put_or_release};
use crate::mvcc::{ErrorInner, MvccTxn, Result, SnapshotReader, TxnCommitRecord, facts};

/// Commits `key` at `commit_ts`; does nothing if it is already committed.
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
) -> Result<()> {
    let found = match load_lock_state(txn, reader, &key)? {
        LockState::Own(lock) => Some((lock, None)),
        LockState::Shared(mut shared) => shared.remove_lock(reader.start_ts).map(|lock| (lock, Some(shared))),
        LockState::Other(_) | LockState::None => None,
    };
    let Some((lock, others)) = found else { return handle_lock_not_found(reader, key, commit_ts) };
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
        let (key, min_commit_ts) = (key.into_raw()?, lock.min_commit_ts);
        return Err(ErrorInner::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts }.into());
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
) -> Result<()> {
    match reader.get_txn_commit_record(&key)? {
        TxnCommitRecord::SingleRecord { write, .. } if write.write_type != WriteType::Rollback => Ok(()),
        _ => {
            let (start_ts, key) = (reader.start_ts, key.into_raw()?);
            Err(ErrorInner::TxnLockNotFound { start_ts, commit_ts, key }.into())
        }
    }
}
