//! The status of transactions that ended a short time ago, and of large ones that still run.
//!
//! Mirrors `src/storage/txn/txn_status_cache.rs`. The scheduler adds each transaction whose commit it sees, and clients
//! add those of which they know (`BroadcastTxnStatus`). A prewrite of a pessimistic transaction that is known to be
//! committed is a late one: it then checks the constraints that it may otherwise skip.
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use tracepoints::clock::EngineInstant;
use txn_types::TimeStamp;

/// Number of slots, each with its own mutex.
const TXN_STATUS_CACHE_SLOTS: usize = 128;
/// Time for which an entry is kept if the capacity allows it: a late request may arrive within this time.
const CACHE_ITEMS_REQUIRED_KEEP_TIME: Duration = Duration::from_secs(30);

/// Status of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnState {
    /// Neither committed nor rolled back.
    Ongoing {
        /// Minimum commit timestamp of the transaction, at least its start timestamp.
        min_commit_ts: TimeStamp,
    },
    /// Committed.
    Committed {
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
    },
    /// Rolled back.
    RolledBack,
}

impl TxnState {
    /// Reads the fields of a status that a client sent; a zero `commit_ts` means that there is no commit.
    pub fn from_ts(
        start_ts: TimeStamp,
        min_commit_ts: TimeStamp,
        commit_ts: TimeStamp,
        rolled_back: bool,
    ) -> Self {
        match (rolled_back, commit_ts.is_zero()) {
            (true, _) => TxnState::RolledBack,
            (false, true) => TxnState::Ongoing { min_commit_ts: min_commit_ts.max(start_ts) },
            (false, false) => TxnState::Committed { commit_ts },
        }
    }

    /// Returns the state after `new` has arrived; `None` if the old one stays. An ended transaction stays as it ended,
    /// and a commit below the known minimum is refused.
    fn updated(self, new: TxnState) -> Option<TxnState> {
        match (self, new) {
            (TxnState::Ongoing { min_commit_ts: old }, TxnState::Ongoing { min_commit_ts }) => {
                (min_commit_ts > old).then_some(new)
            }
            (TxnState::Ongoing { min_commit_ts }, TxnState::Committed { commit_ts }) => {
                (commit_ts >= min_commit_ts).then_some(new)
            }
            (TxnState::Ongoing { .. }, TxnState::RolledBack) => Some(new),
            (TxnState::Committed { .. } | TxnState::RolledBack, _) => None,
        }
    }
}

struct Entry {
    state: TxnState,
    updated: EngineInstant,
    /// Key in [`Slot::order`].
    used: u64,
}

/// Entries in the order of their use. The first ones are dropped if they are old, or too many.
#[derive(Default)]
struct Slot {
    entries: HashMap<TimeStamp, Entry>,
    order: BTreeMap<u64, TimeStamp>,
    next: u64,
}

impl Slot {
    fn touch(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Inserts or updates; an update does not count as a use.
    fn upsert(&mut self, start_ts: TimeStamp, state: TxnState, now: EngineInstant, capacity: usize) {
        if self.update(start_ts, state, now) {
            return;
        }
        let used = self.touch();
        self.entries.insert(start_ts, Entry { state, updated: now, used });
        self.order.insert(used, start_ts);
        self.evict(now, capacity);
    }

    /// Updates an entry; returns whether there is one.
    fn update(&mut self, start_ts: TimeStamp, state: TxnState, now: EngineInstant) -> bool {
        let Some(entry) = self.entries.get_mut(&start_ts) else { return false };
        if let Some(state) = entry.state.updated(state) {
            (entry.state, entry.updated) = (state, now);
        }
        true
    }

    fn evict(&mut self, now: EngineInstant, capacity: usize) {
        while let Some((&used, &start_ts)) = self.order.first_key_value() {
            let age = self.entries.get(&start_ts).map_or(Duration::MAX, |e| now.saturating_since(e.updated));
            if age <= CACHE_ITEMS_REQUIRED_KEEP_TIME && self.entries.len() <= capacity {
                return;
            }
            self.order.remove(&used);
            self.entries.remove(&start_ts);
        }
    }

    fn get(&mut self, start_ts: TimeStamp) -> Option<TxnState> {
        let used = self.touch();
        let entry = self.entries.get_mut(&start_ts)?;
        self.order.remove(&entry.used);
        self.order.insert(used, start_ts);
        entry.used = used;
        Some(entry.state)
    }

    fn remove(&mut self, start_ts: TimeStamp) {
        if let Some(entry) = self.entries.remove(&start_ts) {
            self.order.remove(&entry.used);
        }
    }
}

/// The cache of one store. Large transactions have entries of their own, so that others do not displace them.
///
/// TiKV: `TxnStatusCache`.
pub struct TxnStatusCache {
    /// Empty if the cache is off.
    normal: Vec<Mutex<Slot>>,
    large: Vec<Mutex<Slot>>,
    capacity_per_slot: usize,
}

impl TxnStatusCache {
    /// Creates a cache for this number of transactions of each kind; 0 turns it off.
    pub fn new(capacity: usize) -> Self {
        let slots = if capacity == 0 { 0 } else { TXN_STATUS_CACHE_SLOTS };
        let empty = || (0..slots).map(|_| Mutex::default()).collect();
        Self { normal: empty(), large: empty(), capacity_per_slot: capacity / TXN_STATUS_CACHE_SLOTS }
    }

