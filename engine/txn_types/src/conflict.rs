//! Conflicts between locks and reads.
use kvproto::kvrpcpb::{IsolationLevel, write_conflict::Reason};

use crate::{Error, Key, Lock, LockType, Result, TimeStamp, TsSet, WriteConflict};

/// Checks whether `lock` blocks a read of `key` at `ts`. Shared locks never conflict with reads.
///
/// TiKV: `txn_types::lock::check_ts_conflict`.
///
/// # Errors
/// [`Error::KeyIsLocked`] under SI, [`Error::WriteConflict`] under RCCheckTS.
pub fn check_ts_conflict(
    lock: &Lock,
    key: &Key,
    ts: TimeStamp,
    bypass_locks: &TsSet,
    iso_level: IsolationLevel,
) -> Result<()> {
    match iso_level {
        IsolationLevel::Si => check_si(lock, key, ts, bypass_locks, false),
        IsolationLevel::RcCheckTs => check_rc_check_ts(lock, key, ts, bypass_locks),
        IsolationLevel::Rc => Ok(()),
    }
}

/// Like [`check_ts_conflict`], for a replica read: reading the latest version does not ignore the primary's
/// lock.
pub fn check_ts_conflict_for_replica_read(
    lock: &Lock,
    key: &Key,
    ts: TimeStamp,
    bypass_locks: &TsSet,
    iso_level: IsolationLevel,
) -> Result<()> {
    match iso_level {
        IsolationLevel::Si => check_si(lock, key, ts, bypass_locks, true),
        IsolationLevel::RcCheckTs => check_rc_check_ts(lock, key, ts, bypass_locks),
        IsolationLevel::Rc => Ok(()),
    }
}

fn never_conflicts(lock: &Lock) -> bool {
    matches!(lock.lock_type, LockType::Lock | LockType::Pessimistic | LockType::Shared)
}

fn check_si(lock: &Lock, key: &Key, ts: TimeStamp, bypass_locks: &TsSet, replica_read: bool) -> Result<()> {
    let committed_later = lock.ts > ts || lock.min_commit_ts > ts;
    if never_conflicts(lock) || committed_later || bypass_locks.contains(lock.ts) {
        return Ok(());
    }
    let raw_key = key.to_raw()?;
    // A read of the latest version of the primary reads the committed data, unless the lock alone may mean
    // that the transaction is committed.
    let may_be_committed = lock.use_async_commit || lock.use_one_pc;
    if ts.is_max() && !replica_read && raw_key == lock.primary && !may_be_committed {
        return Ok(());
    }
    Err(Error::KeyIsLocked(Box::new(lock.clone().into_lock_info(raw_key))))
}

fn check_rc_check_ts(lock: &Lock, key: &Key, ts: TimeStamp, bypass_locks: &TsSet) -> Result<()> {
    if never_conflicts(lock) || bypass_locks.contains(lock.ts) {
        return Ok(());
    }
    Err(Error::WriteConflict(Box::new(WriteConflict {
        start_ts: ts,
        conflict_start_ts: lock.ts,
        conflict_commit_ts: TimeStamp::zero(),
        key: key.to_raw()?,
        primary: lock.primary.clone(),
        reason: Reason::RcCheckTs,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(lock_type: LockType) -> Lock {
        let zero = TimeStamp::zero();
        Lock::new(lock_type, b"p".to_vec(), 10.into(), 3, None, zero, 1, zero, false)
    }

    fn si(lock: &Lock, raw: &[u8], ts: u64) -> Result<()> {
        check_ts_conflict(lock, &Key::from_raw(raw), ts.into(), &TsSet::Empty, IsolationLevel::Si)
    }

    #[test]
    fn a_put_or_delete_below_the_read_blocks_it() {
        for lock_type in [LockType::Put, LockType::Delete] {
            match si(&lock(lock_type), b"k", 10) {
                Err(Error::KeyIsLocked(info)) => {
                    assert_eq!((info.key, info.lock_version), (b"k".to_vec(), 10))
                }
                other => panic!("expected a conflict, found {other:?}"),
            }
            assert_eq!(si(&lock(lock_type), b"k", 9), Ok(()));
        }
        assert_eq!(si(&lock(LockType::Lock), b"k", 20), Ok(()));
        assert_eq!(si(&lock(LockType::Pessimistic), b"k", 20), Ok(()));
    }

    #[test]
    fn a_later_min_commit_ts_or_a_bypass_lets_the_read_pass() {
        let mut later = lock(LockType::Put);
        later.min_commit_ts = 21.into();
        assert_eq!(si(&later, b"k", 20), Ok(()));
        assert!(si(&later, b"k", 21).is_err());
        let bypass = TsSet::from_u64s(vec![10]);
        let key = Key::from_raw(b"k");
        let bypassed = check_ts_conflict(&lock(LockType::Put), &key, 20.into(), &bypass, IsolationLevel::Si);
        assert_eq!(bypassed, Ok(()));
    }

    #[test]
    fn reading_the_latest_skips_only_a_plain_primary() {
        let plain = lock(LockType::Put);
        assert_eq!(si(&plain, b"p", u64::MAX), Ok(()));
        assert!(si(&plain, b"k", u64::MAX).is_err());
        assert!(si(&plain.clone().use_async_commit(vec![]), b"p", u64::MAX).is_err());
        let (key, max) = (Key::from_raw(b"p"), TimeStamp::max());
        let replica =
            check_ts_conflict_for_replica_read(&plain, &key, max, &TsSet::Empty, IsolationLevel::Si);
        assert!(matches!(replica, Err(Error::KeyIsLocked(_))));
    }

    #[test]
    fn isolation_levels_differ() {
        let (put, key) = (lock(LockType::Put), Key::from_raw(b"k"));
        let check = |level| check_ts_conflict(&put, &key, 5.into(), &TsSet::Empty, level);
        assert_eq!(check(IsolationLevel::Rc), Ok(()));
        assert_eq!(check(IsolationLevel::Si), Ok(()));
        let conflict = check(IsolationLevel::RcCheckTs);
        assert!(matches!(conflict, Err(Error::WriteConflict(e)) if e.reason == Reason::RcCheckTs));
    }
}
