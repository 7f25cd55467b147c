//! Makes entries again that no table has: of a writer that was killed, and of tables that are damaged. The stamps are what
//! was recorded, a table is only an index over them.
//!
//! A checkpoint enters who has ended since the one before; who had not stands in that one's live table. So the entries of a
//! table follow from the last whole live table before it and the stamps in between.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    chunk::{self, Kind, Met, Place},
    directory,
    entry::{Entry, JOINS, REBUILT},
    read::TraceFile,
    row::Row,
    summary::OfRequests,
    tracker::{Taken, Tracker, What},
};
use crate::{recorder, site::StampSite};

type Late = HashMap<u64, Vec<Entry>>;

/// Entries of damaged tables, by where the table stands.
#[derive(Debug, Default)]
pub(super) struct Remade {
    by_place: BTreeMap<usize, Arc<[Entry]>>,
    /// Their ids.
    given: HashSet<u64>,
    /// Tables before this offset were looked at.
    checked_to: usize,
}

/// Who was on the way at a checkpoint.
enum OnTheWay {
    Nobody,
    These(HashSet<u64>),
    /// Its live table is lost: all that had not ended.
    Unknown,
}

impl TraceFile {
    /// Makes the entries that a killed writer had in memory, and those of tables that a hole in the file swallowed.
    pub(super) fn rebuild(&mut self) {
        let tail = self.boundary(self.bytes().len()).0;
        let behind = self.index().stamps.iter().any(|c| c.place.at >= tail);
        if self.index().ending.is_none() || behind {
            self.rebuild_up_to(self.bytes().len());
        }
        let holes: Vec<usize> = self
            .index()
            .damage
            .iter()
            .map(|d| d.offset as usize)
            .filter(|at| (1..tail).contains(at))
            .collect();
        for (i, hole) in holes.iter().enumerate() {
            // One look is enough for holes without a checkpoint between them.
            let next = holes.get(i + 1).map(|next| self.boundary(*next).0);
            if next != Some(self.boundary(*hole).0) {
                self.rebuild_up_to(*hole);
            }
        }
    }

    fn rebuild_up_to(&mut self, to: usize) {
        let known_late = || self.late_tables().0;
        let mut remade = self.remade.lock();
        let mut taken = self.missing(to, &remade, known_late);
        if self.met_damaged_tables() {
            // A part of a request that such a table has is no request of its own.
            self.remake_up_to(to, &mut remade);
            taken = self.missing(to, &remade, known_late);
        }
        drop(remade);
        self.rebuilt.extend(taken.requests);
        self.rebuilt_late.extend(taken.late);
    }

    fn met_damaged_tables(&self) -> bool {
        let found = self.found.lock();
        found.iter().any(|d| self.index().requests.iter().any(|(place, _)| place.at as u64 == d.offset))
    }

    /// The entries of a damaged table.
    pub(super) fn remade(&self, place: &Place) -> Arc<[Entry]> {
        let mut remade = self.remade.lock();
        self.remake_up_to(place.at, &mut remade);
        remade.by_place.get(&place.at).cloned().unwrap_or_default()
    }

    /// Makes all damaged tables again that stand before an offset or there; in their order, since who was entered before
    /// is not entered again.
    fn remake_up_to(&self, to: usize, remade: &mut Remade) {
        let mut tables: Vec<(Place, OfRequests)> = self.index().requests.clone();
        tables.retain(|(p, _)| (remade.checked_to..=to).contains(&p.at));
        tables.sort_unstable_by_key(|(p, _)| p.at);
        for (place, of) in tables {
            if self.checked_body(&place).is_none() {
                self.remake(&place, &of, remade);
            }
            self.forget(place.at, place.end());
        }
        remade.checked_to = remade.checked_to.max(to + 1);
    }

    fn remake(&self, place: &Place, of: &OfRequests, remade: &mut Remade) {
        let taken = self.missing(place.at, remade, || self.late_tables().0);
        // Who fits a damaged table behind this one better is left to that.
        let mut damaged: HashMap<usize, bool> = HashMap::new();
        let mut theirs = |e: &Entry| {
            let mut behind = self.index().requests.iter().filter(|(p, of)| p.at > place.at && of.may_have(e));
            behind.any(|(p, _)| *damaged.entry(p.at).or_insert_with(|| self.checked_body(p).is_none()))
        };
        let ours = |e: &Entry| of.may_have(e) || !theirs(e);
        let entries: Arc<[Entry]> = taken.requests.into_iter().filter(ours).collect();
        remade.given.extend(entries.iter().map(|e| e.id));
        remade.by_place.insert(place.at, entries);
    }

