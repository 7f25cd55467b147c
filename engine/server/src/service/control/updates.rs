//! The traces of one subscription, and the steps that the client has not seen in their present form.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracepoints::{
    Outcome, Probe, SessionEvent,
    symbolize::Symbolizer,
    trace::{Step, Summary, Trace},
};

#[derive(Default)]
struct Live {
    trace: Trace,
    /// Real time: the client waits in real time.
    finished: Option<Instant>,
    outcome: Outcome,
}

/// A trace that has ended.
pub struct EndedRequest {
    /// Steps that are new or changed since the last call.
    pub steps: Vec<Step>,
    pub summary: Summary,
    pub outcome: Outcome,
}

impl Live {
    /// Takes the steps that are new or changed since the last call.
    fn changed(&mut self) -> Vec<Step> {
        let changed = self.trace.take_changed();
        changed.into_iter().filter_map(|i| self.trace.steps.get(i)).cloned().collect()
    }
}

/// One trace per request, by request id.
#[derive(Default)]
pub struct Traces {
    live: BTreeMap<u64, Live>,
    symbols: Option<Symbolizer>,
}

impl Traces {
    pub fn new(symbols: Option<Symbolizer>) -> Self {
        Self { live: BTreeMap::new(), symbols }
    }

    pub fn apply(&mut self, event: &SessionEvent) {
        let id = match event {
            SessionEvent::Request(info) => {
                self.live.insert(info.id, Live { trace: Trace::new(), ..Live::default() });
                info.id
            }
            SessionEvent::Step(step) => step.stamp.req.id(),
            SessionEvent::Finished { req, .. } => req.id(),
            SessionEvent::Probe(probe) if !probe.req.is_none() && !matches!(probe.probe, Probe::Raft(_)) => {
                probe.req.id()
            }
            // State of the region: it belongs to each request that is stepped in it.
            SessionEvent::Probe(_) => {
                self.live.values_mut().for_each(|live| live.trace.apply(event, None));
                return;
            }
            SessionEvent::Held(hold) => hold.req.id(),
            // Only the trace of this request contains it.
            SessionEvent::Released { .. } => {
                self.live.values_mut().for_each(|live| live.trace.apply(event, None));
                return;
            }
        };
        if let Some(live) = self.live.get_mut(&id) {
            live.trace.apply(event, self.symbols.as_mut());
            if let SessionEvent::Finished { outcome, .. } = event {
                live.outcome = *outcome;
            }
            if live.trace.finished() {
                live.finished.get_or_insert_with(Instant::now);
            }
        }
    }

    pub fn changed(&mut self) -> Vec<Step> {
        self.live.values_mut().flat_map(Live::changed).collect()
    }

    /// Returns the newest step of `request` at `stage`.
    pub fn step_at(&self, request: u64, stage: &str) -> Option<&Step> {
        self.live.get(&request)?.trace.steps.iter().rev().find(|s| s.stage == stage)
    }

    /// Removes the finished traces whose replicas have nothing more to stamp, or that finished at least `linger` ago.
    pub fn take_finished(&mut self, linger: Duration) -> Vec<EndedRequest> {
        let over =
            |live: &Live| live.finished.is_some_and(|at| live.trace.settled() || at.elapsed() >= linger);
        let ids: Vec<u64> = self.live.iter().filter(|(_, live)| over(live)).map(|(id, _)| *id).collect();
        let finished = ids.into_iter().filter_map(|id| self.live.remove(&id));
        let ended = |mut live: Live| {
            let (steps, summary) = (live.changed(), live.trace.summary());
            EndedRequest { steps, summary, outcome: live.outcome }
        };
        finished.map(ended).collect()
    }
}
