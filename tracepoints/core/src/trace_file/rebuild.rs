//! Rebuilds entries that no table has: those of a killed writer and those of damaged tables. The stamps are
//! the recording; the tables are only an index over them.
//!
//! A checkpoint writes entries of the requests that ended since the previous checkpoint; requests still in
//! flight are in its live table. So the entries of a table follow from the last intact live table before it
//! and the stamps in between.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    chunk::{self, ChunkScan, Kind, Place},
    directory,
    entry::{Entry, JOINS, REBUILT},
    read::TraceFile,
    rebuilt::RebuiltTables,
    row::Row,
    summary::RequestsSummary,
    tracker::{Checkpoint, StampKind, Tracker},
};
use crate::{recorder, site::StampSite};

type Late = HashMap<u64, Vec<Entry>>;

/// The requests in flight at a checkpoint.
enum InFlightAtCheckpoint {
    None,
    Ids(HashSet<u64>),
    /// The table of the requests in flight is lost: any request that had not ended.
    Unknown,
}

impl TraceFile {
    /// Rebuilds the entries that a killed writer had only in memory, and those of tables lost in a damaged
    /// part.
    pub(super) fn rebuild(&mut self) {
        let tail = self.boundary(self.bytes().len()).0;
        let after = self.index().stamps.iter().any(|c| c.place.at >= tail);
        if self.index().ending.is_none() || after {
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
            // One rebuild covers all damage without a checkpoint in between.
            let next = holes.get(i + 1).map(|next| self.boundary(*next).0);
            if next != Some(self.boundary(*hole).0) {
                self.rebuild_up_to(*hole);
            }
        }
    }

    fn rebuild_up_to(&mut self, to: usize) {
        let known_late = || self.late_tables().0;
        let mut rebuilt_tables = self.rebuilt_tables.lock();
        let mut taken = self.missing(to, &rebuilt_tables, known_late);
        if self.found_damaged_tables() {
            // Requests of damaged tables must be rebuilt first: their parts are not separate requests.
            self.rebuild_tables_up_to(to, &mut rebuilt_tables);
            taken = self.missing(to, &rebuilt_tables, known_late);
        }
        drop(rebuilt_tables);
        self.rebuilt.extend(taken.requests);
        self.rebuilt_late.extend(taken.late);
    }

    fn found_damaged_tables(&self) -> bool {
        let found = self.found.lock();
        found.iter().any(|d| self.index().requests.iter().any(|(place, _)| place.at as u64 == d.offset))
    }

    /// Returns the entries of a damaged table.
    pub(super) fn rebuilt_entries(&self, place: &Place) -> Arc<[Entry]> {
        let mut rebuilt_tables = self.rebuilt_tables.lock();
        self.rebuild_tables_up_to(place.at, &mut rebuilt_tables);
        rebuilt_tables.by_place.get(&place.at).cloned().unwrap_or_default()
    }

    /// Rebuilds all damaged tables up to offset `to`, included. In file order, since a request that an
    /// earlier table has is not entered again.
    fn rebuild_tables_up_to(&self, to: usize, rebuilt_tables: &mut RebuiltTables) {
        let mut tables: Vec<(Place, RequestsSummary)> = self.index().requests.clone();
        tables.retain(|(p, _)| (rebuilt_tables.checked_to..=to).contains(&p.at));
        tables.sort_unstable_by_key(|(p, _)| p.at);
        for (place, summary) in tables {
            if self.checked_body(&place).is_none() {
                self.rebuild_table(&place, &summary, rebuilt_tables);
            }
            self.forget(place.at, place.end());
        }
        rebuilt_tables.checked_to = rebuilt_tables.checked_to.max(to + 1);
    }