    /// Requests that no table has: they were taken from their stamps, as far as they were asked for.
    pub fn rebuilt_count(&self) -> u64 {
        self.rebuilt.len() as u64 + self.remade.lock().given.len() as u64
    }

    /// What should stand in tables at or before an offset, and does not.
    fn missing(&self, to: usize, remade: &Remade, known_late: impl FnOnce() -> Late) -> Taken {
        let (from, live) = self.boundary(to);
        let mut taken = self.unknown(self.gather(from, live, to), remade, known_late);
        match self.live_behind(to) {
            OnTheWay::Nobody => {}
            OnTheWay::These(later) => taken.requests.retain(|e| !later.contains(&e.id)),
            OnTheWay::Unknown => taken.requests.retain(|e| e.end_ns != 0),
        }
        taken.requests.iter_mut().for_each(|e| e.flags |= REBUILT);
        taken.requests.sort_unstable_by_key(|e| (e.begin_ns, e.id));
        taken
    }

    /// Where the last checkpoint before an offset ends that says who was on the way, and its live table; None if nobody was.
    fn boundary(&self, before: usize) -> (usize, Option<Place>) {
        let mut ends: Vec<Place> =
            self.index().of_kind(Kind::Directory).filter(|p| p.end() <= before).collect();
        ends.sort_unstable_by_key(|p| std::cmp::Reverse(p.at));
        let found = ends.iter().find_map(|place| Some((place.end(), self.live_of(place)?)));
        found.unwrap_or((super::HEADER, None))
    }

    /// Who was on the way at the checkpoint that an offset is before: it enters them later.
    fn live_behind(&self, at: usize) -> OnTheWay {
        let Some(directory) =
            self.index().of_kind(Kind::Directory).filter(|p| p.at > at).min_by_key(|p| p.at)
        else {
            return OnTheWay::Nobody;
        };
        match self.live_of(&directory) {
            Some(None) => OnTheWay::Nobody,
            Some(Some(live)) => {
                let body = self.checked_body(&live).unwrap_or_default();
                OnTheWay::These(Entry::all(body).map(|e| e.id).collect())
            }
            None => OnTheWay::Unknown,
        }
    }

    /// The live table that a directory names, if it names one; None if that is not whole.
    fn live_of(&self, directory: &Place) -> Option<Option<Place>> {
        let head = self.bytes().get(directory.head_range()).and_then(directory::Head::get)?;
        match chunk::parse(self.bytes(), head.live as usize) {
            _ if head.live == 0 => Some(None),
            Met::Chunk(Kind::Live, live) if self.checked_body(&live).is_some() => Some(Some(live)),
            _ => None,
        }
    }

    /// Follows the requests from a checkpoint on, through the stamps up to an offset.
    fn gather(&self, from: usize, live: Option<Place>, to: usize) -> Vec<Entry> {
        let live = live.and_then(|p| self.checked_body(&p)).unwrap_or_default();
        let mut tracker = Tracker::resume(Entry::all(live));
        let bits: HashMap<&str, u8> =
            self.stages().iter().enumerate().map(|(bit, name)| (name.as_str(), bit.min(255) as u8)).collect();
        for chunk in self.index().stamps.iter().filter(|c| (from..to).contains(&c.place.at)) {
            let Some(body) = self.checked_body(&chunk.place) else { continue };
            for row in (chunk.of.loose..chunk.of.rows).filter_map(|i| Row::nth(body, i as usize)) {
                let slot = tracker.slot(row.req, row.at);
                tracker.stamp(slot, chunk.of.number, row.at, row.store, self.what(&row, &bits));
            }
            self.forget(chunk.place.at, chunk.place.end());
        }
        tracker.take_all().requests
    }