    /// Returns the slot of the transaction; `None` if the cache is off.
    fn slot(slots: &[Mutex<Slot>], start_ts: TimeStamp) -> Option<&Mutex<Slot>> {
        // The logical part of timestamps is mostly zero: mix the bits.
        let hash = start_ts.into_inner().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        slots.get(hash as usize % slots.len().max(1))
    }

    /// Adds the status of a transaction, or updates it.
    pub fn upsert(&self, start_ts: TimeStamp, state: TxnState, now: EngineInstant) {
        let capacity = self.capacity_per_slot;
        let slots = Self::slot(&self.large, start_ts).zip(Self::slot(&self.normal, start_ts));
        let Some((large, normal)) = slots else { return };
        // Both locks in this order, as in `get`.
        let mut large = large.lock();
        match state {
            // Readers have raised the timestamp: the transaction is large, or treated as such.
            TxnState::Ongoing { min_commit_ts } if min_commit_ts > start_ts => {
                large.upsert(start_ts, state, now, capacity);
            }
            _ => {
                large.update(start_ts, state, now);
                normal.lock().upsert(start_ts, state, now, capacity);
            }
        }
    }

    /// Adds a committed transaction.
    pub fn insert_committed(&self, start_ts: TimeStamp, commit_ts: TimeStamp, now: EngineInstant) {
        self.upsert(start_ts, TxnState::Committed { commit_ts }, now);
    }

    /// Returns the status of a transaction, if it is known.
    pub fn get(&self, start_ts: TimeStamp) -> Option<TxnState> {
        let found = Self::slot(&self.large, start_ts)?.lock().get(start_ts);
        found.or_else(|| Self::slot(&self.normal, start_ts)?.lock().get(start_ts))
    }

    /// Returns the commit timestamp of a transaction that is known to be committed. Does not count as a use.
    pub fn get_committed_no_promote(&self, start_ts: TimeStamp) -> Option<TimeStamp> {
        match Self::slot(&self.normal, start_ts)?.lock().entries.get(&start_ts)?.state {
            TxnState::Committed { commit_ts } => Some(commit_ts),
            TxnState::Ongoing { .. } | TxnState::RolledBack => None,
        }
    }

    /// Drops a large transaction that has no locks left.
    pub fn remove_large_txn(&self, start_ts: TimeStamp) {
        if let Some(slot) = Self::slot(&self.large, start_ts) {
            slot.lock().remove(start_ts);
        }
    }

    /// Returns the number of entries, and the number for which memory is reserved.
    pub fn size(&self) -> (usize, usize) {
        let slots = self.normal.iter().chain(&self.large).map(|slot| {
            let slot = slot.lock();
            (slot.entries.len(), slot.entries.capacity())
        });
        slots.fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1))
    }
}

#[cfg(test)]
mod tests {
    use tracepoints::EngineClock;

    use super::*;

    fn ongoing(min_commit_ts: u64) -> TxnState {
        TxnState::Ongoing { min_commit_ts: min_commit_ts.into() }
    }

    fn committed(commit_ts: u64) -> TxnState {
        TxnState::Committed { commit_ts: commit_ts.into() }
    }

