//! Tail sampling: decides which finished requests are kept longer, once all of their stamps are there.
use std::collections::VecDeque;

use crate::{
    kind::RequestKind,
    recorded::{RecordedRequest, Why},
};

/// Selects the requests to keep, and their number.
#[derive(Clone, Debug, PartialEq)]
pub struct TailConfig {
    /// Threshold in ns for requests of a kind that is not in `slow_by_kind`.
    pub slow_ns: u64,
    /// Thresholds in ns of single kinds.
    pub slow_by_kind: Vec<(RequestKind, u64)>,
    /// Keeps every request whose id is a multiple of this; 0: none.
    pub one_in: u64,
    /// Maximum number of requests kept for each reason; beyond it the oldest is removed.
    pub keep: usize,
}

impl Default for TailConfig {
    fn default() -> Self {
        Self { slow_ns: 1_000_000_000, slow_by_kind: Vec::new(), one_in: 1000, keep: 256 }
    }
}

/// A caller's order to keep requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Kind of the requests; `None`: any kind.
    pub kind: Option<RequestKind>,
    /// Region of the requests; 0: any region.
    pub region: u64,
    /// Prefix of their key, of which 16 bytes count; empty: any key.
    pub key: Vec<u8>,
    /// Number of requests to keep.
    pub count: u64,
}

impl Wanted {
    fn matches(&self, request: &RecordedRequest) -> bool {
        let head = &self.key[..self.key.len().min(16)];
        self.kind.is_none_or(|k| k == request.kind)
            && (self.region == 0 || self.region == request.region)
            && request.key_head.starts_with(head)
    }
}

/// Makes the decision. Must be cheap, since it runs for every request.
pub(super) struct TailSampler {
    slow_ns: [u64; RequestKind::ALL.len()],
    one_in: u64,
    wanted: Option<Wanted>,
}

impl TailSampler {
    pub(super) fn new(config: &TailConfig) -> Self {
        let mut sampler = Self { slow_ns: [0; RequestKind::ALL.len()], one_in: 0, wanted: None };
        sampler.configure(config);
        sampler
    }

    /// Changes the configuration; an order of `Wanted` stays in force.
    pub(super) fn configure(&mut self, config: &TailConfig) {
        // No client waits for garbage collection, and its tasks wait in a queue for long.
        let slow = |kind: RequestKind| if kind.is_of_gc() { u64::MAX } else { config.slow_ns };
        self.slow_ns = RequestKind::ALL.map(slow);
        for (kind, ns) in &config.slow_by_kind {
            self.slow_ns[*kind as usize] = *ns;
        }
        self.one_in = config.one_in;
    }

    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted).filter(|w| w.count > 0);
    }

    /// Whether the request exceeded its kind's threshold.
    pub(super) fn is_slow(&self, request: &RecordedRequest) -> bool {
        request.began && request.took_ns() >= self.slow_ns[request.kind as usize]
    }

    pub(super) fn why(&mut self, request: &RecordedRequest) -> Option<Why> {
        if self.is_wanted(request) {
            Some(Why::Asked)
        } else if self.is_slow(request) || request.past_deadline() {
            Some(Why::Slow)
        } else if request.ending.outcome.failed() {
            Some(Why::Failed)
        } else if request.ending.asked {
            // Lower priority than the rarer reasons: some clients give every request a trace id.
            Some(Why::Asked)
        } else if self.one_in != 0 && request.id.is_multiple_of(self.one_in) {
            Some(Why::Sampled)
        } else {
            None
        }
    }

    fn is_wanted(&mut self, request: &RecordedRequest) -> bool {
        let Some(wanted) = self.wanted.as_mut().filter(|w| w.matches(request)) else { return false };
        wanted.count -= 1;
        if wanted.count == 0 {
            self.wanted = None;
        }
        true
    }
}

