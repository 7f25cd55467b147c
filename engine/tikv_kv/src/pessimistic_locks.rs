//! Pessimistic locks in the memory of a region's leader.
//!
//! Mirrors `components/raftstore/src/store/txn_ext.rs`. A pessimistic lock in memory needs no trip through Raft. The
//! lock is lost if the leader is lost; the prewrite then amends the lock or fails with `PessimisticLockNotFound`.
//! Before a leader hands over its leadership, it writes the locks through Raft.
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use kvproto::{errorpb, metapb::Region};
use parking_lot::RwLock;
use tracepoints::probe::{MemoryLock, MemoryLocksProbe};
use txn_types::{Key, Lock, PessimisticLock};

use crate::{Error, ErrorInner, Result};

/// Maximum number of locks in a probe.
const MAX_PROBED: usize = 100;

/// Bytes of all tables of the process. TiKV: `INSTANCE_MEM_SIZE`.
static INSTANCE_MEM_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes of all pessimistic locks in memory.
pub fn instance_memory_size() -> usize {
    INSTANCE_MEM_SIZE.load(Ordering::Relaxed)
}

/// The table of one peer, shared with its snapshots.
pub type SharedPessimisticLocks = Arc<RwLock<PeerPessimisticLocks>>;

/// Whether a table accepts locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocksStatus {
    /// The peer leads its region.
    Normal,
    /// The peer hands over its leadership: its locks are already in Raft.
    TransferringLeader,
    /// The peer does not lead.
    #[default]
    NotLeader,
    /// A flashback runs.
    IsInFlashback,
}

/// Limits in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Of one table.
    pub peer: usize,
    /// Of all tables of the process.
    pub instance: usize,
}

/// A lock, which stays in the table until a write that removes it is applied.
#[derive(Clone, Debug)]
struct Entry {
    lock: PessimisticLock,
    /// Mark of the write that removes the lock. The mark lives as long as the write is on its way: a refused write
    /// leaves the lock valid.
    removal: Weak<()>,
    /// Whether `take_unproposed` has found this mark. The write has left the mailbox before the next call.
    seen: bool,
    /// Whether the current leader transfer has written the lock.
    proposed: bool,
}

impl Entry {
    fn new(lock: PessimisticLock) -> Self {
        Self { lock, removal: Weak::new(), seen: false, proposed: false }
    }

    fn is_deleted(&self) -> bool {
        self.removal.strong_count() > 0
    }

    fn size(&self, key: &Key) -> usize {
        key.len() + self.lock.memory_size()
    }
}

/// Pessimistic locks of one peer, by encoded key.
#[derive(Debug, Default)]
pub struct PeerPessimisticLocks {
    map: BTreeMap<Key, Entry>,
    /// Whether the table accepts locks.
    pub status: LocksStatus,
    /// Term in which the table is valid.
    pub term: u64,
    /// Version of the region's epoch in which the table is valid.
    pub version: u64,
    memory_size: usize,
}

impl PeerPessimisticLocks {
    /// Begins a term as leader. Locks that a split moved here stay.
    pub fn activate(&mut self, term: u64, version: u64) {
        (self.status, self.term, self.version) = (LocksStatus::Normal, term, version);
    }

    /// Drops all locks, since another peer leads.
    pub fn deactivate(&mut self, term: u64, version: u64) {
        self.clear();
        (self.status, self.term, self.version) = (LocksStatus::NotLeader, term, version);
    }

    /// Drops all locks.
    pub fn clear(&mut self) {
        self.map.clear();
        self.resize(0, self.memory_size);
    }

    /// Whether locks can be inserted in this term and version.
    pub fn is_writable_in(&self, term: u64, version: u64) -> bool {
        self.status == LocksStatus::Normal && self.is_valid_in(term, version)
    }

    /// Whether the table is of this term and version.
    pub fn is_valid_in(&self, term: u64, version: u64) -> bool {
        self.term == term && self.version == version
    }

