//! Durations of requests and their stages, by request kind.
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tracepoints::{StageId, collector::RecordedRequest, request::RequestKind};

/// Durations of a request kind or a stage, in ns. Quantiles are accurate to 1 %, the other figures are exact.
#[derive(Clone)]
pub struct Durations {
    histogram: Histogram<u64>,
    pub count: u64,
    pub total: u64,
    pub max: u64,
}

impl Durations {
    fn new() -> Option<Self> {
        // Never fails: the histogram supports two significant digits.
        let histogram = Histogram::new(2).ok()?;
        Some(Self { histogram, count: 0, total: 0, max: 0 })
    }

    fn add(&mut self, ns: u64) {
        // `record` lets the histogram grow; `saturating_record` alone would clamp all values to 2 ns.
        if self.histogram.record(ns).is_err() {
            self.histogram.saturating_record(ns);
        }
        self.count += 1;
        self.total = self.total.saturating_add(ns);
        self.max = self.max.max(ns);
    }

    /// The quantile `q` (0 to 1), in ns.
    pub fn quantile(&self, q: f64) -> u64 {
        if q >= 1.0 { self.max } else { self.histogram.value_at_quantile(q).min(self.max) }
    }

    pub fn mean(&self) -> u64 {
        self.total.checked_div(self.count).unwrap_or(0)
    }
}

/// A request kind as a whole, or one of its stages.
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

    /// Name of the stage; `(request)` for the whole request.
    pub fn stage_name(&self) -> &'static str {
        self.stage.map_or("(request)", StageId::name)
    }
}

/// Durations of all request kinds and stages of a recording.
#[derive(Default)]
pub struct Stats {
    pub durations: BTreeMap<Measured, Durations>,
}

impl Stats {
    /// Adds a request as a whole, if it has an end.
    pub fn add_whole(&mut self, request: &RecordedRequest) {
        if let Some(ns) = request.duration_ns() {
            self.add(Measured { kind: request.kind as usize, stage: None }, ns);
        }
    }

    /// Adds a request and each of its stages.
    pub fn add_request(&mut self, request: &RecordedRequest) {
        self.add_whole(request);
        let kind = request.kind as usize;
        for span in request.spans() {
            self.add(Measured { kind, stage: Some(span.stage) }, span.dur_ns);
        }
    }

    pub(super) fn add(&mut self, what: Measured, ns: u64) {
        if let Some(durations) = self.durations.get_mut(&what) {
            return durations.add(ns);
        }
        if let Some(mut durations) = Durations::new() {
            durations.add(ns);
            self.durations.insert(what, durations);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_accurate_to_one_percent() {
        let mut durations = Durations::new().unwrap();
        (1..=1000).for_each(|ms| durations.add(ms * 1_000_000));
        for (q, wanted) in [(0.5, 500_000_000_u64), (0.99, 990_000_000), (1.0, 1_000_000_000)] {
            let found = durations.quantile(q);
            assert!(found.abs_diff(wanted) <= wanted / 100, "{q}: {found}");
        }
        durations.add(u64::MAX);
        assert_eq!((durations.quantile(1.0), durations.max), (u64::MAX, u64::MAX));
        assert_eq!(durations.count, 1001);
    }
}