    fn rebuild_table(&self, place: &Place, summary: &RequestsSummary, rebuilt_tables: &mut RebuiltTables) {
        let taken = self.missing(place.at, rebuilt_tables, || self.late_tables().0);
        // A later damaged table whose range fits the request is the better place for it.
        let mut damaged: HashMap<usize, bool> = HashMap::new();
        let mut theirs = |e: &Entry| {
            let mut later =
                self.index().requests.iter().filter(|(p, summary)| p.at > place.at && summary.may_have(e));
            later.any(|(p, _)| *damaged.entry(p.at).or_insert_with(|| self.checked_body(p).is_none()))
        };
        let ours = |e: &Entry| summary.may_have(e) || !theirs(e);
        let entries: Arc<[Entry]> = taken.requests.into_iter().filter(ours).collect();
        rebuilt_tables.ids.extend(entries.iter().map(|e| e.id));
        rebuilt_tables.by_place.insert(place.at, entries);
    }

    /// Number of requests that no table has and that were rebuilt from their stamps so far.
    pub fn rebuilt_count(&self) -> u64 {
        self.rebuilt.len() as u64 + self.rebuilt_tables.lock().ids.len() as u64
    }

    /// Returns the entries that tables up to an offset should have and lack.
    fn missing(
        &self,
        to: usize,
        rebuilt_tables: &RebuiltTables,
        known_late: impl FnOnce() -> Late,
    ) -> Checkpoint {
        let (from, live) = self.boundary(to);
        let mut taken = self.unknown(self.gather(from, live, to), rebuilt_tables, known_late);
        match self.live_after(to) {
            InFlightAtCheckpoint::None => {}
            InFlightAtCheckpoint::Ids(later) => taken.requests.retain(|e| !later.contains(&e.id)),
            InFlightAtCheckpoint::Unknown => taken.requests.retain(|e| e.end_ns != 0),
        }
        taken.requests.iter_mut().for_each(|e| e.flags |= REBUILT);
        taken.requests.sort_unstable_by_key(|e| (e.begin_ns, e.id));
        taken
    }

    /// Finds the last checkpoint before an offset with an intact record of live requests: its end and its
    /// live table, if any.
    fn boundary(&self, before: usize) -> (usize, Option<Place>) {
        let mut ends: Vec<Place> =
            self.index().of_kind(Kind::Directory).filter(|p| p.end() <= before).collect();
        ends.sort_unstable_by_key(|p| std::cmp::Reverse(p.at));
        let found = ends.iter().find_map(|place| Some((place.end(), self.live_of(place)?)));
        found.unwrap_or((super::HEADER, None))
    }

    /// Returns the requests in flight at the next checkpoint after an offset, which later tables have.
    fn live_after(&self, at: usize) -> InFlightAtCheckpoint {
        let Some(directory) =
            self.index().of_kind(Kind::Directory).filter(|p| p.at > at).min_by_key(|p| p.at)
        else {
            return InFlightAtCheckpoint::None;
        };
        match self.live_of(&directory) {
            Some(None) => InFlightAtCheckpoint::None,
            Some(Some(live)) => {
                let body = self.checked_body(&live).unwrap_or_default();
                InFlightAtCheckpoint::Ids(Entry::all(body).map(|e| e.id).collect())
            }
            None => InFlightAtCheckpoint::Unknown,
        }
    }

    /// Returns the live table of a directory, `Some(None)` if it has none; `None` if the table is damaged.
    fn live_of(&self, directory: &Place) -> Option<Option<Place>> {
        let head = self.bytes().get(directory.head_range()).and_then(directory::Head::get)?;
        match chunk::parse(self.bytes(), head.live as usize) {
            _ if head.live == 0 => Some(None),
            ChunkScan::Chunk(Kind::Live, live) if self.checked_body(&live).is_some() => Some(Some(live)),
            _ => None,
        }
    }

    /// Tracks the requests from a checkpoint through the stamps up to an offset.
    fn gather(&self, from: usize, live: Option<Place>, to: usize) -> Vec<Entry> {
        let live = live.and_then(|p| self.checked_body(&p)).unwrap_or_default();
        let mut tracker = Tracker::resume(Entry::all(live));
        let bits: HashMap<&str, u8> =
            self.stages().iter().enumerate().map(|(bit, name)| (name.as_str(), bit.min(255) as u8)).collect();
        for chunk in self.index().stamps.iter().filter(|c| (from..to).contains(&c.place.at)) {
            let Some(body) = self.checked_body(&chunk.place) else { continue };
            for row in (chunk.summary.loose..chunk.summary.rows).filter_map(|i| Row::nth(body, i as usize)) {
                let slot = tracker.slot(row.req, row.at);
                tracker.stamp(slot, chunk.summary.number, row.at, row.store, self.stamp_kind(&row, &bits));
            }
            self.forget(chunk.place.at, chunk.place.end());
        }
        tracker.take_all().requests
    }

