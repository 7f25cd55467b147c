//! Requests assembled from their stamps, by the collector or from a trace file.
mod spans;
mod why;

pub use spans::Span;
pub use why::Why;

use crate::{
    ending::{Ending, Outcome, Wait},
    kind::RequestKind,
    req::{Req, RequestInfo},
    stamp::Stamp,
    stepping::{SessionEvent, StepEvent},
    trace::Trace,
};

/// Initial capacity of a request, in stamps.
pub(crate) const ROOM: usize = 32;

/// A request assembled from its stamps.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The id, as the screens and tools show it.
    pub id: u64,
    /// The kind; `Other` if the start was not seen.
    pub kind: RequestKind,
    /// The first bytes of the key, at most 16.
    pub key_head: Vec<u8>,
    /// Length of the whole key in bytes.
    pub key_len: u32,
    /// The region; 0 if unknown.
    pub region: u64,
    /// The store that served the request; 0 if unknown.
    pub store: u64,
    /// Whether the start was seen; otherwise the data starts with the first stamp.
    pub began: bool,
    /// Time of the start, or of the first stamp, in ns on the stamps' clock.
    pub begin_ns: u64,
    /// Time of the end in ns; `None` while the request is in flight.
    pub end_ns: Option<u64>,
    /// The stamps, `at` in ns since the process first read its clock or, from a file, since the Unix epoch.
    /// Sorted once the request has left the collector.
    pub stamps: Vec<Stamp>,
    /// Number of stamps known to be missing: beyond the limit, or in a damaged part of a file.
    pub truncated: u64,
    /// The end, if the request has ended.
    pub ending: Ending,
    /// The last event outside of its stages for which the request waited, and the start of that wait in ns.
    pub wait: Option<(u64, Wait)>,
    /// Number of stamps that this process's rings dropped while it was in flight, plus those in lost parts of
    /// a file: some of them may have been its own.
    pub lost: u64,
    /// Drops of all rings at the arrival.
    pub(crate) dropped_before: u64,
    /// The reason to keep the request.
    pub(crate) why: Option<Why>,
    /// Region, term and index of the proposed entries.
    pub(crate) entries: Vec<(u64, u64, u64)>,
    /// Ids of the read index rounds.
    pub(crate) reads: Vec<u64>,
}

impl RecordedRequest {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            kind: RequestKind::Other,
            key_head: Vec::new(),
            key_len: 0,
            region: 0,
            store: 0,
            began: false,
            begin_ns: 0,
            end_ns: None,
            stamps: Vec::new(),
            truncated: 0,
            ending: Ending::default(),
            wait: None,
            lost: 0,
            dropped_before: 0,
            why: None,
            entries: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Resets the slot for another request; keeps its memory unless that is unusually large.
    pub(crate) fn reset(&mut self, id: u64) {
        *self = Self {
            stamps: std::mem::take(&mut self.stamps),
            key_head: std::mem::take(&mut self.key_head),
            entries: std::mem::take(&mut self.entries),
            reads: std::mem::take(&mut self.reads),
            ..Self::new(id)
        };
        self.stamps.clear();
        self.stamps.shrink_to(ROOM);
        self.key_head.clear();
        self.entries.clear();
        self.entries.shrink_to(ROOM);
        self.reads.clear();
    }

    /// Returns the ns from its start to its end; 0 if one of them is unknown.
    pub fn took_ns(&self) -> u64 {
        self.end_ns.map_or(0, |end| end.saturating_sub(self.begin_ns))
    }

    /// Whether it exceeded its client's deadline, even if it was still answered.
    pub fn past_deadline(&self) -> bool {
        self.ending.outcome == Outcome::DeadlineExceeded
            || (self.ending.limit_ms != 0 && self.took_ns() / 1_000_000 >= self.ending.limit_ms)
    }

    /// Returns what a session would report of it.
    pub fn info(&self) -> RequestInfo {
        let key = self.key_head.clone();
        RequestInfo { id: self.id, parent: 0, kind: self.kind, key, region: self.region, store: self.store }
    }

    /// Returns the steps that a live session would show, without probes and stacks; times are real ones.
    pub fn trace(&self) -> Trace {
        let mut trace = Trace::new();
        trace.apply(&SessionEvent::Request(self.info()), None);
        let mut end = self.end_ns;
        for stamp in &self.stamps {
            if let Some(at) = end.filter(|at| *at < stamp.at) {
                trace.apply(&self.finished(at), None);
                end = None;
            }
            let mut stamp = *stamp;
            if stamp.req.id() != self.id {
                stamp.req = Req::from_id(self.id);
            }
            trace.apply(
                &SessionEvent::Step(StepEvent { stamp, engine_ns: stamp.at, at_ns: stamp.at, stack: vec![] }),
                None,
            );
        }
        if let Some(at) = end {
            trace.apply(&self.finished(at), None);
        }
        trace.note_dropped(self.truncated.saturating_add(self.lost));
        trace
    }

    /// Sorts the stamps by time; call once all of them are there.
    pub(crate) fn put_in_order(&mut self) {
        self.stamps.sort_by_key(|s| s.at);
        if !self.began {
            let own = self.stamps.iter().find(|s| s.req.id() == self.id);
            self.begin_ns = own.map(|s| s.at).or(self.end_ns).unwrap_or(self.begin_ns);
        }
    }

    fn finished(&self, at: u64) -> SessionEvent {
        SessionEvent::Finished { req: Req::from_id(self.id), at_ns: at, outcome: self.ending.outcome }
    }

    pub(crate) fn begin(&mut self, stamp: &Stamp, at: u64) {
        let [kind_and_len, region, low, high] = stamp.fields;
        self.kind =
            RequestKind::ALL.get((kind_and_len >> 32) as usize).copied().unwrap_or(RequestKind::Other);
        self.key_len = kind_and_len as u32;
        self.key_head.clear();
        self.key_head.extend_from_slice(&low.to_be_bytes());
        self.key_head.extend_from_slice(&high.to_be_bytes());
        self.key_head.truncate(self.key_len as usize);
        (self.region, self.store, self.begin_ns) = (region, u64::from(stamp.store), at);
        self.began = true;
    }
}
