//! Folds stamps by request. Stamps of batches and replicas carry no request: they are joined by region, term
//! and index, or by the id of a read index round.
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::keep::Kept;
use crate::{
    clock,
    ending::{Ending, Wait},
    id_hash::IdMap,
    recorded::{ROOM, RecordedRequest, Why},
    recorder, ring,
    site::StampSite,
    stamp::Stamp,
};

/// A request without stamps for this many ns is given up if its stamps may have been dropped.
const GHOST_NS: u64 = 60_000_000_000;

/// Number of a request's first stamps whose cache lines are prefetched for writing.
const FIRST: usize = 16;
/// Number of requests whose stamps are prefetched before they are settled, since they have left the cache by
/// then.
const SETTLE_AHEAD: usize = 2;

/// The fold's state, bounded in size: see [`super::CollectorConfig`].
pub(crate) struct Folder {
    max_recent: usize,
    max_live: usize,
    max_stamps: usize,
    /// Requests by slot; a free slot is reused with its memory.
    slots: Vec<RecordedRequest>,
    free: Vec<usize>,
    by_id: IdMap<usize>,
    /// Id and slot of the last stamp's request: the next stamp often has the same. Id 0 is not a request.
    last: (u64, usize),
    /// Ids in flight, by arrival; some have ended since.
    live: VecDeque<u64>,
    live_count: usize,
    /// Ids and slots of ended requests, by their end; the last of them, from this round and the previous one,
    /// may still be joined.
    ended: VecDeque<(u64, usize)>,
    ended_before: usize,
    ended_now: usize,
    /// Ids that have left `ended` and are kept for a reason.
    kept: Kept,
    /// Total drops of all rings so far, and the time in ns of the last one.
    dropped: u64,
    last_drop_ns: u64,
    entries: HashMap<(u64, u64), BTreeMap<u64, u64>>,
    reads: IdMap<u64>,
    /// Stamps of this round to be joined, and those of the previous round that found no request.
    to_join: Vec<Stamp>,
    waiting: Vec<Stamp>,
    pub(crate) requests: u64,
    pub(crate) given_up: u64,
    pub(crate) unjoined: u64,
}

impl Folder {
    pub(crate) fn new(max_recent: usize, max_live: usize, max_stamps: usize) -> Self {
        Self {
            max_recent,
            max_live,
            max_stamps,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: IdMap::default(),
            last: (0, 0),
            live: VecDeque::new(),
            live_count: 0,
            ended: VecDeque::new(),
            ended_before: 0,
            ended_now: 0,
            kept: Kept::default(),
            dropped: 0,
            last_drop_ns: 0,
            entries: HashMap::new(),
            reads: IdMap::default(),
            to_join: Vec::new(),
            waiting: Vec::new(),
            requests: 0,
            given_up: 0,
            unjoined: 0,
        }
    }

    /// Takes a stamp of this round, with its time `at` in ns; stamps of different threads may come in any
    /// order.
    #[inline]
    pub(crate) fn push(&mut self, stamp: &Stamp, at: u64) {
        let Some(site) = stamp.site else { return };
        if !stamp.req.is_none() {
            self.of_request(site, stamp, at);
        }
        if site.join.any && (stamp.req.is_none() || stamp.entries().is_some()) {
            self.to_join.push(stamp.with_at(at));
        }
    }

    /// Keeps at most `max` requests for each reason returned to [`Folder::end_round_with`].
    pub(super) fn keep(mut self, max: usize) -> Self {
        self.kept = Kept::new(max);
        self
    }

    /// Changes the number kept per reason; removes the excess now.
    pub(super) fn keep_at_most(&mut self, max: usize) {
        self.kept.resize(max).into_iter().for_each(|id| self.remove(id));
    }

    /// Joins stamps without a request, now that all requests of the round are known.
    #[cfg(test)]
    pub(crate) fn end_round(&mut self) {
        self.end_round_with(&mut |_| None);
    }

