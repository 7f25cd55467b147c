//! Rolls back one key of a transaction, locked or not.
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, TimeStamp};

use super::{
    check_txn_status::{
        MissingLockAction, check_txn_status_missing_lock, rollback_lock, rollback_shared_lock,
    },
    common::{LockState, load_lock_state},
};
use crate::{
    mvcc::{ErrorInner, MvccTxn, Result, SnapshotReader, facts},
    types::TxnStatus,
};

/// Rolls back `key`. A nonzero `current_ts` limits this to locks with an expired TTL.
///
/// TiKV: `actions/cleanup.rs`.
///
/// # Errors
/// `KeyIsLocked` if the TTL has not expired, `Committed` if the transaction is committed.
pub fn cleanup<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: Key,
    current_ts: TimeStamp,
    protect_rollback: bool,
) -> Result<()> {
    match load_lock_state(txn, reader, &key)? {
        LockState::Own(lock) => {
            if !ends(txn, &key, &lock, current_ts) {
                let info = lock.into_lock_info(key.into_raw()?);
                return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
            }
            let is_pessimistic_txn = lock.is_pessimistic_txn();
            rollback_lock(txn, reader, key, &lock, is_pessimistic_txn, !protect_rollback)
        }
        LockState::Shared(mut shared) if shared.contains_start_ts(reader.start_ts) => {
            if shared.get_lock(reader.start_ts).is_some_and(|lock| !ends(txn, &key, lock, current_ts)) {
                let info = shared.into_lock_info(key.into_raw()?);
                return Err(ErrorInner::KeyIsLocked(Box::new(info)).into());
            }
            rollback_shared_lock(txn, reader, key, &mut shared, !protect_rollback)
        }
        state => {
            let action = MissingLockAction::rollback_protect(protect_rollback);
            let other = state.other();
            match check_txn_status_missing_lock(txn, reader, key.clone(), other, action, false)? {
                TxnStatus::Committed { commit_ts } => {
                    let (start_ts, key) = (reader.start_ts, key.into_raw()?);
                    Err(ErrorInner::Committed { start_ts, commit_ts, key }.into())
                }
                TxnStatus::RolledBack
                | TxnStatus::TtlExpire
                | TxnStatus::LockNotExist
                | TxnStatus::Uncommitted { .. }
                | TxnStatus::PessimisticRollBack
                | TxnStatus::LockNotExistDoNothing => Ok(()),
            }
        }
    }
}

/// Whether the lock may be removed: its TTL has expired, or `current_ts` is 0, with which a request ignores the TTL.
fn ends(txn: &MvccTxn, key: &Key, lock: &Lock, current_ts: TimeStamp) -> bool {
    let alive = lock.ts.physical().saturating_add(lock.ttl) >= current_ts.physical();
    let ends = current_ts.is_zero() || !alive;
    tracepoints::step_inside!(
        CLEANUP_CHECK_TTL,
        txn.req,
        facts::ttl_check(key, lock, current_ts, ends),
        start_ts = lock.ts.into_inner(),
        current_ts = current_ts.into_inner(),
        lock_ttl = lock.ttl,
        expired = ends,
    );
    ends
}