    /// Returns the number of locks.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no lock.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Returns the first locks of the table of `region` for a viewer. A lock that a write on its way removes is not
    /// among them.
    pub fn probe(&self, store: u64, region: u64) -> MemoryLocksProbe {
        let lock = |(key, lock): (&Key, &PessimisticLock)| MemoryLock {
            key: key.to_raw().map_or_else(|_| key.to_string(), |raw| keys::escape(&raw)),
            start_ts: lock.start_ts.into_inner(),
            for_update_ts: lock.for_update_ts.into_inner(),
            ttl_ms: lock.ttl,
        };
        let locks = self.remaining().take(MAX_PROBED).map(lock).collect();
        let more = self.remaining().skip(MAX_PROBED).count() as u64;
        MemoryLocksProbe { store, region, locks, more }
    }

    /// Returns the bytes of the locks.
    pub fn memory_size(&self) -> usize {
        self.memory_size
    }

    /// Inserts all locks, or none if they do not fit. Returns whether it inserted them.
    pub fn insert(&mut self, locks: &[(Key, PessimisticLock)], limits: MemoryLimits) -> bool {
        // A lock that replaces one of the same transaction has the same primary, and so the same size.
        let new = locks.iter().filter(|(key, _)| !self.map.contains_key(key));
        let size: usize = new.map(|(key, lock)| key.len() + lock.memory_size()).sum();
        if self.memory_size + size > limits.peer || instance_memory_size() + size > limits.instance {
            return false;
        }
        for (key, lock) in locks {
            self.put(key.clone(), Entry::new(lock.clone()));
        }
        true
    }

    fn put(&mut self, key: Key, entry: Entry) {
        let added = entry.size(&key);
        let freed = self.map.get(&key).map_or(0, |old| old.size(&key));
        self.map.insert(key, entry);
        self.resize(added, freed);
    }

    fn resize(&mut self, added: usize, freed: usize) {
        self.memory_size = self.memory_size + added - freed;
        INSTANCE_MEM_SIZE.fetch_add(added, Ordering::Relaxed);
        INSTANCE_MEM_SIZE.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Returns the lock of a key.
    pub fn get(&self, key: &Key) -> Option<&PessimisticLock> {
        self.map.get(key).map(|entry| &entry.lock)
    }

    /// Marks a lock as removed by a write that is sent to Raft, until `write` is dropped. Returns whether the table has
    /// the lock.
    pub fn mark_deleted(&mut self, key: &Key, write: &Arc<()>) -> bool {
        let Some(entry) = self.map.get_mut(key) else { return false };
        (entry.removal, entry.seen) = (Arc::downgrade(write), false);
        true
    }

    /// Removes a lock, once the write that removes it is applied.
    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.map.remove(key) {
            self.resize(0, entry.size(key));
        }
    }

    /// Returns the locks that no write on its way removes.
    pub fn remaining(&self) -> impl Iterator<Item = (&Key, &PessimisticLock)> {
        self.map.iter().filter(|(_, entry)| !entry.is_deleted()).map(|(key, entry)| (key, &entry.lock))
    }

    /// Begins a leader transfer: all locks must be written.
    pub fn begin_transfer(&mut self) {
        self.status = LocksStatus::TransferringLeader;
        for entry in self.map.values_mut() {
            (entry.seen, entry.proposed) = (false, false);
        }
    }

    /// Returns the locks that the leader must write before it hands over its leadership, and whether it must call this
    /// again once it has taken all present messages from its mailbox. A lock that a write on its way removes is not
    /// returned: the lock would overwrite that write. If the write is refused, the next call returns the lock.
    pub fn take_unproposed(&mut self) -> (Vec<(Key, PessimisticLock)>, bool) {
        let (mut locks, mut again) = (Vec::new(), false);
        for (key, entry) in self.map.iter_mut().filter(|(_, entry)| !entry.proposed) {
            if !entry.is_deleted() {
                entry.proposed = true;
                locks.push((key.clone(), entry.lock.clone()));
            } else if !std::mem::replace(&mut entry.seen, true) {
                again = true;
            }
        }
        (locks, again)
    }