    /// Ends the round like [`Folder::end_round`]. Shows each ended request to `see` once, a round later, when
    /// the stamps of other stores are there; `see` returns the reason to keep it. Its stamps are not sorted
    /// yet, because most requests are never read again.
    pub(super) fn end_round_with(&mut self, see: &mut impl FnMut(&RecordedRequest) -> Option<Why>) {
        // The proposer's stamp may come a round later than a follower's, so each waits for one round.
        let mut late = std::mem::take(&mut self.waiting);
        late.retain(|stamp| !self.join(stamp));
        self.unjoined += late.len() as u64;
        late.clear();
        let mut to_join = std::mem::replace(&mut self.to_join, late);
        to_join.retain(|stamp| !self.join(stamp) && stamp.req.is_none());
        self.waiting = to_join;
        let settled = self.ended.len() - self.ended_now;
        for i in settled - self.ended_before..settled {
            if let Some((_, soon)) = self.ended.get(i + SETTLE_AHEAD) {
                prefetch_stamps(&self.slots[*soon]);
            }
            self.settle(self.ended[i].1, see);
        }
        self.ended_before = std::mem::take(&mut self.ended_now);
        self.forget(see);
    }

    /// Updates the total drops of all rings.
    pub(super) fn note_dropped(&mut self, dropped: u64) {
        if dropped > self.dropped {
            (self.dropped, self.last_drop_ns) = (dropped, clock::now_ns());
        }
    }

    /// Returns the time of the last drop in ns; 0 without drops.
    pub(super) fn last_drop_ns(&self) -> u64 {
        self.last_drop_ns
    }

    pub(super) fn live_count(&self) -> usize {
        self.live_count
    }

    fn settle(&mut self, slot: usize, see: &mut impl FnMut(&RecordedRequest) -> Option<Why>) {
        let request = &mut self.slots[slot];
        request.lost = self.dropped.saturating_sub(request.dropped_before);
        request.why = see(request);
    }

    /// Returns the slot of a request; an unknown one gets a new slot.
    #[inline]
    fn slot(&mut self, id: u64) -> usize {
        if self.last.0 != id {
            let known = self.by_id.get(&id).copied();
            self.last = (id, known.unwrap_or_else(|| self.arrive(id)));
        }
        self.last.1
    }

