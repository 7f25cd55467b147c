//! TiKV's metrics, counted by the collector from complete requests: no request's thread spends time on them.
//!
//! The counts are plain integers of one thread, with a small writer of Prometheus' text format: a registry
//! crate would add atomics, locks and label maps that nothing here needs.
mod counters;
mod families;
mod histogram;
#[cfg(test)]
mod tests;
mod text;

use counters::Counters;
use families::{DURATIONS, Labels, Point};
use histogram::Histogram;
pub use text::TextWriter;

use crate::recorded::RecordedRequest;
use crate::{StageId, catalogue::STAGES, ending::Outcome, kind::RequestKind};

const KINDS: usize = RequestKind::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Set of stages that a request has reached, one bit each.
type Mask = u128;
const _: () = assert!(STAGES.len() <= Mask::BITS as usize);

fn bit(stage: StageId) -> Mask {
    1 << stage.0
}

fn mask(stages: &[StageId]) -> Mask {
    stages.iter().fold(0, |m, s| m | bit(*s))
}

/// The stages that a row of [`DURATIONS`] requires and excludes, as masks.
struct Need {
    all: Mask,
    none: Mask,
}

/// The counts of all stores in this process.
pub(super) struct Metrics {
    needs: Vec<Need>,
    /// Time at which the current request reached each stage; valid for the stages in its mask.
    first: Box<[u64; STAGES.len()]>,
    stores: Vec<Store>,
    reject_reason: fn(u64) -> &'static str,
}

struct Store {
    id: u64,
    /// By row of [`DURATIONS`] and kind.
    durations: Vec<Option<Histogram>>,
    requests: Box<[[u64; OUTCOMES]; KINDS]>,
    counters: Counters,
}

impl Store {
    fn new(id: u64) -> Self {
        let durations = vec![None; DURATIONS.len() * KINDS];
        Self { id, durations, requests: Box::new([[0; OUTCOMES]; KINDS]), counters: Counters::default() }
    }
}

impl Metrics {
    pub(super) fn new(reject_reason: fn(u64) -> &'static str) -> Self {
        let point = |p: Point| if let Point::At(stage) = p { bit(stage) } else { 0 };
        let need = |d: &families::Duration| Need {
            all: mask(d.with) | point(d.from) | point(d.to),
            none: mask(d.without),
        };
        let needs = DURATIONS.iter().map(need).collect();
        Self { needs, first: Box::new([0; STAGES.len()]), stores: Vec::new(), reject_reason }
    }

    /// Counts an ended request; its stamps may be in any order.
    pub(super) fn count(&mut self, request: &RecordedRequest) {
        let Some(end) = request.end_ns.filter(|_| request.began) else { return };
        let at = match self.stores.iter().position(|s| s.id == request.store) {
            Some(at) => at,
            None => {
                self.stores.push(Store::new(request.store));
                self.stores.len() - 1
            }
        };
        let (store, first) = (&mut self.stores[at], &mut self.first);
        let kind = request.kind as usize;
        store.requests[kind][request.ending.outcome as usize] += 1;
        let mut seen: Mask = 0;
        for stamp in &request.stamps {
            let Some(site) = stamp.site.filter(|_| u64::from(stamp.store) == request.store) else { continue };
            store.counters.count(request.kind, site.stage, stamp);
            let first = &mut first[usize::from(site.stage.0)];
            *first = if seen & bit(site.stage) == 0 { stamp.at } else { stamp.at.min(*first) };
            seen |= bit(site.stage);
        }
        store.counters.count_request(request, seen);
        let when = |p: Point, first: &[u64]| match p {
            Point::Begin => request.begin_ns,
            Point::End => end,
            Point::At(stage) => first[usize::from(stage.0)],
        };
        let is_rpc = !request.kind.is_of_gc();
        for (i, need) in self.needs.iter().enumerate() {
            let row = &DURATIONS[i];
            let fits = is_rpc || !matches!(row.labels, Labels::Rpc(_));
            if fits && seen & need.all == need.all && seen & need.none == 0 {
                let ns = when(row.to, &**first).saturating_sub(when(row.from, &**first));
                let slot = &mut store.durations[i * KINDS + kind];
                slot.get_or_insert_with(|| Histogram::new(&row.buckets)).observe(&row.buckets, ns);
            }
        }
    }

    /// Writes the counts of one store.
    pub(super) fn write(&self, store: u64, out: &mut TextWriter) {
        if let Some(store) = self.stores.iter().find(|s| s.id == store) {
            text::durations(&store.durations, out);
            store.counters.write(self.reject_reason, out);
            text::requests(&store.requests, out);
        }
    }
}