    #[test]
    fn the_fields_of_a_status_become_a_state() {
        let state = |min, commit, back| {
            TxnState::from_ts(10.into(), TimeStamp::new(min), TimeStamp::new(commit), back)
        };
        assert_eq!(state(0, 0, false), ongoing(10));
        assert_eq!(state(15, 0, false), ongoing(15));
        assert_eq!(state(15, 20, false), committed(20));
        assert_eq!(state(15, 0, true), TxnState::RolledBack);
    }

    #[test]
    fn an_ended_transaction_stays_ended() {
        let (cache, now) = (TxnStatusCache::new(1 << 10), EngineClock::now());
        cache.upsert(10.into(), ongoing(15), now);
        cache.upsert(10.into(), ongoing(12), now);
        assert_eq!(cache.get(10.into()), Some(ongoing(15)), "the timestamp only grows");
        cache.upsert(10.into(), committed(14), now);
        assert_eq!(cache.get(10.into()), Some(ongoing(15)), "no commit is below it");
        cache.upsert(11.into(), ongoing(11), now);
        cache.upsert(11.into(), TxnState::RolledBack, now);
        cache.upsert(11.into(), committed(20), now);
        assert_eq!(cache.get(11.into()), Some(TxnState::RolledBack));
        assert_eq!(cache.get_committed_no_promote(11.into()), None);
        cache.insert_committed(12.into(), 13.into(), now);
        assert_eq!(cache.get_committed_no_promote(12.into()), Some(13.into()));
    }

    #[test]
    fn a_completed_large_transaction_leaves_its_commit() {
        let (cache, now) = (TxnStatusCache::new(1 << 10), EngineClock::now());
        cache.upsert(10.into(), ongoing(15), now);
        cache.upsert(10.into(), committed(20), now);
        cache.remove_large_txn(10.into());
        assert_eq!(cache.get(10.into()), Some(committed(20)));
        assert_eq!(cache.size().0, 1);
    }

    #[test]
    fn old_and_surplus_entries_are_dropped() {
        // Two entries in each part.
        let (cache, now) = (TxnStatusCache::new(2 * TXN_STATUS_CACHE_SLOTS), EngineClock::now());
        let count = 100 * TXN_STATUS_CACHE_SLOTS as u64;
        for ts in 1..=count {
            cache.insert_committed(ts.into(), (ts + 1).into(), now);
        }
        assert!(cache.size().0 <= 2 * TXN_STATUS_CACHE_SLOTS, "{:?}", cache.size());
        assert_eq!(cache.get_committed_no_promote(1.into()), None);
        assert_eq!(cache.get_committed_no_promote(count.into()), Some((count + 1).into()));
        let mut slot = Slot::default();
        slot.upsert(1.into(), committed(2), now, 10);
        slot.upsert(2.into(), committed(3), now + CACHE_ITEMS_REQUIRED_KEEP_TIME, 10);
        assert_eq!(slot.entries.len(), 2, "not older than the time");
        slot.upsert(
            3.into(),
            committed(4),
            now + CACHE_ITEMS_REQUIRED_KEEP_TIME + Duration::from_millis(1),
            10,
        );
        assert_eq!(slot.entries.len(), 2);
        assert_eq!(slot.get(1.into()), None);
    }

    #[test]
    fn a_used_entry_outlives_others() {
        let (mut slot, now) = (Slot::default(), EngineClock::now());
        for ts in 1..=3 {
            slot.upsert(ts.into(), committed(ts + 1), now, 3);
        }
        assert_eq!(slot.get(1.into()), Some(committed(2)));
        slot.upsert(4.into(), committed(5), now, 3);
        assert_eq!((slot.get(2.into()), slot.get(1.into())), (None, Some(committed(2))));
        assert_eq!(slot.order.len(), slot.entries.len());
    }

    #[test]
    fn capacity_zero_turns_the_cache_off() {
        let (cache, now) = (TxnStatusCache::new(0), EngineClock::now());
        cache.insert_committed(1.into(), 2.into(), now);
        cache.upsert(3.into(), ongoing(5), now);
        cache.remove_large_txn(3.into());
        assert_eq!((cache.get(1.into()), cache.get(3.into()), cache.size()), (None, None, (0, 0)));
    }
}