/// Ids of the kept requests by reason, oldest first.
#[derive(Default)]
pub(super) struct Kept {
    ids: [VecDeque<u64>; Why::ALL.len()],
    max: usize,
}

impl Kept {
    pub(super) fn new(max: usize) -> Self {
        Self { ids: Default::default(), max }
    }

    /// Keeps a request; returns the one that is removed for it.
    pub(super) fn push(&mut self, why: Why, id: u64) -> Option<u64> {
        let ids = &mut self.ids[why as usize];
        ids.push_back(id);
        if ids.len() > self.max { ids.pop_front() } else { None }
    }

    /// Changes the limit for each reason; returns the removed requests.
    pub(super) fn resize(&mut self, max: usize) -> Vec<u64> {
        self.max = max;
        let drain = |ids: &mut VecDeque<u64>| ids.drain(..ids.len().saturating_sub(max)).collect::<Vec<_>>();
        self.ids.iter_mut().flat_map(drain).collect()
    }

    pub(super) fn ids(&self, why: Why) -> impl Iterator<Item = u64> {
        self.ids[why as usize].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::{Ending, Outcome};

    fn request(id: u64, took_ns: u64, ending: Ending) -> RecordedRequest {
        let mut request = RecordedRequest::new(id);
        (request.kind, request.begin_ns, request.end_ns) = (RequestKind::KvGet, 10, Some(10 + took_ns));
        request.began = true;
        request.key_head = b"key-1".to_vec();
        request.ending = ending;
        request
    }

    #[test]
    fn only_slow_failed_asked_and_one_in_n_requests_are_kept() {
        let config = TailConfig {
            slow_ns: 1000,
            slow_by_kind: vec![(RequestKind::KvGet, 100)],
            one_in: 10,
            ..TailConfig::default()
        };
        let mut sampler = TailSampler::new(&config);
        let ok = Ending::with_outcome(Outcome::Ok);
        let mut why = |id, took, ending| sampler.why(&request(id, took, ending));
        assert_eq!(why(1, 99, ok), None);
        assert_eq!(why(1, 100, ok), Some(Why::Slow));
        assert_eq!(why(10, 5, ok), Some(Why::Sampled));
        assert_eq!(why(1, 5, Ending::with_outcome(Outcome::RegionError)), Some(Why::Failed));
        assert_eq!(why(1, 5, Ending::with_outcome(Outcome::Unknown)), None);
        assert_eq!(why(1, 5, Ending { asked: true, ..ok }), Some(Why::Asked));
        let late = Ending { limit_ms: 1, ..ok };
        assert_eq!(
            TailSampler::new(&TailConfig::default()).why(&request(1, 1_000_001, late)),
            Some(Why::Slow)
        );
    }

    #[test]
    fn the_wanted_number_of_requests_is_kept() {
        let mut sampler = TailSampler::new(&TailConfig { one_in: 0, ..TailConfig::default() });
        let ok = Ending::with_outcome(Outcome::Ok);
        sampler.want(Wanted { key: b"key".to_vec(), count: 2, ..Wanted::default() });
        let other = Wanted { kind: Some(RequestKind::RawGet), count: 1, ..Wanted::default() };
        assert!(!other.matches(&request(1, 5, ok)));
        let why: Vec<_> = (1..4).map(|id| sampler.why(&request(id, 5, ok))).collect();
        assert_eq!(why, [Some(Why::Asked), Some(Why::Asked), None]);
    }

    #[test]
    fn each_reason_has_its_own_limit() {
        let mut kept = Kept::new(2);
        assert_eq!([1, 2, 3].map(|id| kept.push(Why::Failed, id)), [None, None, Some(1)]);
        assert_eq!(kept.push(Why::Slow, 4), None);
        assert_eq!(kept.ids(Why::Failed).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(kept.ids(Why::Slow).collect::<Vec<_>>(), [4]);
        assert_eq!(kept.resize(1), [2]);
        assert_eq!(kept.push(Why::Failed, 5), Some(3));
    }
}