    fn arrive(&mut self, id: u64) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        // Prefetch the slots used next, including their first stamps: they have left the cache.
        if let [.., later, next] = self.free[..] {
            prefetch_slot(&self.slots[later]);
            self.slots[next]
                .stamps
                .spare_capacity_mut()
                .iter()
                .take(FIRST)
                .for_each(|s| ring::prefetch_for_write(s));
        }
        match self.slots.get_mut(slot) {
            Some(used) => used.reset(id),
            None => self.slots.push(RecordedRequest::new(id)),
        }
        self.slots[slot].dropped_before = self.dropped;
        self.by_id.insert(id, slot);
        self.live.push_back(id);
        self.live_count += 1;
        slot
    }

    fn get(&self, id: u64) -> Option<&RecordedRequest> {
        self.slots.get(*self.by_id.get(&id)?)
    }

    #[inline]
    fn of_request(&mut self, site: &'static StampSite, stamp: &Stamp, at: u64) {
        let id = stamp.req.id();
        let slot = self.slot(id);
        let request = &mut self.slots[slot];
        if site.is_mark() {
            return self.mark(site, slot, stamp, at);
        }
        keep(request, stamp, at, self.max_stamps);
        if site.join.any {
            self.link(slot, stamp);
        }
    }

    fn mark(&mut self, site: &'static StampSite, slot: usize, stamp: &Stamp, at: u64) {
        let request = &mut self.slots[slot];
        if std::ptr::eq(site, &recorder::BEGIN) {
            request.begin(stamp, at);
        } else if std::ptr::eq(site, &recorder::WAITS) {
            request.wait = Wait::from_fields(stamp.fields).map(|wait| (at, wait));
        } else if std::ptr::eq(site, &recorder::END) && request.end_ns.replace(at).is_none() {
            request.ending = Ending::from_fields(stamp.fields);
            self.ended.push_back((request.id, slot));
            self.ended_now += 1;
            self.live_count -= 1;
            self.requests += 1;
        }
    }

    /// Records the entry or the read round that a request's stamp names.
    fn link(&mut self, slot: usize, stamp: &Stamp) {
        let request = &mut self.slots[slot];
        let id = request.id;
        if let Some((region, term, index)) = stamp.entry() {
            request.entries.push((region, term, index));
            self.entries.entry((region, term)).or_default().insert(index, id);
        } else if let Some(read) = stamp.read_id() {
            request.reads.push(read);
            self.reads.insert(read, id);
        }
    }

    /// Adds a stamp to all requests whose entries it covers; false if it must still be joined.
    fn join(&mut self, stamp: &Stamp) -> bool {
        let (own, max) = (stamp.req.id(), self.max_stamps);
        let range = stamp.entries().or_else(|| stamp.entry().map(|(r, t, i)| (r, t, i, i)));
        let mut found = false;
        if let Some((region, term, first, last)) = range {
            // A batch without entries belongs to no request.
            if last == 0 || first > last {
                return true;
            }
            let entries = self.entries.get(&(region, term));
            for (_, id) in entries.into_iter().flat_map(|e| e.range(first..=last)) {
                found = true;
                if let Some(slot) = self.by_id.get(id).filter(|_| *id != own) {
                    let request = &mut self.slots[*slot];
                    // A batch with two entries of the request belongs to it once.
                    if !request.stamps.last().is_some_and(|last| last.is(stamp)) {
                        keep(request, stamp, stamp.at, max);
                    }
                }
            }
            return found;
        }
        let Some(read) = stamp.read_id() else { return true };
        if let Some(slot) = self.reads.get(&read).and_then(|id| self.by_id.get(id)) {
            found = true;
            keep(&mut self.slots[*slot], stamp, stamp.at, max);
        }
        found
    }

    fn forget(&mut self, see: &mut impl FnMut(&RecordedRequest) -> Option<Why>) {
        while self.ended.len() > self.max_recent {
            let Some((id, slot)) = self.ended.pop_front() else { break };
            if self.ended.len() < self.ended_before + self.ended_now {
                // More requests end per round than are kept, so this one cannot wait for other stores'
                // stamps.
                let round = if self.ended_before > 0 { &mut self.ended_before } else { &mut self.ended_now };
                *round -= 1;
                self.settle(slot, see);
            }
            let gone = self.slots[slot].why.map_or(Some(id), |why| self.kept.push(why, id));
            gone.into_iter().for_each(|id| self.remove(id));
        }
        while self.live_count > self.max_live || self.front_is_a_ghost() {
            let Some(id) = self.live.pop_front() else { break };
            if self.get(id).is_some_and(|r| r.end_ns.is_none()) {
                self.remove(id);
                self.live_count -= 1;
                self.given_up += 1;
            }
        }
        // Ended ids stay in the queue until they are the majority; then they are removed together.
        if self.live.len() > 2 * self.live_count + 1024 {
            let mut live = std::mem::take(&mut self.live);
            live.retain(|id| self.get(*id).is_some_and(|r| r.end_ns.is_none()));
            self.live = live;
        }
    }

    /// Whether the oldest request has probably ended and the stamp of its end was dropped.
    fn front_is_a_ghost(&self) -> bool {
        if self.last_drop_ns == 0 {
            return false;
        }
        let Some(oldest) = self.live.front().and_then(|id| self.get(*id)) else { return false };
        let last = oldest.stamps.last().map_or(oldest.begin_ns, |s| s.at);
        oldest.end_ns.is_none() && last < self.last_drop_ns && clock::now_ns().saturating_sub(last) > GHOST_NS
    }

    fn remove(&mut self, id: u64) {
        let Some(slot) = self.by_id.remove(&id) else { return };
        self.last = (0, 0);
        self.free.push(slot);
        let request = &mut self.slots[slot];
        for (region, term, index) in request.entries.drain(..) {
            if let Some(entries) = self.entries.get_mut(&(region, term)) {
                if entries.get(&index) == Some(&id) {
                    entries.remove(&index);
                }
                if entries.is_empty() {
                    self.entries.remove(&(region, term));
                }
            }
        }
        for read in request.reads.drain(..) {
            if self.reads.get(&read) == Some(&id) {
                self.reads.remove(&read);
            }
        }
    }

    /// Finished requests, in the order of their end.
    pub(crate) fn recent(&self) -> Vec<RecordedRequest> {
        self.in_order(self.ended.iter().map(|(id, _)| id))
    }

    /// Requests kept for this reason, oldest first, including those still in [`Folder::recent`].
    pub(super) fn kept(&self, why: Why) -> Vec<RecordedRequest> {
        let recent =
            self.ended.iter().filter(|(_, slot)| self.slots[*slot].why == Some(why)).map(|(id, _)| *id);
        let ids: Vec<u64> = self.kept.ids(why).chain(recent).collect();
        self.in_order(ids.iter())
    }

    /// Requests in flight, oldest first.
    pub(super) fn on_their_way(&self) -> impl Iterator<Item = &RecordedRequest> {
        self.live.iter().filter_map(|id| self.get(*id)).filter(|r| r.end_ns.is_none())
    }

    /// All requests, including unfinished ones, in the order of their arrival.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        let mut ids: Vec<u64> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        self.in_order(ids.iter())
    }

    fn in_order<'a>(&self, ids: impl Iterator<Item = &'a u64>) -> Vec<RecordedRequest> {
        let mut out: Vec<RecordedRequest> = ids.filter_map(|id| self.get(*id)).cloned().collect();
        out.iter_mut().for_each(RecordedRequest::put_in_order);
        out
    }
}

