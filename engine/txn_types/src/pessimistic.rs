use crate::{LastChange, Lock, LockType, TimeStamp};

/// A pessimistic lock that lives in the leader's memory only.
///
/// TiKV: `txn_types::lock::PessimisticLock`.
#[derive(Clone, PartialEq, Debug)]
pub struct PessimisticLock {
    /// The raw primary key of the transaction.
    pub primary: Box<[u8]>,
    /// When the transaction started.
    pub start_ts: TimeStamp,
    /// Milliseconds from the physical part of `start_ts` until others may resolve it.
    pub ttl: u64,
    /// Versions up to here do not conflict.
    pub for_update_ts: TimeStamp,
    /// The transaction commits at this timestamp or later.
    pub min_commit_ts: TimeStamp,
    /// Where the last PUT or DELETE of the key is.
    pub last_change: LastChange,
    /// Whether it was taken in spite of a newer version.
    pub is_locked_with_conflict: bool,
}

impl PessimisticLock {
    /// The same lock as CF lock would hold it.
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

    /// Like [`PessimisticLock::into_lock`], from a reference.
    pub fn to_lock(&self) -> Lock {
        self.clone().into_lock()
    }

    /// Bytes that it takes in memory.
    pub fn memory_size(&self) -> usize {
        self.primary.len() + size_of::<PessimisticLock>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_becomes_a_lock_with_the_same_fields() {
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
    }
}
