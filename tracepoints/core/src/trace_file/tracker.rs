//! Tracks the requests through chunks of stamps and makes their entries. The writer does so as it writes; a
//! reader does so for the entries that a killed writer had not written.
use std::collections::{HashSet, VecDeque};

use super::entry::{BEGAN, Entry, JOINS};
use crate::id_hash::IdMap;

/// Maximum number of requests tracked in flight; beyond it the oldest is entered as it is.
const MAX_LIVE: usize = 65_536;

/// Number of past checkpoints whose entered ids are remembered: half a GiB of stamps, or minutes.
const GENERATIONS: usize = 16;

/// Kind of a stamp, as far as the table needs it.
#[derive(Clone, Copy)]
pub(super) enum StampKind {
    Begin([u64; 4]),
    End,
    /// Another mark.
    Mark,
    /// A stage's bit, and whether the stamp names an entry or a read round.
    Stage(u8, bool),
}

#[derive(Default)]
pub(super) struct Tracker {
    slots: Vec<Entry>,
    free: Vec<usize>,
    by_id: IdMap<usize>,
    /// Ids by arrival; some have been removed since.
    arrived: VecDeque<u64>,
    ended: Vec<u64>,
    /// Requests given up because too many were in flight.
    given_up: Vec<Entry>,
    /// Ids entered at the last checkpoints, newest first; later stamps of these ids get an entry of their
    /// own.
    entered: VecDeque<HashSet<u64>>,
}

/// The entries that a checkpoint writes.
#[derive(Default)]
pub(super) struct Checkpoint {
    pub requests: Vec<Entry>,
    /// Stamps of requests that were entered before.
    pub late: Vec<Entry>,
}

impl Tracker {
    /// Continues with the requests in flight at a checkpoint.
    pub(super) fn resume(live: impl Iterator<Item = Entry>) -> Self {
        let mut tracker = Self::default();
        for entry in live {
            let slot = tracker.arrive(entry.id, entry.begin_ns);
            if entry.end_ns != 0 {
                tracker.ended.push(entry.id);
            }
            tracker.slots[slot] = entry;
        }
        tracker
    }

    /// Returns the slot of a request, valid until the request is removed.
    #[inline]
    pub(super) fn slot(&mut self, id: u64, at: u64) -> usize {
        match self.by_id.get(&id) {
            Some(slot) => *slot,
            None => self.arrive(id, at),
        }
    }

    fn arrive(&mut self, id: u64, at: u64) -> usize {
        if self.by_id.len() >= MAX_LIVE {
            self.give_up_oldest();
        }
        let entry = Entry::new(id, at);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                self.slots.len() - 1
            }
        };
        self.by_id.insert(id, slot);
        self.arrived.push_back(id);
        slot
    }

    fn give_up_oldest(&mut self) {
        while let Some(id) = self.arrived.pop_front() {
            if let Some(slot) = self.by_id.remove(&id) {
                self.free.push(slot);
                self.given_up.push(self.slots[slot]);
                return;
            }
        }
    }

    /// Takes a stamp of the request in a slot, from the chunk with this number.
    #[inline]
    pub(super) fn stamp(&mut self, slot: usize, chunk: u32, at: u64, store: u16, what: StampKind) {
        let entry = &mut self.slots[slot];
        if entry.chunks.near == 0 || entry.chunks.last != chunk {
            entry.chunks.insert(chunk);
        }
        entry.stamps += 1;
        if !entry.has(BEGAN) {
            entry.begin_ns = entry.begin_ns.min(at);
        }
        match what {
            StampKind::Begin(fields) => entry.begin(at, store, fields),
            StampKind::End => {
                if entry.end_ns == 0 {
                    self.ended.push(entry.id);
                }
                // 0 means that the end is unknown.
                entry.end_ns = at.max(1);
            }
            StampKind::Mark => {}
            StampKind::Stage(bit, joins) => {
                entry.stages.insert(bit);
                if entry.store == 0 {
                    entry.store = store;
                }
                if joins {
                    entry.flags |= JOINS;
                }
            }
        }
    }

    /// Removes the requests that ended before chunk `current`; the delay is there because some stages are
    /// stamped after the end.
    pub(super) fn take_ended(&mut self, current: u32) -> Checkpoint {
        let (keep, out): (Vec<u64>, Vec<u64>) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|id| self.by_id.get(id).is_some_and(|slot| self.slots[*slot].chunks.last >= current));
        self.ended = keep;
        let entries = out.iter().filter_map(|id| self.remove(*id)).collect();
        self.enter(entries)
    }

    /// Removes all requests.
    pub(super) fn take_all(&mut self) -> Checkpoint {
        self.ended.clear();
        let ids: Vec<u64> = self.by_id.keys().copied().collect();
        let entries = ids.iter().filter_map(|id| self.remove(*id)).collect();
        self.enter(entries)
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let slot = self.by_id.remove(&id)?;
        self.free.push(slot);
        Some(self.slots[slot])
    }

    fn enter(&mut self, mut entries: Vec<Entry>) -> Checkpoint {
        entries.append(&mut self.given_up);
        // Ids are unique, so one that was entered before gets late stamps.
        let known = |e: &Entry| self.entered.iter().any(|ids| ids.contains(&e.id));
        let (late, mut requests): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(known);
        requests.sort_unstable_by_key(|e| (e.begin_ns, e.id));
        self.entered.push_front(requests.iter().map(|e| e.id).collect());
        self.entered.truncate(GENERATIONS);
        if self.arrived.len() > 2 * self.by_id.len() + 1024 {
            let by_id = &self.by_id;
            self.arrived.retain(|id| by_id.contains_key(id));
        }
        Checkpoint { requests, late }
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values().filter_map(|slot| self.slots.get(*slot))
    }
}
