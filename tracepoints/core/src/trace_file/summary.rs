//! Chunk heads: summaries from which a reader decides whether it needs the body.
use std::collections::HashMap;

use super::{
    bloom,
    chunk::{u32_at, u64_at},
    entry::{Entry, StageSet},
};

/// The range of entries of one region and term that a chunk's batches and replicas refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JoinRange {
    pub region: u64,
    pub term: u64,
    pub first: u64,
    pub last: u64,
}

/// Maximum number of ranges; a chunk with more says that it may contain any entry.
const MAX_RANGES: usize = 512;

/// Head of a chunk of stamps. Its rows are sorted by request, rows without a request first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StampsSummary {
    /// Sequence number of the chunk among the chunks of stamps.
    pub number: u32,
    pub rows: u32,
    /// Number of leading rows without a request.
    pub loose: u32,
    /// Number of rows that name a request but also belong to others; their row numbers follow the rows.
    pub linked: u32,
    pub min_at: u64,
    pub max_at: u64,
    /// Number of stamps that full rings dropped since the previous chunk.
    pub dropped: u64,
    /// Whether the chunk may contain stamps of any entry.
    pub any_range: bool,
    /// Whether the chunk contains stamps of read rounds.
    pub reads: bool,
    pub ranges: Vec<JoinRange>,
}

impl StampsSummary {
    pub(super) fn put(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(56 + self.ranges.len() * 32);
        for n in [self.number, self.rows, self.loose, self.linked] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in [self.min_at, self.max_at, self.dropped] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let flags = u32::from(self.any_range) | u32::from(self.reads) << 1;
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for r in &self.ranges {
            [r.region, r.term, r.first, r.last].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        }
        out
    }

    pub(super) fn get(head: &[u8]) -> Option<Self> {
        let (flags, ranges) = (u32_at(head, 40)?, u32_at(head, 44)? as usize);
        let range = |i: usize| {
            let at = 48 + i * 32;
            Some(JoinRange {
                region: u64_at(head, at)?,
                term: u64_at(head, at + 8)?,
                first: u64_at(head, at + 16)?,
                last: u64_at(head, at + 24)?,
            })
        };
        Some(Self {
            number: u32_at(head, 0)?,
            rows: u32_at(head, 4)?,
            loose: u32_at(head, 8)?,
            linked: u32_at(head, 12)?,
            min_at: u64_at(head, 16)?,
            max_at: u64_at(head, 24)?,
            dropped: u64_at(head, 32)?,
            any_range: flags & 1 != 0,
            reads: flags & 2 != 0,
            ranges: if ranges > MAX_RANGES {
                return None;
            } else {
                (0..ranges).map(range).collect::<Option<_>>()?
            },
        })
    }
}

/// Collects the ranges of a chunk.
#[derive(Default)]
pub(super) struct Ranges(HashMap<(u64, u64), (u64, u64)>);

impl Ranges {
    pub(super) fn add(&mut self, (region, term, first, last): (u64, u64, u64, u64)) {
        let range = self.0.entry((region, term)).or_insert((first, last));
        *range = (range.0.min(first), range.1.max(last));
    }

    pub(super) fn into_summary(self, summary: &mut StampsSummary) {
        summary.any_range = self.0.len() > MAX_RANGES;
        if !summary.any_range {
            let range = |((region, term), (first, last))| JoinRange { region, term, first, last };
            summary.ranges = self.0.into_iter().map(range).collect();
            summary.ranges.sort_unstable_by_key(|r| (r.region, r.term));
        }
    }
}

/// Head of a chunk of the request table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestsSummary {
    pub rows: u32,
    /// Whether any request names entries or read rounds.
    pub joins: bool,
    pub min_id: u64,
    pub max_id: u64,
    pub min_begin: u64,
    pub max_begin: u64,
    pub max_end: u64,
    /// Longest known duration in ns.
    pub max_ns: u64,
    /// One bit per kind.
    pub kinds: u64,
    pub min_key: [u8; 16],
    pub max_key: [u8; 16],
    pub stages: StageSet,
    /// Checksum of the filter, which is read without the rest of the body; older files have none.
    pub filter_crc: Option<u32>,
}

