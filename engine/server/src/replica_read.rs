//! Checks replica reads on the leader: raises max_ts to the read's timestamp and looks for locks in memory
//! (TiKV `ReplicaReadLockChecker` in `src/server/raftkv/mod.rs`).
use kvproto::{
    kvrpcpb::{IsolationLevel, KeyRange, LockInfo},
    metapb::Region,
    raft_cmdpb::ReadIndexRequest,
};
use raftstore::store::ReadIndexObserver;
use storage::ConcurrencyManager;
use txn_types::{Key, TimeStamp, TsSet, check_ts_conflict_for_replica_read};

/// Checks replica reads against the memory locks of this store.
pub struct ReplicaReadLockChecker {
    concurrency_manager: ConcurrencyManager,
}

impl ReplicaReadLockChecker {
    pub fn new(concurrency_manager: ConcurrencyManager) -> Self {
        Self { concurrency_manager }
    }

    /// Returns the first lock in the range that a read at `ts` must not pass.
    fn locked(&self, range: &KeyRange, ts: TimeStamp) -> Option<LockInfo> {
        let bound = |key: &Vec<u8>| (!key.is_empty()).then(|| Key::from_encoded(key.clone()));
        let (start, end) = (bound(&range.start_key), bound(&range.end_key));
        let check = |key: &Key, lock: &txn_types::Lock| {
            // The isolation level is SI: replicas send ranges for no other level.
            check_ts_conflict_for_replica_read(lock, key, ts, &TsSet::Empty, IsolationLevel::Si)
        };
        match self.concurrency_manager.read_range_check(start.as_ref(), end.as_ref(), check) {
            Err(txn_types::Error::KeyIsLocked(lock)) => Some(*lock),
            _ => None,
        }
    }
}

impl ReadIndexObserver for ReplicaReadLockChecker {
    fn on_step(&self, request: &ReadIndexRequest, _: &Region) -> Option<LockInfo> {
        let ts = TimeStamp::new(request.start_ts);
        // The replica's store has compared the timestamp with PD's clock. This thread must not wait for PD.
        self.concurrency_manager.raise_max_ts(ts);
        request.key_ranges.iter().find_map(|range| self.locked(range, ts))
    }
}

#[cfg(test)]
mod tests {
    use txn_types::{Lock, LockType};

    use super::*;

    fn lock(min_commit_ts: u64) -> Lock {
        let (start_ts, min_commit_ts) = (10.into(), min_commit_ts.into());
        let lock = Lock::new(
            LockType::Put,
            b"k".to_vec(),
            start_ts,
            3000,
            None,
            TimeStamp::zero(),
            1,
            min_commit_ts,
            false,
        );
        lock.use_async_commit(vec![])
    }

    fn range(start: &[u8], end: &[u8]) -> KeyRange {
        let encoded = |k: &[u8]| if k.is_empty() { Vec::new() } else { Key::from_raw(k).into_encoded() };
        KeyRange { start_key: encoded(start), end_key: encoded(end) }
    }

    #[test]
    fn a_replica_read_raises_max_ts_and_finds_memory_locks() {
        let cm = ConcurrencyManager::new(5.into());
        let checker = ReplicaReadLockChecker::new(cm.clone());
        let step = |start_ts, key_ranges| {
            checker.on_step(&ReadIndexRequest { start_ts, key_ranges }, &Region::default())
        };
        assert_eq!(step(20, vec![range(b"k", b"l")]), None);
        assert_eq!(cm.max_ts(), 20.into());
        let guard = cm.lock_key(&Key::from_raw(b"k"));
        guard.with_lock(|l| *l = Some(lock(25)));
        assert_eq!(step(24, vec![range(b"k", b"l")]), None, "the lock commits above the read");
        let found = step(30, vec![range(b"a", b"b"), range(b"k", b"l")]).unwrap();
        assert_eq!((found.key.as_slice(), found.lock_version, found.use_async_commit), (&b"k"[..], 10, true));
        assert!(step(30, vec![range(b"", b"")]).is_some(), "an empty bound is unbounded");
        assert_eq!(step(30, vec![range(b"l", b"")]), None);
        assert!(
            step(u64::MAX, vec![range(b"k", b"l")]).is_some(),
            "the latest version may be the locked one"
        );
        assert_eq!(cm.max_ts(), 30.into(), "the greatest timestamp raises nothing");
        drop(guard);
        assert_eq!(step(30, vec![range(b"k", b"l")]), None);
    }
}