    fn stamp_kind(&self, row: &Row, bits: &HashMap<&str, u8>) -> StampKind {
        let Some(stamp) = self.names().stamp(row) else {
            return if self.names().is_mark(row.site) {
                StampKind::Mark
            } else {
                StampKind::Stage(255, false)
            };
        };
        let is = |mark: &'static StampSite| stamp.site.is_some_and(|s| std::ptr::eq(s, mark));
        if is(&recorder::BEGIN) {
            return StampKind::Begin(row.fields);
        }
        if is(&recorder::END) {
            return StampKind::End;
        }
        if self.names().is_mark(row.site) {
            return StampKind::Mark;
        }
        let name = stamp.site.map_or("", |s| s.stage.name());
        let joins = stamp.entry().is_some() || stamp.read_id().is_some();
        StampKind::Stage(bits.get(name).copied().unwrap_or(255), joins)
    }

    /// Keeps the requests that no table has, and those parts of other requests that no table has.
    fn unknown(
        &self,
        gathered: Vec<Entry>,
        rebuilt_tables: &RebuiltTables,
        known_late: impl FnOnce() -> Late,
    ) -> Checkpoint {
        let mut ids: Vec<u64> = gathered.iter().map(|e| e.id).collect();
        ids.sort_unstable();
        let mut entered = self.entered(&ids);
        let again = self.rebuilt.iter().chain(rebuilt_tables.by_place.values().flat_map(|e| e.iter()));
        entered.extend(again.filter(|e| ids.binary_search(&e.id).is_ok()).map(|e| (e.id, *e)));
        let (requests, others): (Vec<Entry>, Vec<Entry>) =
            gathered.into_iter().partition(|e| !entered.contains_key(&e.id));
        let more = |e: &Entry| {
            let known = entered.get(&e.id).map_or_else(HashSet::new, |entry| entry.chunks.iter().collect());
            e.chunks.iter().any(|n| !known.contains(&n))
        };
        let others: Vec<Entry> = others.into_iter().filter(more).collect();
        if others.is_empty() {
            return Checkpoint { requests, late: Vec::new() };
        }
        let known_late = known_late();
        let part = |e: &Entry| {
            let parts = entered.get(&e.id).into_iter().chain(known_late.get(&e.id).into_iter().flatten());
            self.part(e, &parts.flat_map(|p| p.chunks.iter()).collect())
        };
        Checkpoint { requests, late: others.iter().filter_map(part).collect() }
    }

    /// Returns the request's stamps outside of the `known` chunks; `None` if there are none.
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

    /// Finds those of the sorted `ids` that intact tables have.
    fn entered(&self, ids: &[u64]) -> HashMap<u64, Entry> {
        let mut out = HashMap::new();
        for (place, summary) in &self.index().requests {
            let from = ids.partition_point(|id| *id < summary.min_id);
            if ids.get(from).is_none_or(|id| *id > summary.max_id) {
                continue;
            }
            let body = self.checked_body(place).unwrap_or_default();
            let entries = Entry::all(&body[..body.len().min(summary.rows as usize * Entry::SIZE)]);
            out.extend(entries.filter(|e| ids.binary_search(&e.id).is_ok()).map(|e| (e.id, e)));
        }
        out
    }

    /// Returns the late stamps of all tables, and the damaged tables.
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
            let mut rebuilt_tables = self.rebuilt_tables.lock();
            self.rebuild_tables_up_to(place.at, &mut rebuilt_tables);
            let parts = self.missing(place.at, &rebuilt_tables, || late.clone()).late;
            parts.into_iter().for_each(|e| late.entry(e.id).or_default().push(e));
        }
        late
    }
}
