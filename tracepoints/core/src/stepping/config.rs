//! A session's configuration and its events.
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::StageId,
    ending::Outcome,
    gates::Gate,
    kind::RequestKind,
    probe::Probe,
    req::{Req, RequestInfo},
    stamp::Stamp,
};

/// Selects the requests that a session adopts. An empty matcher adopts none; a client operation adopts all
/// while it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Matcher {
    /// The user key, without encoding.
    pub key: Option<Vec<u8>>,
    /// The region.
    pub region: Option<u64>,
    /// The kinds, of which one must match; empty: all but those of PD and of garbage collection.
    pub kinds: Vec<RequestKind>,
    /// Adopts any request if no other field is set.
    pub any: bool,
}

impl Matcher {
    /// Whether a request matches. Kinds of PD and of garbage collection match only if the matcher names the kind: all
    /// clients ask PD all the time, and a store collects garbage without a request.
    pub fn matches(&self, kind: RequestKind, key: &[u8], region: u64) -> bool {
        let said = self.key.is_some() || self.region.is_some() || !self.kinds.is_empty();
        let in_background = kind.is_of_pd() || kind.is_of_gc();
        let kind_matches = if self.kinds.is_empty() { !in_background } else { self.kinds.contains(&kind) };
        (said || self.any)
            && kind_matches
            && self.key.as_deref().is_none_or(|k| k == key)
            && self.region.is_none_or(|r| r == region)
    }
}

/// The stages at which a stepped request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Never.
    #[default]
    Run,
    /// At every stage that can hold, but not inside of a stage.
    Step,
    /// At every stage that can hold, also inside of another one.
    Into,
    /// At the gates.
    ToGate,
}

/// The requests that a session adopts, and the stages at which it holds them.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// Selects the requests.
    pub matcher: Matcher,
    /// The stages at which it holds them at first.
    pub mode: Mode,
    /// The gates at first.
    pub gates: Vec<Gate>,
    /// The timestamps that conditions name `ts1`, `ts2` ...; those that the requests use follow.
    pub timestamps: Vec<u64>,
    /// Capture the call stack at each stamp.
    pub stacks: bool,
    /// Maximum number of requests that the matcher adopts (0: no bound).
    pub max_requests: u32,
}

/// A stamp of a stepped request.
#[derive(Clone, Debug)]
pub struct StepEvent {
    /// The stamp.
    pub stamp: Stamp,
    /// Engine time in ns: stopped while a request is held.
    pub engine_ns: u64,
    /// Trace time in ns: engine time plus the time in which others worked during holds.
    pub at_ns: u64,
    /// Return addresses, innermost first; empty if stacks are not captured.
    pub stack: Vec<usize>,
}

/// State that its owner published.
#[derive(Clone, Debug)]
pub struct ProbeEvent {
    /// The request; [`Req::NONE`] for the state of a region.
    pub req: Req,
    /// Id of the owner's thread.
    pub thread: u16,
    /// Engine time in ns.
    pub engine_ns: u64,
    /// The state.
    pub probe: Probe,
}

/// A request held at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldInfo {
    /// Number of the hold in its session.
    pub id: u64,
    /// The request.
    pub req: Req,
    /// The stage of the gate.
    pub stage: StageId,
    /// The store of the holding thread; 0: none.
    pub store: u64,
    /// Id of the thread that reached the gate.
    pub thread: u16,
    /// The gate that holds it, and the change that a gate waited for; empty if every stage holds.
    pub reason: String,
}

/// A gate of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateState {
    /// The gate.
    pub gate: Gate,
    /// Whether it holds requests.
    pub on: bool,
    /// Number of arrivals so far for which its condition was true.
    pub hits: u32,
}

impl GateState {
    /// Makes the state of a new gate: switched on, without an arrival.
    pub fn new(gate: Gate) -> Self {
        Self { gate, on: true, hits: 0 }
    }

    /// Counts an arrival that the gate accepts; returns whether the gate holds it.
    pub fn count(&mut self) -> bool {
        self.hits += 1;
        self.hits >= self.gate.hit
    }
}

/// A report of a session to its stepper.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// A request was adopted.
    Request(RequestInfo),
    /// A stepped request was stamped.
    Step(StepEvent),
    /// An owner published its state.
    Probe(ProbeEvent),
    /// A request is held.
    Held(HoldInfo),
    /// A held request continues.
    Released {
        /// The id in its [`HoldInfo`].
        id: u64,
        /// Trace time between hold and release in ns, in which others worked.
        held_ns: u64,
    },
    /// The request has left the server, or the client operation has ended.
    Finished {
        /// The request or the client operation.
        req: Req,
        /// Trace time in ns, as in a step.
        at_ns: u64,
        /// The way it ended.
        outcome: Outcome,
    },
}

/// Why no session was started.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// This process has a session.
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
        let of_region = Matcher { region: Some(1), ..Matcher::default() };
        assert!(
            !any.matches(RequestKind::GcTask, b"k", 1)
                && !of_region.matches(RequestKind::GcCompaction, b"k", 1)
        );
        let task = Matcher { kinds: vec![RequestKind::GcTask], ..Matcher::default() };
        assert!(task.matches(RequestKind::GcTask, b"k", 1));
        let tso = Matcher { kinds: vec![RequestKind::Tso], ..Matcher::default() };
        assert!(tso.matches(RequestKind::Tso, b"", 0) && !tso.matches(get, b"k", 1));
        let key = Matcher { key: Some(b"k".to_vec()), region: Some(2), ..Matcher::default() };
        assert!(key.matches(get, b"k", 2));
        assert!(!key.matches(get, b"k", 1) && !key.matches(get, b"kk", 2));
    }
}
