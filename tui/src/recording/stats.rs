//! How long requests and their stages take, added up by type.
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tracepoints::{StageId, collector::RecordedRequest, request::RequestKind};

/// Durations of one thing, in ns; quantiles are exact to one percent, the rest wholly.
#[derive(Clone)]
pub struct Durations {
    histogram: Histogram<u64>,
    pub count: u64,
    pub total: u64,
    pub max: u64,
}

impl Durations {
    fn new() -> Option<Self> {
        // Two digits are always within what the histogram takes.
        let histogram = Histogram::new(2).ok()?;
        Some(Self { histogram, count: 0, total: 0, max: 0 })
    }

    fn add(&mut self, ns: u64) {
        // It grows with what it is given; `saturating_record` would not, and cut off at 2 ns.
        if self.histogram.record(ns).is_err() {
            self.histogram.saturating_record(ns);
        }
        self.count += 1;
        self.total = self.total.saturating_add(ns);
        self.max = self.max.max(ns);
    }

    pub fn quantile(&self, q: f64) -> u64 {
        if q >= 1.0 { self.max } else { self.histogram.value_at_quantile(q).min(self.max) }
    }

    pub fn mean(&self) -> u64 {
        self.total.checked_div(self.count).unwrap_or(0)
    }
}

/// What is measured: a request type as a whole, or one of its stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measured {
    kind: usize,
    stage: Option<StageId>,
}

impl Measured {
    pub fn kind(&self) -> RequestKind {
        RequestKind::ALL.get(self.kind).copied().unwrap_or(RequestKind::Other)
    }

    /// None: the whole request.
    pub fn stage(&self) -> Option<StageId> {
        self.stage
    }

    pub fn stage_name(&self) -> &'static str {
        self.stage.map_or("(request)", StageId::name)
    }
}

#[derive(Default)]
pub struct Stats {
    pub of: BTreeMap<Measured, Durations>,
}

impl Stats {
    /// Takes a request as a whole, if it has an end.
    pub fn add_whole(&mut self, request: &RecordedRequest) {
        if let Some(ns) = request.duration_ns() {
            self.add(Measured { kind: request.kind as usize, stage: None }, ns);
        }
    }

    /// Takes a request and each of its stages.
    pub fn add_request(&mut self, request: &RecordedRequest) {
        self.add_whole(request);
        let kind = request.kind as usize;
        for span in request.spans() {
            self.add(Measured { kind, stage: Some(span.stage) }, span.dur_ns);
        }
    }

    pub(super) fn add(&mut self, what: Measured, ns: u64) {
        if let Some(durations) = self.of.get_mut(&what) {
            return durations.add(ns);
        }
        if let Some(mut durations) = Durations::new() {
            durations.add(ns);
            self.of.insert(what, durations);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut durations = Durations::new().unwrap();
        (1..=1000).for_each(|ms| durations.add(ms * 1_000_000));
        for (q, wanted) in [(0.5, 500_000_000_u64), (0.99, 990_000_000), (1.0, 1_000_000_000)] {
            let met = durations.quantile(q);
            assert!(met.abs_diff(wanted) <= wanted / 100, "{q}: {met}");
        }
        durations.add(u64::MAX);
        assert_eq!((durations.quantile(1.0), durations.max), (u64::MAX, u64::MAX));
        assert_eq!(durations.count, 1001);
    }
}
