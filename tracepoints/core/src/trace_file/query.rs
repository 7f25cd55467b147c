//! Filters for the requests of a recording.
pub(super) use super::entry::KEY_HEAD;
use crate::{
    catalogue::StageId,
    kind::RequestKind,
    recorded::{RecordedRequest, Span},
};

/// A filter: all conditions that are set must hold. The default matches every request.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The request with this id.
    pub request: Option<u64>,
    /// One of these kinds; empty: any.
    pub kinds: Vec<RequestKind>,
    /// Requests of this region.
    pub region: Option<u64>,
    /// Requests that this store served.
    pub store: Option<u64>,
    /// The first user key. A recording has only its first 16 bytes and its length, so longer keys with both
    /// equal match too.
    pub key: Option<Vec<u8>>,
    /// Prefix of the key; only its first 16 bytes count.
    pub key_prefix: Vec<u8>,
    /// Stages that the request must have reached, all of them.
    pub stages: Vec<StageId>,
    /// Minimum duration of the request in ns; with `stages`, of one of them. A request without a known end
    /// has no duration.
    pub min_ns: u64,
    /// Earliest begin, inclusive; Unix ns.
    pub since_ns: Option<u64>,
    /// Latest begin, exclusive; Unix ns.
    pub until_ns: Option<u64>,
}

impl Query {
    /// Whether a request matches, as far as its stages are not needed.
    pub(super) fn wants(&self, r: &RecordedRequest) -> bool {
        self.request.is_none_or(|id| id == r.id)
            && (self.kinds.is_empty() || self.kinds.contains(&r.kind))
            && self.region.is_none_or(|region| region == r.region)
            && self.store.is_none_or(|store| store == r.store)
            && self.since_ns.is_none_or(|since| r.begin_ns >= since)
            && self.until_ns.is_none_or(|until| r.begin_ns < until)
            && self.key.as_ref().is_none_or(|key| same_key(key, &r.key_head, r.key_len))
            && begins_with(&self.key_prefix, &r.key_head, r.key_len)
    }

    /// Whether a request matches.
    pub fn matches(&self, request: &RecordedRequest) -> bool {
        self.wants(request) && self.stages_match(request)
    }

    fn stages_match(&self, request: &RecordedRequest) -> bool {
        if self.stages.is_empty() {
            return self.min_ns == 0 || request.duration_ns().is_some_and(|ns| ns >= self.min_ns);
        }
        let spans = request.spans();
        let took =
            |stage: StageId| spans.iter().filter(move |s: &&Span| s.stage == stage).map(|s| s.dur_ns).max();
        let longest: Option<Vec<u64>> = self.stages.iter().map(|s| took(*s)).collect();
        longest.is_some_and(|longest| longest.iter().any(|ns| *ns >= self.min_ns))
    }
}

fn same_key(key: &[u8], head: &[u8], len: u32) -> bool {
    key.len() == len as usize && key[..key.len().min(KEY_HEAD)] == *head
}

fn begins_with(prefix: &[u8], head: &[u8], len: u32) -> bool {
    prefix.len() <= len as usize && head.starts_with(&prefix[..prefix.len().min(KEY_HEAD)])
}
