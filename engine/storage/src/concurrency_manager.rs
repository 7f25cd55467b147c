//! max_ts and the in-memory lock table: what keeps async-commit and 1PC writers above the reads before them.
//!
//! Mirrors `components/concurrency_manager`.
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use txn_types::{Key, Lock, TimeStamp};

/// One key that a writer has in memory.
#[derive(Debug)]
struct KeyHandle {
    key: Key,
    /// Set once the writer knows its min_commit_ts.
    lock: Mutex<Option<Lock>>,
}

#[derive(Default)]
struct Shared {
    max_ts: AtomicU64,
    table: RwLock<BTreeMap<Key, Arc<KeyHandle>>>,
}

/// Cheap to clone; all clones are one manager.
#[derive(Clone, Default)]
pub struct ConcurrencyManager {
    shared: Arc<Shared>,
}

impl ConcurrencyManager {
    pub fn new(latest_ts: TimeStamp) -> Self {
        let manager = Self::default();
        manager.update_max_ts(latest_ts);
        manager
    }

    /// The greatest timestamp anybody has read at here.
    pub fn max_ts(&self) -> TimeStamp {
        self.shared.max_ts.load(Ordering::SeqCst).into()
    }

    /// Notes a read at `new_ts`. A read of "the latest" has no timestamp and raises nothing.
    pub fn update_max_ts(&self, new_ts: TimeStamp) {
        if !new_ts.is_max() {
            self.shared.max_ts.fetch_max(new_ts.into_inner(), Ordering::SeqCst);
        }
    }

    /// Enters `key` into the table. Writers of one key are kept apart by the latches.
    pub fn lock_key(&self, key: &Key) -> KeyHandleGuard {
        let handle = Arc::new(KeyHandle { key: key.clone(), lock: Mutex::new(None) });
        self.shared.table.write().insert(key.clone(), handle.clone());
        KeyHandleGuard { handle, shared: self.shared.clone() }
    }

    /// Checks the memory lock of `key`, if there is one.
    ///
    /// # Errors
    /// What `check` says of the lock.
    pub fn read_key_check<T>(&self, key: &Key, check: impl FnOnce(&Lock) -> Result<(), T>) -> Result<(), T> {
        let handle = self.shared.table.read().get(key).cloned();
        match handle.as_ref().map(|h| h.lock.lock()) {
            Some(lock) => lock.as_ref().map_or(Ok(()), check),
            None => Ok(()),
        }
    }

    /// Checks all memory locks from `start` (included) to `end` (excluded), in order of their keys.
    ///
    /// # Errors
    /// What `check` says of the first lock it objects to.
    pub fn read_range_check<T>(
        &self,
        start: Option<&Key>,
        end: Option<&Key>,
        mut check: impl FnMut(&Key, &Lock) -> Result<(), T>,
    ) -> Result<(), T> {
        if matches!((start, end), (Some(a), Some(b)) if a >= b) {
            return Ok(());
        }
        let bounds = (
            start.map_or(Bound::Unbounded, |k| Bound::Included(k.clone())),
            end.map_or(Bound::Unbounded, |k| Bound::Excluded(k.clone())),
        );
        let handles: Vec<_> = self.shared.table.read().range(bounds).map(|(_, h)| h.clone()).collect();
        for handle in handles {
            if let Some(lock) = handle.lock.lock().as_ref() {
                check(&handle.key, lock)?;
            }
        }
        Ok(())
    }
}

/// A key in the table until dropped.
pub struct KeyHandleGuard {
    handle: Arc<KeyHandle>,
    shared: Arc<Shared>,
}

impl KeyHandleGuard {
    pub fn key(&self) -> &Key {
        &self.handle.key
    }

    /// Works on the lock while readers of this key wait.
    pub fn with_lock<T>(&self, f: impl FnOnce(&mut Option<Lock>) -> T) -> T {
        f(&mut self.handle.lock.lock())
    }
}

impl Drop for KeyHandleGuard {
    fn drop(&mut self) {
        let mut table = self.shared.table.write();
        if table.get(&self.handle.key).is_some_and(|h| Arc::ptr_eq(h, &self.handle)) {
            table.remove(&self.handle.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use txn_types::LockType;

    use super::*;

    fn lock(ts: u64) -> Lock {
        let zero = TimeStamp::zero();
        Lock::new(LockType::Put, b"k".to_vec(), ts.into(), 10, None, zero, 1, zero, false)
    }

    #[test]
    fn max_ts_only_rises() {
        let cm = ConcurrencyManager::new(10.into());
        cm.update_max_ts(20.into());
        cm.update_max_ts(15.into());
        cm.update_max_ts(TimeStamp::max());
        assert_eq!(cm.max_ts(), 20.into());
    }

    #[test]
    fn a_memory_lock_is_seen_until_its_guard_is_dropped() {
        let cm = ConcurrencyManager::new(1.into());
        let key = Key::from_raw(b"k");
        let met = |lock: &Lock| Err(lock.ts);
        assert_eq!(cm.read_key_check(&key, met), Ok(()));
        let guard = cm.lock_key(&key);
        assert_eq!(cm.read_key_check(&key, met), Ok(()));
        guard.with_lock(|l| *l = Some(lock(7)));
        assert_eq!(cm.read_key_check(&key, met), Err(7.into()));
        let range = |a: &[u8], b: &[u8]| {
            cm.read_range_check(Some(&Key::from_raw(a)), Some(&Key::from_raw(b)), |_, l| Err(l.ts))
        };
        assert_eq!(range(b"a", b"z"), Err(7.into()));
        assert_eq!(range(b"l", b"z"), Ok(()));
        assert_eq!(range(b"z", b"a"), Ok(()));
        drop(guard);
        assert_eq!(cm.read_key_check(&key, met), Ok(()));
    }
}
