//! A small cache of opened chunks: checked once, with batches and replicas sorted for joining.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    chunk::{self, Place, u16_at},
    index::StampsChunk,
    row::Row,
};
use crate::{req::Req, site::StampSite, stamp::Stamp};

/// Maximum number of cached chunks: 64 of half a MiB each, plus their join tables.
const KEPT: usize = 64;

/// A joinable row: its range of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    region: u64,
    term: u64,
    first: u64,
    last: u64,
    reach: u64,
    row: u16,
}

#[derive(Debug, Default)]
pub(super) struct Opened {
    pub place: Option<Place>,
    pub rows: usize,
    loose: usize,
    /// Rows of an unknown stage (its table is lost) that may also belong to other requests.
    pub unnamed: u64,
    batches: Vec<Batch>,
    reads: Vec<(u64, u16)>,
}

/// Sites and threads, by their number in the file.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub sites: Vec<Option<&'static StampSite>>,
    pub threads: Vec<u16>,
    /// Numbers of sites that are marks and belong to no stage.
    pub marks: std::collections::HashSet<u32>,
}

impl Names {
    /// Whether the site is a mark, even of a kind unknown to this program.
    pub(super) fn is_mark(&self, site: u32) -> bool {
        self.marks.contains(&site)
    }

    /// Decodes a row; `None` if the stage is unknown to this program or the site is lost.
    pub(super) fn stamp(&self, row: &Row) -> Option<Stamp> {
        let site = self.sites.get(row.site as usize).copied().flatten()?;
        Some(Stamp {
            at: row.at,
            req: Req::from_id(row.req),
            site: Some(site),
            thread: self.threads.get(usize::from(row.thread)).copied().unwrap_or(u16::MAX),
            store: row.store,
            field_count: site.fields.len() as u32,
            fields: row.fields,
        })
    }
}

impl Opened {
    fn open(bytes: &[u8], chunk: &StampsChunk, names: &Names) -> Self {
        let body = bytes.get(chunk.place.body_range()).unwrap_or_default();
        let (rows, loose) =
            (chunk.summary.rows as usize, (chunk.summary.loose as usize).min(chunk.summary.rows as usize));
        let mut opened = Self { place: Some(chunk.place), rows, loose, ..Self::default() };
        let linked =
            (0..chunk.summary.linked as usize).filter_map(|i| u16_at(body, rows * Row::SIZE + 2 * i));
        for row in (0..loose.min(usize::from(u16::MAX)) as u16).chain(linked) {
            let Some(at) = Row::nth(body, usize::from(row)) else { continue };
            match names.stamp(&at) {
                Some(stamp) => opened.take(&stamp, row),
                None => opened.unnamed += u64::from(!names.is_mark(at.site)),
            }
        }
        opened.batches.sort_unstable();
        for i in 1..opened.batches.len() {
            let before = opened.batches[i - 1];
            let batch = &mut opened.batches[i];
            if (before.region, before.term) == (batch.region, batch.term) {
                batch.reach = batch.reach.max(before.reach);
            }
        }
        opened.reads.sort_unstable();
        opened
    }

    /// Adds a stamp's range of entries or read round, the same keys that the live fold joins by.
    fn take(&mut self, stamp: &Stamp, row: u16) {
        let single = stamp.entry().filter(|_| stamp.req.is_none()).map(|(r, t, i)| (r, t, i, i));
        if let Some((region, term, first, last)) = stamp.entries().or(single) {
            if last != 0 && first <= last {
                self.batches.push(Batch { region, term, first, last, reach: last, row });
            }
        } else if let Some(read) = stamp.read_id() {
            self.reads.push((read, row));
        }
    }

    pub(super) fn of_entry(&self, (region, term, index): (u64, u64, u64)) -> impl Iterator<Item = u16> {
        let end = self.batches.partition_point(|b| (b.region, b.term, b.first) <= (region, term, index));
        let same = move |b: &&Batch| (b.region, b.term) == (region, term) && b.reach >= index;
        self.batches[..end].iter().rev().take_while(same).filter(move |b| b.last >= index).map(|b| b.row)
    }

    pub(super) fn of_read(&self, read: u64) -> impl Iterator<Item = u16> {
        let from = self.reads.partition_point(|(id, _)| *id < read);
        self.reads[from..].iter().take_while(move |(id, _)| *id == read).map(|(_, row)| *row)
    }

    /// Returns the index range of a request's rows, which are adjacent.
    pub(super) fn of_request(&self, body: &[u8], id: u64) -> std::ops::Range<usize> {
        let below = |wanted: u64| {
            let (mut from, mut to) = (self.loose, self.rows);
            while from < to {
                let middle = from + (to - from) / 2;
                match Row::req_of(body, middle) {
                    Some(req) if req < wanted => from = middle + 1,
                    _ => to = middle,
                }
            }
            from
        };
        let from = below(id);
        from..below(id.saturating_add(1)).max(from)
    }
}

/// The cached chunks.
#[derive(Debug, Default)]
pub(super) struct Cache {
    by_number: HashMap<u32, Option<Arc<Opened>>>,
    order: VecDeque<(u32, Place)>,
    /// Result of each checksum check so far, by chunk number.
    checked: HashMap<u32, bool>,
}

/// Result of opening a chunk.
pub(super) struct CacheLookup {
    /// The chunk; `None` if it is damaged.
    pub chunk: Option<Arc<Opened>>,
    /// Whether this call was the first to find the damage.
    pub newly_damaged: bool,
    /// A chunk that the cache evicted.
    pub gone: Option<Place>,
}

impl Cache {
    pub(super) fn get(&mut self, bytes: &[u8], chunk: &StampsChunk, names: &Names) -> CacheLookup {
        let number = chunk.summary.number;
        if let Some(known) = self.by_number.get(&number) {
            return CacheLookup { chunk: known.clone(), newly_damaged: false, gone: None };
        }
        let before = self.checked.get(&number).copied();
        let whole = before.unwrap_or_else(|| chunk::body_is_whole(bytes, &chunk.place));
        self.checked.insert(number, whole);
        let opened = whole.then(|| Arc::new(Opened::open(bytes, chunk, names)));
        self.by_number.insert(number, opened.clone());
        self.order.push_back((number, chunk.place));
        let gone = if self.order.len() > KEPT { self.order.pop_front() } else { None };
        if let Some((number, _)) = gone {
            self.by_number.remove(&number);
        }
        CacheLookup {
            chunk: opened,
            newly_damaged: !whole && before.is_none(),
            gone: gone.map(|(_, place)| place),
        }
    }
}
