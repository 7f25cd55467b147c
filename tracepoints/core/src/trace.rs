//! A trace: the steps of a client operation or a request, with the state of the engine folded to each of them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Lane, find},
    probe::{LatchesProbe, MvccProbe, PerfProbe, Probe, RaftProbe},
    request::{RequestInfo, RequestKind},
    session::{ProbeEvent, SessionEvent, StepEvent},
    symbolize::{Frame, Symbolizer},
    thread,
};

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
    /// Until the next step of the same lane (and store, on a replica lane).
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

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Sum of the main lane's stages.
    pub stage_ns: u64,
    pub wall_ns: u64,
    /// Share of the wall time that stages cover, 0 to 1.
    pub accounted: f64,
    pub dropped: u64,
}

/// Grows event by event; steps never move once they are in.
#[derive(Debug, Default)]
pub struct Trace {
    pub requests: Vec<RequestInfo>,
    pub steps: Vec<Step>,
    state: StateView,
    start_ns: u64,
    end_ns: u64,
    finished: bool,
    dropped: u64,
}

impl Trace {
    pub fn new() -> Self {
        Self { dropped: crate::ring::dropped(), ..Self::default() }
    }

    /// Takes one event; `symbols` resolves stacks if given.
    pub fn apply(&mut self, event: &SessionEvent, symbols: Option<&mut Symbolizer>) {
        match event {
            SessionEvent::Request(info) => self.requests.push(info.clone()),
            SessionEvent::Step(event) => self.push(event, symbols),
            SessionEvent::Probe(event) => self.attach(event),
            SessionEvent::Finished { req, engine_ns } => self.finish(req.id(), *engine_ns),
            SessionEvent::Held(_) | SessionEvent::Released(_) => {}
        }
    }

    /// Whether the client operation, or the only request, has ended.
    pub fn finished(&self) -> bool {
        self.finished
    }

    fn push(&mut self, event: &StepEvent, symbols: Option<&mut Symbolizer>) {
        let Some(site) = event.stamp.site else { return };
        let stage = site.stage.stage();
        if self.steps.is_empty() {
            self.start_ns = event.engine_ns;
        }
        let id = event.stamp.req.id();
        let info = self.requests.iter().find(|r| r.id == id);
        let names = site.fields.iter().map(|n| (*n).to_owned());
        let step = Step {
            step: self.steps.len(),
            stage: stage.name.into(),
            layer: stage.layer.into(),
            store: u64::from(event.stamp.store),
            thread: thread::info(event.stamp.thread).name,
            request: id,
            kind: info.map_or_else(String::new, |i| i.kind.name()),
            lane: if stage.lane == Lane::Main { "main" } else { "replica" }.into(),
            at_ns: event.engine_ns.saturating_sub(self.start_ns),
            dur_ns: 0,
            file: site.file.into(),
            line: site.line,
            function: site.function(),
            tikv: stage.tikv.into(),
            tikv_file: stage.tikv_file().into(),
            fields: names.zip(event.stamp.fields).collect(),
            stack: symbols.map(|s| trim(s.resolve(&event.stack))).unwrap_or_default(),
            state: self.state.clone(),
        };
        self.end_ns = self.end_ns.max(event.engine_ns);
        self.close_previous(&step);
        self.steps.push(step);
    }

    /// The step before, in the same lane, lasts until this one.
    fn close_previous(&mut self, step: &Step) {
        let same = |s: &&mut Step| s.lane == step.lane && (s.lane == "main" || s.store == step.store);
        if let Some(previous) = self.steps.iter_mut().rev().find(same) {
            previous.dur_ns = step.at_ns.saturating_sub(previous.at_ns);
        }
    }

    fn attach(&mut self, event: &ProbeEvent) {
        fold(&mut self.state, &event.probe);
        let name = thread::info(event.thread).name;
        if let Some(last) = self.steps.last_mut()
            && (last.thread == name || event.req.is_none())
        {
            last.state = self.state.clone();
        }
    }

    fn finish(&mut self, id: u64, engine_ns: u64) {
        let root = self.requests.first().is_none_or(|r| r.id == id);
        let has_op = self.requests.iter().any(|r| r.kind == RequestKind::Client);
        if root || !has_op {
            self.finished = true;
            self.end_ns = self.end_ns.max(engine_ns);
            let at = self.end_ns - self.start_ns;
            if let Some(last) = self.steps.iter_mut().rev().find(|s| s.lane == "main") {
                last.dur_ns = at.saturating_sub(last.at_ns);
            }
        }
    }

    pub fn summary(&self) -> Summary {
        let stage_ns = self.steps.iter().filter(|s| s.lane == "main").map(|s| s.dur_ns).sum();
        let wall_ns = self.end_ns.saturating_sub(self.start_ns);
        let accounted = if wall_ns == 0 { 1.0 } else { stage_ns as f64 / wall_ns as f64 };
        Summary { stage_ns, wall_ns, accounted, dropped: crate::ring::dropped().saturating_sub(self.dropped) }
    }
}

/// Frames of the recorder itself are of no interest.
fn trim(frames: Vec<Frame>) -> Vec<Frame> {
    let ours = |f: &Frame| f.function.starts_with("tracepoints::");
    let skip = frames.iter().take_while(|f| ours(f)).count();
    frames.into_iter().skip(skip).collect()
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
