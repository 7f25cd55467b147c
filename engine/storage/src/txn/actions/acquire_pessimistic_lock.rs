//! Acquires one pessimistic lock.
//!
//! Mirrors `src/storage/txn/actions/acquire_pessimistic_lock.rs`.
use kvproto::kvrpcpb::write_conflict::Reason;
use tikv_kv::Snapshot;
use txn_types::{
    Key, LastChange, Lock, LockOrSharedLocks, PessimisticLock, SharedLocks, TimeStamp, Value, Write,
    WriteConflict, WriteType,
};

use super::{check_data_constraint::check_data_constraint, common::next_last_change_info};
use crate::{
    mvcc::{Error, ErrorInner, MvccTxn, Result, SnapshotReader},
    types::{KeyToLock, PessimisticLockKeyResult, PessimisticLockParameters},
};

/// Locks `key`; succeeds if the transaction already has the lock.
///
/// # Errors
/// `KeyIsLocked`, `WriteConflict` (retry with a newer for_update_ts; a request with `allow_lock_with_conflict`
/// gets it only if the key need not be locked), `PessimisticLockRolledBack`, `AlreadyExist` if
/// `should_not_exist`, `NotInShrinkMode` if an exclusive request finds shared locks that others may still join.
pub fn acquire_pessimistic_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    wanted: KeyToLock,
    props: &PessimisticLockParameters,
) -> Result<PessimisticLockKeyResult> {
    let KeyToLock { key, should_not_exist, shared } = wanted;
    let start_ts = reader.start_ts;
    if props.lock_only_if_exists && !props.return_values {
        return Err(ErrorInner::LockIfExistsFailed { start_ts, key: key.into_raw()? }.into());
    }
    // Returning the value is a read at for_update_ts.
    if should_not_exist || props.return_values || props.check_existence {
        txn.concurrency_manager.update_max_ts(props.for_update_ts, "acquire_pessimistic_lock")?;
    }
    let joined = match reader.load_lock(&key)? {
        Some(LockOrSharedLocks::Lock(lock)) if !shared => {
            return handle_existing_lock(txn, reader, key, lock, should_not_exist, props);
        }
        Some(LockOrSharedLocks::Shared(locks)) if shared && locks.contains_start_ts(start_ts) => {
            return handle_existing_shared_lock(txn, key, locks, props);
        }
        Some(LockOrSharedLocks::Shared(locks)) if !locks.is_shrink_only() => match shared {
            true => Some(locks),
            false => return Err(ErrorInner::NotInShrinkMode(Box::new(locks)).into()),
        },
        Some(lock) => {
            let info = lock.into_lock_info(key.into_raw()?);
            return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
        }
        None => shared.then(SharedLocks::new),
    };
    let (mut value, mut last_change, mut conflict) = (None, LastChange::NotExist, None);
    if let Some((commit_ts, write)) = reader.seek_write(&key, TimeStamp::max())? {
        conflict = check_newest_write(reader, &key, &write, commit_ts, props)?;
        check_data_constraint(reader, should_not_exist, &write, commit_ts, &key)
            .map_err(|e| conflict_instead(e, conflict, reader.start_ts, &key, props))?;
        last_change = next_last_change_info(&key, &write, commit_ts, reader)?;
        // With a conflict, the client retries its statement, and needs the value for that.
        if props.return_values || props.check_existence || conflict.is_some() {
            value = load_value(reader, &key, commit_ts, props.return_values || conflict.is_some())?;
        }
    }
    let conflict_ts = conflict.map(|found| found.commit_ts);
    let for_update_ts = conflict_ts.unwrap_or(props.for_update_ts);
    let is_locked_with_conflict = conflict.is_some();
    let lock =
        PessimisticLock { is_locked_with_conflict, ..new_lock(start_ts, props, for_update_ts, last_change) };
    if let Some(mut locks) = joined {
        // As in TiKV, also if the key has no value and lock_only_if_exists is set.
        locks.insert_lock(lock.into_lock())?;
        txn.put_shared_locks(key, &locks);
    } else if !props.lock_only_if_exists || value.is_some() {
        txn.put_pessimistic_lock(key, lock);
    } else if let Some(found) = conflict {
        return Err(found.into_error(start_ts, &key, props));
    }
    Ok(key_result(props, conflict_ts, value))
}

/// A version newer than for_update_ts.
#[derive(Clone, Copy)]
struct ConflictInfo {
    start_ts: TimeStamp,
    commit_ts: TimeStamp,
}

impl ConflictInfo {
    fn into_error(self, start_ts: TimeStamp, key: &Key, props: &PessimisticLockParameters) -> Error {
        match key.to_raw() {
            Ok(key) => WriteConflict {
                start_ts,
                conflict_start_ts: self.start_ts,
                conflict_commit_ts: self.commit_ts,
                key,
                primary: props.primary.clone(),
                reason: Reason::PessimisticRetry,
            }
            .into(),
            Err(e) => e.into(),
        }
    }
}

/// An existing value that is newer than for_update_ts is a conflict: the client must retry its statement.
fn conflict_instead(
    e: Error,
    conflict: Option<ConflictInfo>,
    start_ts: TimeStamp,
    key: &Key,
    props: &PessimisticLockParameters,
) -> Error {
    match (&*e.0, conflict) {
        (ErrorInner::AlreadyExist { .. }, Some(found)) => found.into_error(start_ts, key, props),
        _ => e,
    }
}

