//! Helpers of several actions.
use tikv_kv::Snapshot;
use txn_types::{Key, LastChange, Lock, LockOrSharedLocks, SharedLocks, TimeStamp, Write, WriteType};

use crate::mvcc::{MvccReader, MvccTxn, Result, SnapshotReader, TxnCommitRecord};

/// Lock of a key, seen from the current transaction.
pub enum LockState {
    /// No lock.
    None,
    /// The transaction's own lock.
    Own(Lock),
    /// Lock of another transaction.
    Other(Lock),
    /// Locks that transactions share, with or without the current one.
    Shared(SharedLocks),
}

impl LockState {
    /// Returns the lock of another transaction, if there is exactly one.
    pub fn other(self) -> Option<Lock> {
        match self {
            LockState::Other(lock) => Some(lock),
            _ => None,
        }
    }
}

/// Returns the lock of `key`, including changes of the current command.
pub fn load_lock_state<S: Snapshot>(
    txn: &MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
) -> Result<LockState> {
    let lock = match txn.get_pending_lock(key)? {
        Some(pending) => pending,
        None => reader.load_lock(key)?,
    };
    match lock {
        None => Ok(LockState::None),
        Some(LockOrSharedLocks::Lock(lock)) if lock.ts == reader.start_ts => Ok(LockState::Own(lock)),
        Some(LockOrSharedLocks::Lock(lock)) => Ok(LockState::Other(lock)),
        Some(LockOrSharedLocks::Shared(shared)) => Ok(LockState::Shared(shared)),
    }
}

/// Returns the commit_ts if the transaction is already committed on `key`; nothing is left to write then.
///
/// TiKV: `check_committed_record_on_err`.
pub fn check_committed_record_on_err<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
) -> Result<Option<TimeStamp>> {
    match reader.get_txn_commit_record(key)? {
        TxnCommitRecord::SingleRecord { commit_ts, write } if write.write_type != WriteType::Rollback => {
            txn.clear();
            Ok(Some(commit_ts))
        }
        _ => Ok(None),
    }
}

/// Writes shared locks after the removal of one, or releases the key if none is left. Only the release wakes requests
/// that wait for the key.
pub fn put_or_release(txn: &mut MvccTxn, key: Key, shared: &SharedLocks, commit_ts: TimeStamp) {
    match shared.is_empty() {
        true => txn.unlock_key(key, true, commit_ts),
        false => txn.put_shared_locks(key, shared),
    }
}

/// Returns the position of the last PUT or DELETE, for a record right above `write`.
pub fn next_last_change_info<S: Snapshot>(
    key: &Key,
    write: &Write,
    commit_ts: TimeStamp,
    reader: &mut SnapshotReader<S>,
) -> Result<LastChange> {
    if let WriteType::Put | WriteType::Delete = write.write_type {
        return Ok(LastChange::make_exist(commit_ts, 1));
    }
    match write.last_change {
        LastChange::NotExist => Ok(LastChange::NotExist),
        LastChange::Exist { last_change_ts, estimated_versions_to_last_change: versions } => {
            Ok(LastChange::make_exist(last_change_ts, versions + 1))
        }
        LastChange::Unknown => {
            // A separate reader, to count only the steps of this search.
            let mut counting = MvccReader::new(reader.reader.snapshot().clone(), None, true);
            let found = counting.get_write_with_commit_ts(key, commit_ts, Some(reader.start_ts));
            let steps = counting.statistics.write.next as u64;
            reader.reader.statistics.add(&counting.statistics);
            Ok(match found? {
                None => LastChange::NotExist,
                Some((_, last_change_ts)) => LastChange::make_exist(last_change_ts, steps + 1),
            })
        }
    }
}