    /// Returns locks from `start` (included) to `end` (excluded) that `filter` accepts, and whether the limit cut the
    /// list; 0: no limit.
    pub fn scan_locks(
        &self,
        start: Option<&Key>,
        end: Option<&Key>,
        filter: impl Fn(&PessimisticLock) -> bool,
        limit: usize,
    ) -> (Vec<(Key, Lock)>, bool) {
        if start.zip(end).is_some_and(|(start, end)| start >= end) {
            return (Vec::new(), false);
        }
        let bounds =
            (start.map_or(Bound::Unbounded, Bound::Included), end.map_or(Bound::Unbounded, Bound::Excluded));
        // One more than the limit, to see whether there are more.
        let most = if limit == 0 { usize::MAX } else { limit.saturating_add(1) };
        let found = self.map.range::<Key, _>(bounds).filter(|(_, entry)| filter(&entry.lock));
        let mut locks: Vec<_> =
            found.take(most).map(|(key, entry)| (key.clone(), entry.lock.to_lock())).collect();
        let cut = limit > 0 && locks.len() > limit;
        if cut {
            locks.truncate(limit);
        }
        (locks, cut)
    }

    /// Moves the locks outside of `derived` to the regions of a split; returns them in the order of `regions`. A lock
    /// marked as removed stays a lock: the write that removes it is of the version before the split, and fails.
    pub fn group_by_regions(&mut self, regions: &[Region], derived: &Region) -> Vec<PeerPessimisticLocks> {
        let mut groups: Vec<PeerPessimisticLocks> = regions.iter().map(|_| Self::default()).collect();
        for (key, mut entry) in std::mem::take(&mut self.map) {
            let inside = |region: &Region| region.contains(key.as_encoded());
            let moved = regions.iter().position(|region| region.id != derived.id && inside(region));
            let Some(at) = moved else {
                self.map.insert(key, entry);
                continue;
            };
            self.resize(0, entry.size(&key));
            entry.removal = Weak::new();
            groups[at].put(key, entry);
        }
        groups
    }

    /// Checks that a reader of this term and region may trust the table: otherwise the locks are elsewhere now.
    /// TiKV: `MvccReader::check_term_version_status`.
    ///
    /// # Errors
    /// `StaleCommand`, `EpochNotMatch` or `FlashbackInProgress`.
    pub fn check_reader(&self, term: u64, region: &Region) -> Result<()> {
        let (version, region_id) = (region.epoch().version, region.id);
        let mut error = errorpb::Error::default();
        if self.term != term {
            error.message = format!("the pessimistic locks are of term {}, the reader of {term}", self.term);
            error.stale_command = Some(Default::default());
        } else if self.version != version {
            let own = self.version;
            error.message = format!("the pessimistic locks are of version {own}, the reader of {version}");
            error.epoch_not_match = Some(Default::default());
        } else if self.status == LocksStatus::IsInFlashback && !region.is_in_flashback {
            error.message = format!("region {region_id} is in flashback progress");
            error.flashback_in_progress =
                Some(errorpb::FlashbackInProgress { region_id, ..Default::default() });
        } else {
            return Ok(());
        }
        Err(Error::from(ErrorInner::Request(error)))
    }
}

impl Drop for PeerPessimisticLocks {
    fn drop(&mut self) {
        INSTANCE_MEM_SIZE.fetch_sub(self.memory_size, Ordering::Relaxed);
    }
}

/// Locks in memory that a write removes once it is applied.
#[derive(Clone, Debug)]
pub struct RemovedLocks {
    /// The table.
    pub table: SharedPessimisticLocks,
    /// Term of the write.
    pub term: u64,
    /// Version of the write.
    pub version: u64,
    /// Encoded keys.
    pub keys: Vec<Key>,
    /// Marks the locks as removed until it is dropped.
    pub write: Arc<()>,
}

