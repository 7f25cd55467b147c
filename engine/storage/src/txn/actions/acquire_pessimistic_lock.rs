//! Acquires one pessimistic lock.
//!
//! Mirrors `src/storage/txn/actions/acquire_pessimistic_lock.rs`.
use kvproto::kvrpcpb::write_conflict::Reason;
use tikv_kv::Snapshot;
use txn_types::{
    Key, LastChange, Lock, LockOrSharedLocks, PessimisticLock, TimeStamp, Value, Write, WriteType,
};

use super::{check_data_constraint::check_data_constraint, common::next_last_change_info};
use crate::{
    mvcc::{ErrorInner, MvccTxn, Result, SnapshotReader},
    types::PessimisticLockKeyResult,
};

/// Properties common to all keys of a lock request.
#[derive(Clone, Debug)]
pub struct PessimisticLockProperties<'a> {
    /// Raw.
    pub primary: &'a [u8],
    /// Time to live of the lock, in milliseconds from the physical part of `start_ts`.
    pub lock_ttl: u64,
    /// Timestamp at which the pessimistic statement reads.
    pub for_update_ts: TimeStamp,
    /// Whether to return the key's value.
    pub need_value: bool,
    /// Whether to return whether the key has a value.
    pub need_check_existence: bool,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Whether to lock only a key that has a value.
    pub lock_only_if_exists: bool,
}

/// Locks `key`; succeeds if the transaction already has the lock.
///
/// # Errors
/// `KeyIsLocked`, `WriteConflict` (retry with a newer for_update_ts), `PessimisticLockRolledBack`,
/// `AlreadyExist` if `should_not_exist`.
pub fn acquire_pessimistic_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    should_not_exist: bool,
    props: &PessimisticLockProperties<'_>,
) -> Result<PessimisticLockKeyResult> {
    let start_ts = reader.start_ts;
    if props.lock_only_if_exists && !props.need_value {
        return Err(ErrorInner::LockIfExistsFailed { start_ts, key: key.into_raw()? }.into());
    }
    // Returning the value is a read at for_update_ts.
    if should_not_exist || props.need_value || props.need_check_existence {
        txn.concurrency_manager.update_max_ts(props.for_update_ts, "acquire_pessimistic_lock")?;
    }
    match reader.load_lock(&key)? {
        Some(LockOrSharedLocks::Lock(lock)) => {
            return handle_existing_lock(txn, reader, key, lock, should_not_exist, props);
        }
        Some(LockOrSharedLocks::Shared(shared)) => {
            let info = shared.into_lock_info(key.into_raw()?);
            return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
        }
        None => {}
    }
    let (mut value, mut last_change) = (None, LastChange::NotExist);
    if let Some((commit_ts, write)) = reader.seek_write(&key, TimeStamp::max())? {
        check_newest_write(reader, &key, &write, commit_ts, props)?;
        check_data_constraint(reader, should_not_exist, &write, commit_ts, &key)?;
        last_change = next_last_change_info(&key, &write, commit_ts, reader)?;
        if props.need_value || props.need_check_existence {
            value = load_value(reader, &key, commit_ts, props.need_value)?;
        }
    }
    if !props.lock_only_if_exists || value.is_some() {
        txn.put_pessimistic_lock(key, new_lock(start_ts, props, last_change));
    }
    Ok(key_result(props, value))
}

/// Checks that no version is newer than for_update_ts, and that this transaction is not rolled back here.
fn check_newest_write<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: &Key,
    write: &Write,
    commit_ts: TimeStamp,
    props: &PessimisticLockProperties<'_>,
) -> Result<()> {
    let start_ts = reader.start_ts;
    if commit_ts > props.for_update_ts {
        return Err(ErrorInner::WriteConflict {
            start_ts,
            conflict_start_ts: write.start_ts,
            conflict_commit_ts: commit_ts,
            key: key.to_raw()?,
            primary: props.primary.to_vec(),
            reason: Reason::PessimisticRetry,
        }
        .into());
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
    Ok(())
}

/// Returns the value at `ts`; without `need_value`, an empty value if one exists.
fn load_value<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    key: &Key,
    ts: TimeStamp,
    need_value: bool,
) -> Result<Option<Value>> {
    if need_value { reader.get(key, ts) } else { Ok(reader.get_write(key, ts)?.map(|_| Value::new())) }
}

/// Handles an existing lock: the transaction's own pessimistic lock, or an error.
fn handle_existing_lock<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    lock: Lock,
    should_not_exist: bool,
    props: &PessimisticLockProperties<'_>,
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
    let mut value = None;
    if (props.need_value || props.need_check_existence || should_not_exist)
        && let Some((write, commit_ts)) = reader.get_write_with_commit_ts(&key, props.for_update_ts)?
    {
        check_data_constraint(reader, should_not_exist, &write, commit_ts, &key)?;
        value = Some(if props.need_value { reader.load_data(&key, write)? } else { Value::new() });
    }
    if props.for_update_ts > lock.for_update_ts {
        txn.put_pessimistic_lock(key, new_lock(start_ts, props, lock.last_change));
    }
    Ok(key_result(props, value))
}

fn new_lock(
    start_ts: TimeStamp,
    props: &PessimisticLockProperties<'_>,
    last_change: LastChange,
) -> PessimisticLock {
    PessimisticLock {
        primary: props.primary.into(),
        start_ts,
        ttl: props.lock_ttl,
        for_update_ts: props.for_update_ts,
        min_commit_ts: props.min_commit_ts,
        last_change,
        is_locked_with_conflict: false,
    }
}

fn key_result(props: &PessimisticLockProperties<'_>, value: Option<Value>) -> PessimisticLockKeyResult {
    match (props.need_value, props.need_check_existence) {
        (true, _) => PessimisticLockKeyResult::Value(value),
        (false, true) => PessimisticLockKeyResult::Existence(value.is_some()),
        (false, false) => PessimisticLockKeyResult::Empty,
    }
}