/// Prefetches the cache lines of a slot itself.
#[inline]
fn prefetch_slot(request: &RecordedRequest) {
    let lines = size_of::<RecordedRequest>().div_ceil(64);
    (0..lines).for_each(|i| {
        ring::prefetch_for_read(std::ptr::from_ref(request).cast::<[u8; 64]>().wrapping_add(i))
    });
}

/// Prefetches the cache lines of a request's stamps.
#[inline]
fn prefetch_stamps(request: &RecordedRequest) {
    request.stamps.iter().take(ROOM).for_each(|s| ring::prefetch_for_read(s));
}

#[inline]
fn keep(request: &mut RecordedRequest, stamp: &Stamp, at: u64, max: usize) {
    if request.stamps.len() < max {
        request.stamps.push(stamp.with_at(at));
    } else {
        request.truncated += 1;
    }
    if request.store == 0 && !stamp.req.is_none() {
        request.store = u64::from(stamp.store);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StageId, catalogue::stage, kind::RequestKind, req::Req, thread};

    fn site(stage: StageId, fields: &'static [&'static str]) -> &'static StampSite {
        Box::leak(Box::new(StampSite::new(stage, "f.rs", 1, fields, || "f::__here")))
    }

    fn stamp(at: u64, id: u64, stage: StageId, names: &'static [&'static str], fields: [u64; 4]) -> Stamp {
        let thread = thread::id();
        Stamp {
            at,
            req: Req::from_id(id),
            site: Some(site(stage, names)),
            thread,
            fields,
            store: 1,
            ..Stamp::EMPTY
        }
    }

    fn mark(at: u64, id: u64, site: &'static StampSite, fields: [u64; 4]) -> Stamp {
        Stamp { at, req: Req::from_id(id), site: Some(site), fields, store: 1, ..Stamp::EMPTY }
    }

    fn round(folder: &mut Folder, stamps: &[Stamp]) {
        stamps.iter().for_each(|s| folder.push(s, s.at));
        folder.end_round();
    }

    const ENTRY: &[&str] = &["region", "term", "index"];
    const BATCH: &[&str] = &["region", "term", "first", "last"];

    fn stages(request: &RecordedRequest) -> Vec<&'static str> {
        request.stamps.iter().map(|s| s.site.unwrap().stage.name()).collect()
    }

    #[test]
    fn replicas_are_joined_even_if_they_are_read_first() {
        let mut folder = Folder::new(8, 8, 64);
        let follower = stamp(30, 0, stage::FOLLOWER_RECEIVE, BATCH, [1, 6, 10, 12]);
        let other_term = stamp(31, 0, stage::FOLLOWER_APPEND, BATCH, [1, 7, 10, 12]);
        round(&mut folder, &[follower, other_term]);
        let kind = (RequestKind::RawPut as u64) << 32 | 3;
        round(
            &mut folder,
            &[
                mark(1, 5, &recorder::BEGIN, [kind, 1, u64::from_be_bytes(*b"abc\0\0\0\0\0"), 0]),
                stamp(20, 5, stage::RAFT_PROPOSE, ENTRY, [1, 6, 11, 0]),
                mark(40, 5, &recorder::END, [0; 4]),
                stamp(50, 0, stage::APPLY_BEGIN, BATCH, [1, 6, 11, 11]),
                stamp(51, 0, stage::APPLY_BEGIN, BATCH, [1, 6, 12, 20]),
            ],
        );
        let recent = folder.recent();
        assert_eq!(recent.len(), 1);
        let put = &recent[0];
        assert_eq!((put.kind, put.key_head.as_slice(), put.region), (RequestKind::RawPut, &b"abc"[..], 1));
        assert_eq!((put.begin_ns, put.end_ns), (1, Some(40)));
        assert_eq!(stages(put), ["raft_propose", "follower_receive", "apply_begin"]);
        assert_eq!(folder.unjoined, 1, "the other term's");
        let trace = put.trace();
        assert!(trace.finished());
        let at: Vec<u64> = trace.steps.iter().map(|s| s.at_ns).collect();
        assert_eq!(at, [0, 10, 30]);
        assert_eq!(trace.summary().stage_ns, 20, "from the first stamp to the end");
    }

    #[test]
    fn a_batch_belongs_to_all_its_requests_stepped_or_not() {
        let mut folder = Folder::new(8, 8, 64);
        round(
            &mut folder,
            &[
                stamp(1, 5, stage::RAFT_PROPOSE, ENTRY, [1, 6, 11, 0]),
                stamp(2, 6, stage::RAFT_PROPOSE, ENTRY, [1, 6, 12, 0]),
                stamp(3, 5, stage::RAFT_READY, BATCH, [1, 6, 11, 12]),
                stamp(4, 7, stage::READ_INDEX_PROPOSE, &["region", "term", "read_id"], [1, 6, 99, 0]),
                stamp(5, 0, stage::READ_INDEX_HEARTBEAT, &["region", "read_id"], [1, 99, 0, 0]),
            ],
        );
        let all = folder.all();
        assert_eq!(stages(&all[0]), ["raft_propose", "raft_ready"], "its own stamp is not taken twice");
        assert_eq!(stages(&all[1]), ["raft_propose", "raft_ready"]);
        assert_eq!(stages(&all[2]), ["read_index_propose", "read_index_heartbeat"]);
    }

    #[test]
    fn everything_kept_is_bounded() {
        let mut folder = Folder::new(3, 4, 2);
        for id in 1..=50 {
            let index = [1, 1, id, 0];
            let mut stamps = vec![stamp(id * 10, id, stage::RAFT_PROPOSE, ENTRY, index)];
            stamps.extend((1..5).map(|i| stamp(id * 10 + i, id, stage::MVCC_GET, &[], [0; 4])));
            if id % 2 == 0 {
                stamps.push(mark(id * 10 + 9, id, &recorder::END, [0; 4]));
            }
            round(&mut folder, &stamps);
        }
        let ids: Vec<u64> = folder.recent().iter().map(|r| r.id).collect();
        assert_eq!(ids, [46, 48, 50]);
        assert!(folder.recent().iter().all(|r| (r.stamps.len(), r.truncated) == (2, 3)));
        assert_eq!((folder.requests, folder.given_up, folder.live_count), (25, 21, 4));
        assert_eq!(folder.by_id.len(), 7);
        assert_eq!(folder.entries[&(1, 1)].len(), 7, "links are removed with their requests");
    }
}