impl RequestsSummary {
    const SIZE: usize = 132;

    pub(super) fn from_entries(entries: &[Entry]) -> Self {
        let mut summary = Self {
            rows: entries.len() as u32,
            joins: false,
            min_id: u64::MAX,
            max_id: 0,
            min_begin: u64::MAX,
            max_begin: 0,
            max_end: 0,
            max_ns: 0,
            kinds: 0,
            min_key: [u8::MAX; 16],
            max_key: [0; 16],
            stages: StageSet::default(),
            filter_crc: None,
        };
        for e in entries {
            (summary.min_id, summary.max_id) = (summary.min_id.min(e.id), summary.max_id.max(e.id));
            (summary.min_begin, summary.max_begin) =
                (summary.min_begin.min(e.begin_ns), summary.max_begin.max(e.begin_ns));
            (summary.min_key, summary.max_key) =
                (summary.min_key.min(e.key_head), summary.max_key.max(e.key_head));
            summary.max_end = summary.max_end.max(e.end_ns);
            summary.max_ns = summary.max_ns.max(e.duration_ns().unwrap_or(0));
            summary.kinds |= 1 << (e.kind() as u32 & 63);
            summary.stages.add(&e.stages);
            summary.joins |= e.has(super::entry::JOINS);
        }
        summary
    }

    pub(super) fn put(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::SIZE);
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&u32::from(self.joins).to_le_bytes());
        let numbers =
            [self.min_id, self.max_id, self.min_begin, self.max_begin, self.max_end, self.max_ns, self.kinds];
        numbers.iter().chain(&self.stages.0).for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.extend_from_slice(&self.min_key);
        out.extend_from_slice(&self.max_key);
        self.filter_crc.iter().for_each(|crc| out.extend_from_slice(&crc.to_le_bytes()));
        out
    }

    /// Whether an entry is within the bounds.
    pub(super) fn may_have(&self, e: &Entry) -> bool {
        (self.min_id..=self.max_id).contains(&e.id) && (self.min_begin..=self.max_begin).contains(&e.begin_ns)
    }

    pub(super) fn get(head: &[u8]) -> Option<Self> {
        let n = |i: usize| u64_at(head, 8 + 8 * i);
        let key = |at: usize| head.get(at..at + 16)?.try_into().ok();
        Some(Self {
            rows: u32_at(head, 0)?,
            joins: u32_at(head, 4)? != 0,
            min_id: n(0)?,
            max_id: n(1)?,
            min_begin: n(2)?,
            max_begin: n(3)?,
            max_end: n(4)?,
            max_ns: n(5)?,
            kinds: n(6)?,
            stages: StageSet([n(7)?, n(8)?, n(9)?, n(10)?]),
            min_key: key(96)?,
            max_key: key(112)?,
            filter_crc: u32_at(head, 128),
        })
    }
}

/// Encodes a chunk of the request table: its head, and its body of entries and filter.
pub(super) fn table(entries: &[Entry]) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::with_capacity(entries.len() * (Entry::SIZE + 2) + 8);
    entries.iter().for_each(|e| e.put(&mut body));
    let mut filter = bloom::Filter::for_items(2 * entries.len());
    for e in entries {
        filter.insert(bloom::of_key(e.key_head(), e.key_len));
        filter.insert(bloom::of_region(e.region));
    }
    let filter = filter.into_bytes();
    body.extend_from_slice(&filter);
    let summary = RequestsSummary {
        filter_crc: Some(crc32fast::hash(&filter)),
        ..RequestsSummary::from_entries(entries)
    };
    (summary.put(), body)
}
