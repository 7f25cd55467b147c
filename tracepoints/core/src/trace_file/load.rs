//! Loads a request: its own rows, and those of the batches and replicas that refer to its entries.
use std::{collections::BTreeMap, sync::Arc};

use super::{
    entry::{Entry, JOINS, REBUILT},
    opened::Opened,
    read::TraceFile,
    row::Row,
};
use crate::{recorded::RecordedRequest, recorder, stamp::Stamp};

/// Time window around a request, in ns, in which its read rounds are searched.
const READ_BEFORE_NS: u64 = 50_000_000;
const READ_AFTER_NS: u64 = 200_000_000;

impl TraceFile {
    /// Loads a request of the table with all its stamps.
    pub(super) fn load(&self, entry: &Entry) -> RecordedRequest {
        let mut request = entry.to_request();
        let (mut expected, mut found, mut joins) = (0u64, 0u64, false);
        let mut numbers = Vec::new();
        for part in std::iter::once(entry).chain(self.late_of(entry.id)) {
            expected += u64::from(part.stamps);
            joins |= part.has(JOINS);
            numbers.extend(part.chunks.iter());
            request.lost += self.dropped_in(part.chunks.first, part.chunks.last);
            if part.has(REBUILT) {
                let (from, to) = window(part);
                request.lost += self.lost_between(from, to, true);
            }
        }
        // Two parts of a request may name the same chunk.
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            found += self.own_rows(number, &mut request);
        }
        if joins {
            self.join(entry, &mut request);
        }
        request.truncated += expected.saturating_sub(found);
        request.put_in_order();
        request
    }

    /// Adds the request's rows of a chunk; returns their number.
    fn own_rows(&self, number: u32, request: &mut RecordedRequest) -> u64 {
        let Some(chunk) = self.chunk(number) else { return 0 };
        let body = self.body(&chunk);
        let rows = chunk.of_request(body, request.id);
        let count = rows.len() as u64;
        for row in rows.filter_map(|i| Row::nth(body, i)) {
            match self.names().stamp(&row) {
                Some(stamp) => take(request, &stamp),
                None if self.names().is_mark(row.site) => {}
                None => request.truncated += 1,
            }
        }
        count
    }

    /// Adds the stamps of batches and replicas for the request's entries and read rounds.
    fn join(&self, entry: &Entry, request: &mut RecordedRequest) {
        let mut found: Vec<(u32, u16)> = Vec::new();
        // Chunks that may have such stamps; `None` if unreadable.
        let mut asked: BTreeMap<u32, Option<Arc<Opened>>> = BTreeMap::new();
        let mut entries: Vec<_> = request.stamps.iter().filter_map(Stamp::entry).collect();
        entries.sort_unstable();
        entries.dedup();
        for wanted in entries {
            let numbers = self.index().chunks_of_entry(wanted);
            for number in numbers.chain(self.near(entry, &self.index().any_range)) {
                let chunk = asked.entry(number).or_insert_with(|| self.chunk(number));
                found.extend(chunk.iter().flat_map(|c| c.of_entry(wanted)).map(|row| (number, row)));
            }
        }
        let single = |s: &Stamp| s.entry().is_none() && s.entries().is_none();
        let mut reads: Vec<u64> =
            request.stamps.iter().filter(|s| single(s)).filter_map(Stamp::read_id).collect();
        reads.sort_unstable();
        reads.dedup();
        if !reads.is_empty() {
            for number in self.near(entry, self.chunks_with_reads()) {
                let chunk = asked.entry(number).or_insert_with(|| self.chunk(number));
                let rows = reads.iter().flat_map(|r| chunk.iter().flat_map(|c| c.of_read(*r)));
                found.extend(rows.map(|row| (number, row)));
            }
        }
        // A batch with two entries of the request belongs to it once.
        found.sort_unstable();
        found.dedup();
        for (number, row) in found {
            let Some(chunk) = asked.get(&number).and_then(Option::as_ref) else { continue };
            let stamp = Row::nth(self.body(chunk), usize::from(row)).and_then(|r| self.names().stamp(&r));
            request.stamps.extend(stamp.filter(|s| s.req.id() != request.id));
        }
        self.note_lost_joins(entry, &asked, request);
    }

    /// Counts stamps that may belong to the request and cannot be read.
    fn note_lost_joins(
        &self,
        entry: &Entry,
        asked: &BTreeMap<u32, Option<Arc<Opened>>>,
        request: &mut RecordedRequest,
    ) {
        let (from, to) = window(entry);
        for (number, chunk) in asked {
            request.lost += chunk.as_ref().map_or_else(|| self.lost_of(*number), |c| c.unnamed);
        }
        request.lost += self.lost_between(from, to, false);
    }

    /// Filters chunks by time: those written while the request was in flight.
    fn near<'a>(&'a self, entry: &Entry, numbers: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let (from, to) = window(entry);
        let chunks = numbers.iter().filter_map(|n| self.index().stamps_chunk(*n));
        let of = chunks.map(|i| &self.index().stamps[i].summary);
        of.filter(move |of| of.min_at <= to && of.max_at >= from).map(|of| of.number)
    }
}

/// The time window, in ns, in which read rounds and replicas may have stamped for a request.
fn window(entry: &Entry) -> (u64, u64) {
    let to = entry.end_ns.max(entry.begin_ns).saturating_add(READ_AFTER_NS);
    (entry.begin_ns.saturating_sub(READ_BEFORE_NS), to)
}

fn take(request: &mut RecordedRequest, stamp: &Stamp) {
    let is = |mark: &'static crate::StampSite| stamp.site.is_some_and(|s| std::ptr::eq(s, mark));
    if is(&recorder::BEGIN) {
        request.begin(stamp, stamp.at);
    } else if is(&recorder::END) {
        request.end_ns = Some(stamp.at);
        request.ending = crate::Ending::from_fields(stamp.fields);
    } else if stamp.site.is_none_or(|s| !s.is_mark()) {
        if request.store == 0 {
            request.store = u64::from(stamp.store);
        }
        request.stamps.push(*stamp);
    }
}