impl RemovedLocks {
    /// Removes the locks, unless the leader or the region has changed. Called by the thread that applies the write,
    /// before it executes later entries of the log.
    pub fn applied(self) {
        let mut locks = self.table.write();
        if locks.is_valid_in(self.term, self.version) {
            self.keys.iter().for_each(|key| locks.remove(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MemoryLimits = MemoryLimits { peer: 512 << 10, instance: 1 << 30 };

    fn lock(start_ts: u64) -> PessimisticLock {
        PessimisticLock {
            primary: b"p".to_vec().into(),
            start_ts: start_ts.into(),
            ttl: 3000,
            for_update_ts: start_ts.into(),
            min_commit_ts: (start_ts + 1).into(),
            ..Default::default()
        }
    }

    fn pairs(keys: &[&str]) -> Vec<(Key, PessimisticLock)> {
        keys.iter().map(|key| (Key::from_raw(key.as_bytes()), lock(10))).collect()
    }

    fn names<'a>(locks: impl Iterator<Item = (&'a Key, &'a PessimisticLock)>) -> Vec<Vec<u8>> {
        locks.map(|(key, _)| key.to_raw().unwrap()).collect()
    }

    fn table(keys: &[&str]) -> PeerPessimisticLocks {
        let mut locks = PeerPessimisticLocks::default();
        locks.activate(6, 1);
        assert!(locks.insert(&pairs(keys), LIMITS));
        locks
    }

    #[test]
    fn locks_that_do_not_fit_are_all_left_out() {
        let mut locks = table(&["a"]);
        let size = locks.memory_size();
        let one_more = MemoryLimits { peer: size + size, ..LIMITS };
        assert!(!locks.insert(&pairs(&["b", "c"]), one_more));
        assert_eq!((locks.len(), locks.memory_size()), (1, size));
        assert!(locks.insert(&pairs(&["a", "b"]), one_more), "a lock that exists needs no memory");
        assert!(!locks.insert(&pairs(&["c"]), MemoryLimits { instance: 0, ..LIMITS }));
        locks.remove(&Key::from_raw(b"b"));
        assert_eq!(locks.memory_size(), size);
        locks.deactivate(7, 1);
        assert_eq!((locks.is_empty(), locks.memory_size(), locks.status), (true, 0, LocksStatus::NotLeader));
    }

    #[test]
    fn a_table_is_written_only_by_its_leader() {
        let mut locks = PeerPessimisticLocks::default();
        assert!(!locks.is_writable_in(0, 0));
        locks.activate(6, 2);
        assert!(locks.is_writable_in(6, 2) && !locks.is_writable_in(7, 2) && !locks.is_writable_in(6, 3));
        locks.status = LocksStatus::TransferringLeader;
        assert!(!locks.is_writable_in(6, 2) && locks.is_valid_in(6, 2));
    }

    #[test]
    fn a_scan_has_bounds_and_a_limit() {
        let locks = table(&["a", "b", "c", "d"]);
        let scan = |start: &str, end: &str, limit| {
            let (start, end) = (Key::from_raw(start.as_bytes()), Key::from_raw(end.as_bytes()));
            let (found, cut) = locks.scan_locks(Some(&start), Some(&end), |_| true, limit);
            (found.len(), cut)
        };
        assert_eq!(scan("b", "d", 0), (2, false));
        assert_eq!(scan("b", "d", 2), (2, false));
        assert_eq!(scan("a", "d", 2), (2, true));
        assert_eq!(scan("d", "a", 0), (0, false));
        assert_eq!(locks.scan_locks(None, None, |lock| lock.start_ts > 10.into(), 0), (vec![], false));
    }

    #[test]
    fn a_split_moves_locks_and_forgets_their_marks() {
        let mut locks = table(&["a", "b", "c"]);
        let encoded = |key: &str| Key::from_raw(key.as_bytes()).into_encoded();
        let left = Region { id: 1, end_key: encoded("b"), ..Default::default() };
        let right = Region { id: 2, start_key: encoded("b"), ..Default::default() };
        let write = Arc::new(());
        for key in ["a", "b"] {
            assert!(locks.mark_deleted(&Key::from_raw(key.as_bytes()), &write));
        }
        let total = locks.memory_size();
        let groups = locks.group_by_regions(&[left, right.clone()], &right);
        assert_eq!(names(groups[0].remaining()), [b"a"]);
        assert!(groups[1].is_empty());
        assert_eq!(names(locks.remaining()), [b"c"], "the mark of b stays in its region");
        assert_eq!((locks.len(), locks.memory_size() + groups[0].memory_size()), (2, total));
    }

    fn taken(locks: &mut PeerPessimisticLocks) -> (Vec<Vec<u8>>, bool) {
        let (taken, again) = locks.take_unproposed();
        (taken.into_iter().map(|(key, _)| key.to_raw().unwrap()).collect(), again)
    }

    #[test]
    fn a_refused_write_leaves_its_locks_valid() {
        let mut locks = table(&["a", "b"]);
        let write = Arc::new(());
        assert!(locks.mark_deleted(&Key::from_raw(b"a"), &write));
        assert_eq!(names(locks.remaining()), [b"b"]);
        drop(write);
        assert_eq!(names(locks.remaining()), [b"a", b"b"]);
    }

    #[test]
    fn a_transfer_writes_the_lock_of_a_write_that_is_refused() {
        let mut locks = table(&["a", "b", "c"]);
        let (refused, proposed) = (Arc::new(()), Arc::new(()));
        assert!(locks.mark_deleted(&Key::from_raw(b"a"), &refused));
        assert!(locks.mark_deleted(&Key::from_raw(b"c"), &proposed));
        locks.begin_transfer();
        assert_eq!(taken(&mut locks), (vec![b"b".to_vec()], true));
        drop(refused);
        assert_eq!(taken(&mut locks), (vec![b"a".to_vec()], false));
        assert_eq!(taken(&mut locks), (vec![], false), "each once");
        // A new write of the same lock is not yet known to have left the mailbox; b is in the log, so it cannot get
        // lost.
        let later = Arc::new(());
        assert!(locks.mark_deleted(&Key::from_raw(b"c"), &later));
        assert!(locks.mark_deleted(&Key::from_raw(b"b"), &later));
        assert_eq!(taken(&mut locks), (vec![], true));
        assert_eq!(taken(&mut locks), (vec![], false));
        // The next transfer writes all again.
        drop((later, proposed));
        locks.begin_transfer();
        assert_eq!(taken(&mut locks), (vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], false));
    }

    #[test]
    fn readers_of_another_term_or_version_are_refused() {
        let mut locks = table(&["a"]);
        let region = |version| Region {
            region_epoch: Some(kvproto::metapb::RegionEpoch { conf_ver: 1, version }),
            ..Default::default()
        };
        let refused =
            |locks: &PeerPessimisticLocks, term, version| match locks.check_reader(term, &region(version)) {
                Ok(()) => None,
                Err(e) => match *e.0 {
                    ErrorInner::Request(e) => Some(e),
                    other => panic!("{other}"),
                },
            };
        assert_eq!(refused(&locks, 6, 1), None);
        assert!(refused(&locks, 7, 1).unwrap().stale_command.is_some());
        assert!(refused(&locks, 6, 2).unwrap().epoch_not_match.is_some());
        locks.status = LocksStatus::IsInFlashback;
        assert!(refused(&locks, 6, 1).unwrap().flashback_in_progress.is_some());
        let flashback = Region { is_in_flashback: true, ..region(1) };
        assert!(locks.check_reader(6, &flashback).is_ok(), "a command of the flashback itself");
    }

    #[test]
    fn an_applied_write_removes_only_locks_of_its_term() {
        let table: SharedPessimisticLocks = Arc::new(RwLock::new(table(&["a", "b"])));
        let removed = |term, key: &str| RemovedLocks {
            table: table.clone(),
            term,
            version: 1,
            keys: vec![Key::from_raw(key.as_bytes())],
            write: Arc::default(),
        };
        removed(5, "a").applied();
        assert_eq!(table.read().len(), 2);
        removed(6, "a").applied();
        assert_eq!(names(table.read().remaining()), [b"b"]);
    }

    #[test]
    fn a_probe_has_the_locks_that_no_write_removes() {
        let mut table = PeerPessimisticLocks::default();
        let locks = [(Key::from_raw(b"a"), lock(5)), (Key::from_raw(b"b"), lock(7))];
        assert!(table.insert(&locks, LIMITS));
        let write = Arc::new(());
        assert!(table.mark_deleted(&Key::from_raw(b"a"), &write));
        let probe = table.probe(1, 2);
        let shown: Vec<_> =
            probe.locks.iter().map(|l| (l.key.as_str(), l.start_ts, l.for_update_ts, l.ttl_ms)).collect();
        assert_eq!((probe.store, probe.region, probe.more), (1, 2, 0));
        assert_eq!(shown, [("b", 7, 7, 3000)]);
        drop(write);
        assert_eq!(table.probe(1, 2).locks.len(), 2, "the write was refused");
    }
}