    fn what(&self, row: &Row, bits: &HashMap<&str, u8>) -> What {
        let Some(stamp) = self.names().stamp(row) else {
            return if self.names().is_mark(row.site) { What::Mark } else { What::Stage(255, false) };
        };
        let is = |mark: &'static StampSite| stamp.site.is_some_and(|s| std::ptr::eq(s, mark));
        if is(&recorder::BEGIN) {
            return What::Begin(row.fields);
        }
        if is(&recorder::END) {
            return What::End;
        }
        if self.names().is_mark(row.site) {
            return What::Mark;
        }
        let name = stamp.site.map_or("", |s| s.stage.name());
        let joins = stamp.entry().is_some() || stamp.read_id().is_some();
        What::Stage(bits.get(name).copied().unwrap_or(255), joins)
    }

    /// Of these requests those that no table has, and the parts of others that no table has.
    fn unknown(&self, gathered: Vec<Entry>, remade: &Remade, known_late: impl FnOnce() -> Late) -> Taken {
        let mut ids: Vec<u64> = gathered.iter().map(|e| e.id).collect();
        ids.sort_unstable();
        let mut entered = self.entered(&ids);
        let again = self.rebuilt.iter().chain(remade.by_place.values().flat_map(|e| e.iter()));
        entered.extend(again.filter(|e| ids.binary_search(&e.id).is_ok()).map(|e| (e.id, *e)));
        let (requests, others): (Vec<Entry>, Vec<Entry>) =
            gathered.into_iter().partition(|e| !entered.contains_key(&e.id));
        let more = |e: &Entry| {
            let known = entered.get(&e.id).map_or_else(HashSet::new, |of| of.chunks.iter().collect());
            e.chunks.iter().any(|n| !known.contains(&n))
        };
        let others: Vec<Entry> = others.into_iter().filter(more).collect();
        if others.is_empty() {
            return Taken { requests, late: Vec::new() };
        }
        let known_late = known_late();
        let part = |e: &Entry| {
            let parts = entered.get(&e.id).into_iter().chain(known_late.get(&e.id).into_iter().flatten());
            self.part(e, &parts.flat_map(|p| p.chunks.iter()).collect())
        };
        Taken { requests, late: others.iter().filter_map(part).collect() }
    }

    /// A request's stamps beyond those chunks; None if there are none.
    fn part(&self, entry: &Entry, known: &HashSet<u32>) -> Option<Entry> {
        let mut part = Entry::new(entry.id, entry.begin_ns);
        (part.stages, part.flags) = (entry.stages, entry.flags & JOINS);
        for number in entry.chunks.iter().filter(|n| !known.contains(n)) {
            let rows = self.chunk(number).map_or(0, |c| c.of_request(self.body(&c), entry.id).len());
            if rows > 0 {
                part.chunks.insert(number);
                part.stamps += rows as u32;
            }
        }
        (part.stamps > 0).then_some(part)
    }

    /// Those of `ids`, which are in order, that whole tables have.
    fn entered(&self, ids: &[u64]) -> HashMap<u64, Entry> {
        let mut out = HashMap::new();
        for (place, of) in &self.index().requests {
            let from = ids.partition_point(|id| *id < of.min_id);
            if ids.get(from).is_none_or(|id| *id > of.max_id) {
                continue;
            }
            let body = self.checked_body(place).unwrap_or_default();
            let entries = Entry::all(&body[..body.len().min(of.rows as usize * Entry::SIZE)]);
            out.extend(entries.filter(|e| ids.binary_search(&e.id).is_ok()).map(|e| (e.id, e)));
        }
        out
    }

    /// Late stamps as the tables have them, and the tables that are damaged.
    fn late_tables(&self) -> (Late, Vec<Place>) {
        let (mut late, mut damaged) = (Late::new(), Vec::new());
        for place in self.index().of_kind(Kind::Late) {
            match self.checked_body(&place) {
                Some(body) => Entry::all(body).for_each(|e| late.entry(e.id).or_default().push(e)),
                None => damaged.push(place),
            }
        }
        (late, damaged)
    }

    pub(super) fn read_late(&self) -> Late {
        let (mut late, damaged) = self.late_tables();
        let rebuilt = self.rebuilt_late.iter().copied();
        rebuilt.for_each(|e| late.entry(e.id).or_default().push(e));
        for place in damaged {
            let mut remade = self.remade.lock();
            self.remake_up_to(place.at, &mut remade);
            let parts = self.missing(place.at, &remade, || late.clone()).late;
            parts.into_iter().for_each(|e| late.entry(e.id).or_default().push(e));
        }
        late
    }
}
