//! max_ts and the in-memory lock table: they keep async-commit and 1PC commits above all earlier reads.
//!
//! Mirrors `components/concurrency_manager`.
mod max_ts;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kvproto::kvrpcpb::RequestOrigin;
pub use max_ts::{ActionOnInvalidMaxTs, InvalidMaxTsUpdate, MaxTsBound, TsoProvider};
use parking_lot::{Mutex, RwLock};
use txn_types::{Key, Lock, TimeStamp};

/// Entry of one key in the memory lock table.
#[derive(Debug)]
struct KeyHandle {
    key: Key,
    /// Set once the writer has computed its min_commit_ts.
    lock: Mutex<Option<Lock>>,
}

#[derive(Default)]
struct Shared {
    max_ts: AtomicU64,
    table: RwLock<BTreeMap<Key, Arc<KeyHandle>>>,
    bound: MaxTsBound,
}

/// Tracks max_ts and memory locks. Cheap to clone; all clones share one state.
#[derive(Clone, Default)]
pub struct ConcurrencyManager {
    shared: Arc<Shared>,
}

impl ConcurrencyManager {
    /// Creates a manager that accepts any timestamp, since there is no PD to compare with.
    pub fn new(latest_ts: TimeStamp) -> Self {
        Self::with_bound(latest_ts, MaxTsBound::default())
    }

    /// Creates a manager that accepts timestamps within `bound`. TiKV: `new_with_config`.
    pub fn with_bound(latest_ts: TimeStamp, bound: MaxTsBound) -> Self {
        let manager = Self { shared: Arc::new(Shared { bound, ..Shared::default() }) };
        manager.raise_max_ts(latest_ts);
        manager
    }

    /// Returns the limit of timestamps.
    pub fn bound(&self) -> &MaxTsBound {
        &self.shared.bound
    }

    /// Returns the greatest timestamp of any read on this store.
    pub fn max_ts(&self) -> TimeStamp {
        self.shared.max_ts.load(Ordering::SeqCst).into()
    }

    /// Raises max_ts for a read at `new_ts`. A read of the latest version has no timestamp and raises
    /// nothing. `source` names the read in the log.
    ///
    /// # Errors
    /// [`InvalidMaxTsUpdate`] if `new_ts` exceeds PD's clock plus the allowed drift; max_ts stays unchanged.
    pub fn update_max_ts(&self, new_ts: TimeStamp, source: &str) -> Result<(), InvalidMaxTsUpdate> {
        self.check_ts(new_ts, source)?;
        self.raise_max_ts(new_ts);
        Ok(())
    }

    /// Like [`ConcurrencyManager::update_max_ts`], but without drift for callers other than TiDB, which are
    /// more likely to pass wrong timestamps. TiKV: `MaxTsUpdateSource::require_request_origin_check`.
    ///
    /// # Errors
    /// Like [`ConcurrencyManager::update_max_ts`].
    pub fn update_max_ts_of(
        &self,
        new_ts: TimeStamp,
        source: &str,
        origin: RequestOrigin,
    ) -> Result<(), InvalidMaxTsUpdate> {
        self.shared.bound.check(new_ts, origin != RequestOrigin::TiDb, source)?;
        self.raise_max_ts(new_ts);
        Ok(())
    }

    /// Checks a timestamp for use in a min_commit_ts; does not raise max_ts.
    ///
    /// # Errors
    /// Like [`ConcurrencyManager::update_max_ts`].
    pub fn check_ts(&self, ts: TimeStamp, source: &str) -> Result<(), InvalidMaxTsUpdate> {
        self.shared.bound.check(ts, false, source)
    }

    /// Raises max_ts to a timestamp that comes from PD or that its sender has checked. Never blocks.
    pub fn raise_max_ts(&self, new_ts: TimeStamp) {
        if !new_ts.is_max() {
            self.shared.max_ts.fetch_max(new_ts.into_inner(), Ordering::SeqCst);
        }
    }

    /// Adds `key` to the table. Latches serialize the writers of one key.
    pub fn lock_key(&self, key: &Key) -> KeyHandleGuard {
        let handle = Arc::new(KeyHandle { key: key.clone(), lock: Mutex::new(None) });
        self.shared.table.write().insert(key.clone(), handle.clone());
        KeyHandleGuard { handle, shared: self.shared.clone() }
    }

    /// Checks the memory lock of `key`, if there is one.
    ///
    /// # Errors
    /// The error that `check` returns for the lock.
    pub fn read_key_check<T>(&self, key: &Key, check: impl FnOnce(&Lock) -> Result<(), T>) -> Result<(), T> {
        let handle = self.shared.table.read().get(key).cloned();
        match handle.as_ref().map(|h| h.lock.lock()) {
            Some(lock) => lock.as_ref().map_or(Ok(()), check),
            None => Ok(()),
        }
    }

    /// Checks all memory locks from `start` (included) to `end` (excluded), in key order.
    ///
    /// # Errors
    /// The error that `check` returns for the first rejected lock.
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

/// Guard of a key in the table; removes the key when dropped.
pub struct KeyHandleGuard {
    handle: Arc<KeyHandle>,
    shared: Arc<Shared>,
}

impl KeyHandleGuard {
    /// Returns the locked key.
    pub fn key(&self) -> &Key {
        &self.handle.key
    }

    /// Runs `f` on the lock while readers of this key wait.
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
        for ts in [20.into(), 15.into(), TimeStamp::max()] {
            cm.update_max_ts(ts, "test").unwrap();
        }
        assert_eq!(cm.max_ts(), 20.into());
    }

    #[test]
    fn a_memory_lock_is_seen_until_its_guard_is_dropped() {
        let cm = ConcurrencyManager::new(1.into());
        let key = Key::from_raw(b"k");
        let locked_by = |lock: &Lock| Err(lock.ts);
        assert_eq!(cm.read_key_check(&key, locked_by), Ok(()));
        let guard = cm.lock_key(&key);
        assert_eq!(cm.read_key_check(&key, locked_by), Ok(()));
        guard.with_lock(|l| *l = Some(lock(7)));
        assert_eq!(cm.read_key_check(&key, locked_by), Err(7.into()));
        let range = |a: &[u8], b: &[u8]| {
            cm.read_range_check(Some(&Key::from_raw(a)), Some(&Key::from_raw(b)), |_, l| Err(l.ts))
        };
        assert_eq!(range(b"a", b"z"), Err(7.into()));
        assert_eq!(range(b"l", b"z"), Ok(()));
        assert_eq!(range(b"z", b"a"), Ok(()));
        drop(guard);
        assert_eq!(cm.read_key_check(&key, locked_by), Ok(()));
    }
}
