//! A session's configuration and its events.
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::StageId,
    ending::Outcome,
    probe::Probe,
    recorder::Stamp,
    request::{Req, RequestInfo, RequestKind},
};

/// Selects the requests that a session adopts. An empty matcher adopts none; a client operation adopts all
/// while it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Matcher {
    /// The user key, without encoding.
    pub key: Option<Vec<u8>>,
    pub region: Option<u64>,
    pub kinds: Vec<RequestKind>,
    /// Adopts any request if no other field is set.
    pub any: bool,
}

impl Matcher {
    /// Whether a request matches. PD's kinds match only if the matcher names the kind, since all clients ask
    /// PD all the time.
    pub fn matches(&self, kind: RequestKind, key: &[u8], region: u64) -> bool {
        let said = self.key.is_some() || self.region.is_some() || !self.kinds.is_empty();
        let kind_matches = if self.kinds.is_empty() { !kind.is_of_pd() } else { self.kinds.contains(&kind) };
        (said || self.any)
            && kind_matches
            && self.key.as_deref().is_none_or(|k| k == key)
            && self.region.is_none_or(|r| r == region)
    }
}

/// When to hold a stepped request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Never.
    #[default]
    Run,
    /// At every stage that can hold.
    Step,
    /// At the stages with a gate.
    ToGate,
}

#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    pub matcher: Matcher,
    pub mode: Mode,
    pub gates: HashSet<StageId>,
    /// Number of arrivals at a gate that pass in [`Mode::ToGate`] before the first one is held.
    pub skip: usize,
    /// Capture the call stack at each stamp.
    pub stacks: bool,
    /// Maximum number of requests that the matcher adopts (0: no bound).
    pub max_requests: u32,
}

/// A stamp of a stepped request.
#[derive(Clone, Debug)]
pub struct StepEvent {
    pub stamp: Stamp,
    /// Engine time in ns: stopped while a request is held.
    pub engine_ns: u64,
    /// Trace time in ns: engine time plus the time in which others worked during holds.
    pub at_ns: u64,
    /// Return addresses, innermost first; empty if stacks are not captured.
    pub stack: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct ProbeEvent {
    pub req: Req,
    pub thread: u16,
    pub engine_ns: u64,
    pub probe: Probe,
}

/// A request held at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldInfo {
    pub id: u64,
    pub req: Req,
    pub stage: StageId,
    pub store: u64,
    pub thread: u16,
}

#[derive(Clone, Debug)]
pub enum SessionEvent {
    Request(RequestInfo),
    Step(StepEvent),
    Probe(ProbeEvent),
    Held(HoldInfo),
    Released {
        /// The id in its [`HoldInfo`].
        id: u64,
        /// Trace time between hold and release in ns, in which others worked.
        held_ns: u64,
    },
    /// The request has left the server, or the client operation has ended.
    Finished {
        req: Req,
        /// Trace time in ns, as in a step.
        at_ns: u64,
        outcome: Outcome,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(
        "another session already steps in this process: end it first (a process has one session at a time)"
    )]
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_requires_all_fields_that_are_set() {
        let get = RequestKind::KvGet;
        assert!(!Matcher::default().matches(get, b"k", 1), "an empty matcher adopts none");
        let any = Matcher { any: true, ..Matcher::default() };
        assert!(any.matches(get, b"k", 1) && !any.matches(RequestKind::Tso, b"", 0));
        assert!(!any.matches(RequestKind::GetRegion, b"", 1));
        let tso = Matcher { kinds: vec![RequestKind::Tso], ..Matcher::default() };
        assert!(tso.matches(RequestKind::Tso, b"", 0) && !tso.matches(get, b"k", 1));
        let key = Matcher { key: Some(b"k".to_vec()), region: Some(2), ..Matcher::default() };
        assert!(key.matches(get, b"k", 2));
        assert!(!key.matches(get, b"k", 1) && !key.matches(get, b"kk", 2));
    }
}