/// Returns a version newer than for_update_ts if the request locks despite it; otherwise such a version is an
/// error. Also checks that this transaction is not rolled back here.
fn check_newest_write<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: &Key,
    write: &Write,
    commit_ts: TimeStamp,
    props: &PessimisticLockParameters,
) -> Result<Option<ConflictInfo>> {
    let start_ts = reader.start_ts;
    let newer = commit_ts > props.for_update_ts;
    let conflict = newer.then_some(ConflictInfo { start_ts: write.start_ts, commit_ts });
    if let Some(found) = conflict
        && !props.allow_lock_with_conflict
    {
        return Err(found.into_error(start_ts, key, props));
    }
    let is_rollback = |w: &Write| w.write_type == WriteType::Rollback || w.has_overlapped_rollback;
    let rolled_back = match commit_ts > start_ts {
        true => {
            reader.seek_write(key, start_ts)?.is_some_and(|(ts, older)| ts == start_ts && is_rollback(&older))
        }
        false => commit_ts == start_ts && is_rollback(write),
    };
    if rolled_back {
        return Err(ErrorInner::PessimisticLockRolledBack { start_ts, key: key.to_raw()? }.into());
    }
    Ok(conflict)
}

/// Returns the value at `ts`; without `return_values`, an empty value if one exists.
fn load_value<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: &Key,
    ts: TimeStamp,
    return_values: bool,
) -> Result<Option<Value>> {
    if return_values { reader.get(key, ts) } else { Ok(reader.get_write(key, ts)?.map(|_| Value::new())) }
}

/// Handles an existing lock: the transaction's own pessimistic lock, or an error.
fn handle_existing_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    lock: Lock,
    should_not_exist: bool,
    props: &PessimisticLockParameters,
) -> Result<PessimisticLockKeyResult> {
    let start_ts = reader.start_ts;
    if lock.ts != start_ts {
        return Err(ErrorInner::KeyIsLocked(Box::new(lock.into_lock_info(key.into_raw()?))).into());
    }
    if !lock.is_pessimistic_lock() {
        return Err(
            ErrorInner::LockTypeNotMatch { start_ts, key: key.into_raw()?, pessimistic: false }.into()
        );
    }
    // A repeated request of fair locking, whose lock was taken with a conflict.
    let with_conflict = props.allow_lock_with_conflict && props.for_update_ts < lock.for_update_ts;
    let conflict_ts = with_conflict.then_some(lock.for_update_ts);
    let read_ts = conflict_ts.unwrap_or(props.for_update_ts);
    let needs_value = props.return_values || with_conflict;
    let mut value = None;
    if (needs_value || props.check_existence || should_not_exist)
        && let Some((write, commit_ts)) = reader.get_write_with_commit_ts(&key, read_ts)?
    {
        let newer = commit_ts > props.for_update_ts;
        let found = newer.then_some(ConflictInfo { start_ts: write.start_ts, commit_ts });
        check_data_constraint(reader, should_not_exist, &write, commit_ts, &key)
            .map_err(|e| conflict_instead(e, found, start_ts, &key, props))?;
        value = Some(if needs_value { reader.load_data(&key, write)? } else { Value::new() });
    }
    if read_ts > lock.for_update_ts {
        let is_locked_with_conflict = lock.is_pessimistic_lock_with_conflict();
        let new = PessimisticLock {
            is_locked_with_conflict,
            ..new_lock(start_ts, props, read_ts, lock.last_change)
        };
        txn.put_pessimistic_lock(key, new);
    }
    Ok(key_result(props, conflict_ts, value))
}

/// Handles a request of a transaction that shares the lock already. As in TiKV, it returns no value.
fn handle_existing_shared_lock(
    txn: &mut MvccTxn,
    key: Key,
    mut shared: SharedLocks,
    props: &PessimisticLockParameters,
) -> Result<PessimisticLockKeyResult> {
    if let Some(lock) = shared.get_lock(txn.start_ts).filter(|lock| lock.for_update_ts < props.for_update_ts)
    {
        let is_locked_with_conflict = lock.is_locked_with_conflict;
        let new = PessimisticLock {
            is_locked_with_conflict,
            ..new_lock(txn.start_ts, props, props.for_update_ts, lock.last_change)
        };
        shared.update_lock(new.into_lock())?;
        txn.put_shared_locks(key, &shared);
    }
    Ok(key_result(props, None, None))
}

fn new_lock(
    start_ts: TimeStamp,
    props: &PessimisticLockParameters,
    for_update_ts: TimeStamp,
    last_change: LastChange,
) -> PessimisticLock {
    PessimisticLock {
        primary: props.primary.clone().into_boxed_slice(),
        start_ts,
        ttl: props.lock_ttl,
        for_update_ts,
        min_commit_ts: props.min_commit_ts,
        last_change,
        is_locked_with_conflict: false,
    }
}

fn key_result(
    props: &PessimisticLockParameters,
    conflict_ts: Option<TimeStamp>,
    value: Option<Value>,
) -> PessimisticLockKeyResult {
    if let Some(conflict_ts) = conflict_ts {
        return PessimisticLockKeyResult::LockedWithConflict { value, conflict_ts };
    }
    match (props.return_values, props.check_existence) {
        (true, _) => PessimisticLockKeyResult::Value(value),
        (false, true) => PessimisticLockKeyResult::Existence(value.is_some()),
        (false, false) => PessimisticLockKeyResult::Empty,
    }
}
