//! Follows the requests through chunks of stamps and makes their entries. The writer does so as it writes, a reader for what
//! a killed writer had not entered yet.
use std::collections::{HashSet, VecDeque};

use super::entry::{BEGAN, Entry, JOINS};
use crate::collector::IdMap;

/// Requests on their way that are followed; past it the oldest is entered as it is.
const MAX_LIVE: usize = 65_536;

/// Checkpoints for which it is known who was entered: half a GiB of stamps, or minutes.
const GENERATIONS: usize = 16;

/// What a stamp is to the table.
#[derive(Clone, Copy)]
pub(super) enum What {
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
    /// Ids by arrival; some have been taken out since.
    arrived: VecDeque<u64>,
    ended: Vec<u64>,
    /// Requests given up because too many were on their way.
    given_up: Vec<Entry>,
    /// Ids entered at the last checkpoints, newest first: stamps that come later still are a request of their own.
    entered: VecDeque<HashSet<u64>>,
}

/// What a checkpoint writes.
#[derive(Default)]
pub(super) struct Taken {
    pub requests: Vec<Entry>,
    /// Stamps of requests that were entered before.
    pub late: Vec<Entry>,
}

impl Tracker {
    /// Goes on with what was on its way at a checkpoint.
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

    /// The slot of a request, until it is taken out.
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

    /// A stamp of the request in a slot, in the chunk with this number.
    #[inline]
    pub(super) fn stamp(&mut self, slot: usize, chunk: u32, at: u64, store: u16, what: What) {
        let entry = &mut self.slots[slot];
        if entry.chunks.near == 0 || entry.chunks.last != chunk {
            entry.chunks.insert(chunk);
        }
        entry.stamps += 1;
        if !entry.has(BEGAN) {
            entry.begin_ns = entry.begin_ns.min(at);
        }
        match what {
            What::Begin(fields) => entry.begin(at, store, fields),
            What::End => {
                if entry.end_ns == 0 {
                    self.ended.push(entry.id);
                }
                // 0 means that there is no end.
                entry.end_ns = at.max(1);
            }
            What::Mark => {}
            What::Stage(bit, joins) => {
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

    /// Takes out what has ended before the chunk with this number: some stages are stamped after the end.
    pub(super) fn take_ended(&mut self, current: u32) -> Taken {
        let (keep, out): (Vec<u64>, Vec<u64>) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|id| self.by_id.get(id).is_some_and(|slot| self.slots[*slot].chunks.last >= current));
        self.ended = keep;
        let entries = out.iter().filter_map(|id| self.remove(*id)).collect();
        self.enter(entries)
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> Taken {
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

    fn enter(&mut self, mut entries: Vec<Entry>) -> Taken {
        entries.append(&mut self.given_up);
        // Whatever it is: ids are given once.
        let known = |e: &Entry| self.entered.iter().any(|ids| ids.contains(&e.id));
        let (late, mut requests): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(known);
        requests.sort_unstable_by_key(|e| (e.begin_ns, e.id));
        self.entered.push_front(requests.iter().map(|e| e.id).collect());
        self.entered.truncate(GENERATIONS);
        if self.arrived.len() > 2 * self.by_id.len() + 1024 {
            let by_id = &self.by_id;
            self.arrived.retain(|id| by_id.contains_key(id));
        }
        Taken { requests, late }
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values().filter_map(|slot| self.slots.get(*slot))
    }
}
