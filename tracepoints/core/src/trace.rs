//! A trace: the steps of a client operation or a request, with the state of the engine folded to each of them.
mod lanes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{self, Lane, find},
    field,
    probe::{LatchesProbe, MvccProbe, PerfProbe, Probe, RaftProbe},
    request::RequestInfo,
    session::{ProbeEvent, SessionEvent, StepEvent},
    symbolize::{self, Frame, Symbolizer},
    thread,
};
use lanes::Lanes;

/// State as it was at a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateView {
    /// One per store, by store id.
    pub raft: Vec<RaftProbe>,
    pub mvcc: Option<MvccProbe>,
    pub latches: Option<LatchesProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perf: Option<PerfProbe>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A stamp as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Place in the trace, from 0.
    pub step: usize,
    pub stage: String,
    pub layer: String,
    /// 0: the client or PD.
    pub store: u64,
    pub thread: String,
    /// The request it belongs to, and that request's kind.
    pub request: u64,
    pub kind: String,
    /// `main` or `replica`.
    pub lane: String,
    /// Engine time since the trace began.
    pub at_ns: u64,
    /// Until the request's next step on the main lane, or its next on this store on the replica lane; 0 while it runs.
    pub dur_ns: u64,
    pub file: String,
    pub line: u32,
    pub function: String,
    pub tikv: String,
    pub tikv_file: String,
    pub fields: BTreeMap<String, u64>,
    pub stack: Vec<Frame>,
    pub state: StateView,
}

/// How much of a trace's time its stages account for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Time that stages of the main lane cover; where requests run side by side it counts once.
    pub stage_ns: u64,
    /// From the first step of the client operation to its end; attached without a client, of the requests.
    pub wall_ns: u64,
    /// Share of the wall time that stages cover, 0 to 1.
    pub accounted: f64,
    /// Stamps that are missing because a ring was full. A live trace misses none.
    pub dropped: u64,
}

/// A trace as it is kept in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    pub requests: Vec<RequestInfo>,
    pub steps: Vec<Step>,
    pub summary: Summary,
}

/// Grows event by event, in the order of engine time; steps never move once they are in.
#[derive(Debug, Default)]
pub struct Trace {
    pub requests: Vec<RequestInfo>,
    pub steps: Vec<Step>,
    state: StateView,
    lanes: Lanes,
    /// Engine time of the first step.
    start_ns: u64,
    dropped: u64,
}

impl Trace {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event; `symbols` resolves stacks if given.
    pub fn apply(&mut self, event: &SessionEvent, symbols: Option<&mut Symbolizer>) {
        match event {
            SessionEvent::Request(info) => {
                self.lanes.begin(info.id, info.parent);
                self.requests.push(info.clone());
            }
            SessionEvent::Step(event) => self.push(event, symbols),
            SessionEvent::Probe(event) => self.attach(event),
            SessionEvent::Finished { req, engine_ns, .. } => {
                let at = engine_ns.saturating_sub(self.start_ns);
                self.lanes.finish(req.id(), at, &mut self.steps);
            }
            SessionEvent::Held(_) | SessionEvent::Released(_) => {}
        }
    }

    /// Whether the client operation has ended, or, without one, every request that came.
    pub fn finished(&self) -> bool {
        self.lanes.finished()
    }

    /// Notes that stamps of this trace's time are missing.
    pub fn note_dropped(&mut self, stamps: u64) {
        self.dropped += stamps;
    }

    fn push(&mut self, event: &StepEvent, symbols: Option<&mut Symbolizer>) {
        let Some(site) = event.stamp.site.filter(|s| !s.is_mark()) else { return };
        let stage = site.stage.stage();
        if self.steps.is_empty() {
            self.start_ns = event.engine_ns;
        }
        let id = event.stamp.req.id();
        let info = self.requests.iter().find(|r| r.id == id);
        // Events come in the order of engine time; a recording that is not quite so is put right here.
        let floor = self.steps.last().map_or(0, |s| s.at_ns);
        let kind = info.map_or_else(String::new, |i| i.kind.name());
        let fields: BTreeMap<String, u64> =
            event.stamp.named_fields().map(|(n, v)| (n.to_owned(), v)).collect();
        let operation = fields.get("op").and_then(|op| field::named("op", *op));
        let tikv = stage.tikv_for(operation.unwrap_or(&kind));
        let step = Step {
            step: self.steps.len(),
            stage: stage.name.into(),
            layer: stage.layer.into(),
            store: u64::from(event.stamp.store),
            thread: thread::info(event.stamp.thread).name,
            request: id,
            kind,
            lane: if stage.lane == Lane::Main { "main" } else { "replica" }.into(),
            at_ns: event.engine_ns.saturating_sub(self.start_ns).max(floor),
            dur_ns: 0,
            file: site.file.into(),
            line: site.line,
            function: site.function(),
            tikv_file: catalogue::file_of(&tikv).into(),
            tikv: tikv.into(),
            fields,
            stack: symbols.map(|s| trim(s.resolve(&event.stack))).unwrap_or_default(),
            state: self.state.clone(),
        };
        self.steps.push(step);
        self.lanes.push(event.stamp.thread, &mut self.steps);
    }

    /// A probe belongs to the step its owner was in; from there on it is known.
    fn attach(&mut self, event: &ProbeEvent) {
        fold(&mut self.state, &event.probe);
        let from = self.lanes.owner(event.req.id(), event.thread, &self.steps);
        for step in self.steps.iter_mut().skip(from) {
            fold(&mut step.state, &event.probe);
        }
    }

    pub fn summary(&self) -> Summary {
        let (stage_ns, wall_ns) = self.lanes.covered(&self.steps);
        let accounted = if wall_ns == 0 { 1.0 } else { stage_ns as f64 / wall_ns as f64 };
        Summary { stage_ns, wall_ns, accounted, dropped: self.dropped }
    }

    /// What a trace file keeps of it.
    pub fn to_record(&self) -> TraceRecord {
        TraceRecord { requests: self.requests.clone(), steps: self.steps.clone(), summary: self.summary() }
    }
}

/// Without the frames of the recorder itself, and of what starts a thread.
fn trim(mut frames: Vec<Frame>) -> Vec<Frame> {
    let ours =
        |f: &&Frame| f.function.starts_with("tracepoints::") || f.file.contains("tracepoints/core/src/");
    let skip = frames.iter().take_while(ours).count();
    frames.drain(..skip);
    let thread = frames.iter().position(|f| f.function.contains(symbolize::THREAD_START));
    frames.truncate(thread.unwrap_or(frames.len()));
    frames
}

/// Puts a probe into the state; a newer one of the same kind and store replaces the older.
pub fn fold(state: &mut StateView, probe: &Probe) {
    match probe {
        Probe::Raft(raft) => {
            match state.raft.iter_mut().find(|r| r.store == raft.store && r.region == raft.region) {
                Some(old) => *old = raft.clone(),
                None => state.raft.push(raft.clone()),
            }
            state.raft.sort_by_key(|r| (r.region, r.store));
        }
        Probe::Mvcc(mvcc) => state.mvcc = Some(mvcc.clone()),
        Probe::Latches(latches) => state.latches = Some(latches.clone()),
        Probe::Perf(perf) => state.perf = Some(perf.clone()),
        Probe::Note(note) => state.notes.push(note.clone()),
    }
}

/// The catalogue's meaning of a step's stage.
pub fn meaning(step: &Step) -> &'static str {
    find(&step.stage).map_or("", |s| s.meaning)
}
