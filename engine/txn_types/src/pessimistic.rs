//! Pessimistic locks in memory.
use crate::{LastChange, Lock, LockType, TimeStamp};

/// Pessimistic lock that exists only in the leader's memory.
///
/// TiKV: `txn_types::lock::PessimisticLock`.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct PessimisticLock {
    /// Raw primary key of the transaction.
    pub primary: Box<[u8]>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Milliseconds from the physical part of `start_ts` until others may resolve it.
    pub ttl: u64,
    /// Versions up to this timestamp do not conflict.
    pub for_update_ts: TimeStamp,
    /// Minimum commit timestamp of the transaction.
    pub min_commit_ts: TimeStamp,
    /// Position of the last PUT or DELETE of the key.
    pub last_change: LastChange,
    /// Whether the lock was acquired despite a newer version.
    pub is_locked_with_conflict: bool,
}

impl PessimisticLock {
    /// Converts to a lock as stored in CF lock.
    pub fn into_lock(self) -> Lock {
        Lock::new(
            LockType::Pessimistic,
            self.primary.into_vec(),
            self.start_ts,
            self.ttl,
            None,
            self.for_update_ts,
            0,
            self.min_commit_ts,
            self.is_locked_with_conflict,
        )
        .set_last_change(self.last_change)
    }

    /// Converts a pessimistic lock as stored in CF lock; `None` for another type.
    pub fn from_lock(lock: Lock) -> Option<Self> {
        (lock.lock_type == LockType::Pessimistic).then(|| Self {
            primary: lock.primary.into(),
            start_ts: lock.ts,
            ttl: lock.ttl,
            for_update_ts: lock.for_update_ts,
            min_commit_ts: lock.min_commit_ts,
            last_change: lock.last_change,
            is_locked_with_conflict: lock.is_locked_with_conflict,
        })
    }

    /// Like [`PessimisticLock::into_lock`], from a reference.
    pub fn to_lock(&self) -> Lock {
        self.clone().into_lock()
    }

    /// Returns the bytes used in memory.
    pub fn memory_size(&self) -> usize {
        self.primary.len() + size_of::<PessimisticLock>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pessimistic_lock_converts_to_a_lock() {
        let memory = PessimisticLock {
            primary: b"pk".to_vec().into(),
            start_ts: 1.into(),
            ttl: 2,
            for_update_ts: 3.into(),
            min_commit_ts: 4.into(),
            last_change: LastChange::make_exist(5.into(), 6),
            is_locked_with_conflict: true,
        };
        let lock = memory.to_lock();
        assert!(lock.is_pessimistic_lock_with_conflict());
        assert_eq!((lock.primary.as_slice(), lock.ts, lock.ttl), (&b"pk"[..], 1.into(), 2));
        assert_eq!((lock.for_update_ts, lock.min_commit_ts), (3.into(), 4.into()));
        assert_eq!(lock.last_change, memory.last_change);
        assert_eq!(PessimisticLock::from_lock(lock.clone()), Some(memory));
        assert_eq!(PessimisticLock::from_lock(Lock { lock_type: LockType::Put, ..lock }), None);
    }
}
