//! A trace: the steps of a client operation or a request, each with the state of the engine at that step.
mod lanes;
mod settled;
pub mod story;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{self, Lane, find},
    facts::Facts,
    field,
    probe::{
        LatchesProbe, LockWaitsProbe, MemoryLocksProbe, MvccProbe, PerfProbe, Probe, RaftProbe,
        WaitGraphProbe,
    },
    req::RequestInfo,
    stepping::{ProbeEvent, SessionEvent, StepEvent},
    symbolize::{self, Frame, Symbolizer},
    thread,
};
use lanes::Lanes;

/// State of the engine at a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateView {
    /// One per store, by store id.
    pub raft: Vec<RaftProbe>,
    /// The rows of the request's key.
    pub mvcc: Option<MvccProbe>,
    /// The latches of its command.
    pub latches: Option<LatchesProbe>,
    /// The requests that wait for locks.
    #[serde(default)]
    pub lock_waits: Option<LockWaitsProbe>,
    /// The pessimistic locks in the memory of the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_locks: Option<MemoryLocksProbe>,
    /// The graph of the deadlock detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_graph: Option<WaitGraphProbe>,
    /// RocksDB's counters of its last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perf: Option<PerfProbe>,
    /// Facts of this step; later steps do not have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Facts>,
    /// Notes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A stamp in readable form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Position in the trace, from 0.
    pub step: usize,
    /// Name of the stage.
    pub stage: String,
    /// Layer of the stage.
    pub layer: String,
    /// Store id; 0: the client or PD.
    pub store: u64,
    /// Name of the thread.
    pub thread: String,
    /// The request it belongs to, and that request's kind.
    pub request: u64,
    /// Kind of the request.
    pub kind: String,
    /// `main` or `replica`.
    pub lane: String,
    /// Time in ns since the trace began: engine time, plus the time in which others worked during holds.
    pub at_ns: u64,
    /// Time in ns until the request's next step on the main lane, or its next one on this store on the
    /// replica lane; 0 while it runs.
    pub dur_ns: u64,
    /// Time in ns in which others worked while the step was held; not part of `dur_ns`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_ns: u64,
    /// Whether a replica passed it after the operation's answer, which did not wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Source file of the stamp.
    pub file: String,
    /// Line of the stamp.
    pub line: u32,
    /// Function that contains the stamp.
    pub function: String,
    /// TiKV's function.
    pub tikv: String,
    /// Source file of TiKV's function.
    pub tikv_file: String,
    /// The stamp's fields by name.
    pub fields: BTreeMap<String, u64>,
    /// The call stack, innermost first; empty if it was not captured.
    pub stack: Vec<Frame>,
    /// The state that is known at this step.
    pub state: StateView,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Step {
    /// Returns its end in ns since the trace began; while it runs, its start.
    pub fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.held_ns).saturating_add(self.dur_ns)
    }
}

/// The share of a trace's time that its stages account for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Time in ns that stages of the main lane cover; parallel requests count once.
    pub stage_ns: u64,
    /// Time in ns from the first step of the client operation to its end, without holds; without a client, of
    /// the requests.
    pub wall_ns: u64,
    /// Share of the wall time that stages cover, 0 to 1.
    pub accounted: f64,
    /// Number of stamps missing because a ring was full. A live trace misses none.
    pub dropped: u64,
}

/// A trace in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// The operation and its requests.
    pub requests: Vec<RequestInfo>,
    /// The steps by time.
    pub steps: Vec<Step>,
    /// The sums of the steps.
    pub summary: Summary,
}

/// Grows by one event at a time, in the order of engine time; the position of a step never changes.
#[derive(Debug, Default)]
pub struct Trace {
    /// The operation and its requests.
    pub requests: Vec<RequestInfo>,
    /// The steps by time.
    pub steps: Vec<Step>,
    state: StateView,
    lanes: Lanes,
    /// Holds in force, with the held steps.
    holds: Vec<(u64, usize)>,
    /// The request whose RocksDB counters are in the state.
    perf_of: u64,
    /// The request whose latches are in the state.
    latches_of: u64,
    /// Time of the first step in ns.
    start_ns: u64,
    /// Engine time of the first step in ns.
    engine_start_ns: u64,
    dropped: u64,
    /// Steps that are new or changed since the last call of [`Trace::take_changed`].
    changed: BTreeSet<usize>,
}

impl Trace {
    /// Makes an empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one event; `symbols` resolves stacks if given.
    pub fn apply(&mut self, event: &SessionEvent, symbols: Option<&mut Symbolizer>) {
        match event {
            SessionEvent::Request(info) => {
                self.lanes.begin(info.id, info.parent, info.kind);
                self.requests.push(info.clone());
            }
            SessionEvent::Step(event) => self.push(event, symbols),
            SessionEvent::Probe(event) => self.attach(event),
            SessionEvent::Finished { req, at_ns, .. } => {
                let at = at_ns.saturating_sub(self.start_ns);
                self.lanes.finish(req.id(), at, &mut self.steps);
            }
            SessionEvent::Held(hold) => {
                let (stage, id) = (hold.stage.name(), hold.req.id());
                let held =
                    |s: &Step| s.request == id && s.store == hold.store && s.stage == stage && s.held_ns == 0;
                self.holds.extend(self.steps.iter().rposition(held).map(|step| (hold.id, step)));
            }
            SessionEvent::Released { id, held_ns } => {
                if let Some(at) = self.holds.iter().position(|(hold, _)| hold == id) {
                    let (_, step) = self.holds.swap_remove(at);
                    let held = &mut self.steps[step].held_ns;
                    *held = held.saturating_add(*held_ns);
                    self.changed.insert(step);
                }
            }
        }
        self.changed.extend(self.lanes.take_closed());
    }

    /// Takes the numbers of the steps that are new or changed since the last call, in their order.
    pub fn take_changed(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.changed)
    }

    /// Whether the client operation has ended or, without one, every adopted request.
    pub fn finished(&self) -> bool {
        self.lanes.finished()
    }

    /// Whether it has finished, and the replicas in this process have nothing more to stamp. False for a read index
    /// round, to which a late acknowledgement may always follow.
    pub fn settled(&self) -> bool {
        self.finished() && settled::is_settled(&self.steps, &self.state.raft, &thread::stores())
    }

    /// Records that stamps from this trace's time are missing.
    pub fn note_dropped(&mut self, stamps: u64) {
        self.dropped = self.dropped.saturating_add(stamps);
    }

    fn push(&mut self, event: &StepEvent, symbols: Option<&mut Symbolizer>) {
        let Some(site) = event.stamp.site.filter(|s| !s.is_mark()) else { return };
        let stage = site.stage.stage();
        if self.steps.is_empty() {
            (self.start_ns, self.engine_start_ns) = (event.at_ns, event.engine_ns);
        }
        let id = event.stamp.req.id();
        self.age_state(stage.lane, id, event.engine_ns);
        let info = self.requests.iter().rev().find(|r| r.id == id);
        // Events come in the order of engine time; this corrects a recording that is slightly out of order.
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
            at_ns: event.at_ns.saturating_sub(self.start_ns).max(floor),
            dur_ns: 0,
            held_ns: 0,
            late: stage.lane == Lane::Replica && self.lanes.finished(),
            file: site.file.into(),
            line: site.line,
            function: site.function(),
            tikv_file: catalogue::file_of(&tikv).into(),
            tikv: tikv.into(),
            fields,
            stack: symbols.map(|s| trim(s.resolve(&event.stack))).unwrap_or_default(),
            state: self.state.clone(),
        };
        self.changed.insert(self.steps.len());
        self.steps.push(step);
        self.lanes.push(event.stamp.thread, &mut self.steps);
    }

    /// Ages the state for a step of `request` at `now`, in engine time: leases run down; RocksDB's counters
    /// and latches belong to one request only.
    fn age_state(&mut self, lane: Lane, request: u64, now: u64) {
        self.state
            .raft
            .iter_mut()
            .filter_map(|peer| peer.lease.as_mut())
            .for_each(|lease| lease.run_down(now));
        if lane == Lane::Main && self.perf_of != request {
            self.state.perf = None;
        }
        if lane == Lane::Main && self.latches_of != request {
            self.state.latches = None;
        }
    }

    /// Attaches a probe to the current step of its owner; later steps have it, too.
    fn attach(&mut self, event: &ProbeEvent) {
        if matches!(event.probe, Probe::Perf(_)) {
            self.perf_of = event.req.id();
        }
        if matches!(event.probe, Probe::Latches(_)) {
            self.latches_of = event.req.id();
        }
        let from = self.lanes.owner(event.req.id(), event.thread, &self.steps);
        if let Probe::Facts(_) = event.probe {
            if let Some(step) = self.steps.get_mut(from) {
                fold(&mut step.state, &event.probe);
                self.changed.insert(from);
            }
            return;
        }
        let mut probe = event.probe.clone();
        if let Probe::Latches(latches) = &mut probe
            && latches.since_ns != 0
        {
            latches.since_ns = latches.since_ns.saturating_sub(self.engine_start_ns).max(1);
        }
        fold(&mut self.state, &probe);
        for (i, step) in self.steps.iter_mut().enumerate().skip(from) {
            fold(&mut step.state, &probe);
            self.changed.insert(i);
        }
    }

    /// Returns the sums of the steps.
    pub fn summary(&self) -> Summary {
        let (stage_ns, wall_ns) = self.lanes.covered(&self.steps);
        let accounted = if wall_ns == 0 { 1.0 } else { stage_ns as f64 / wall_ns as f64 };
        Summary { stage_ns, wall_ns, accounted, dropped: self.dropped }
    }

    /// Makes the record for a trace file.
    pub fn to_record(&self) -> TraceRecord {
        TraceRecord { requests: self.requests.clone(), steps: self.steps.clone(), summary: self.summary() }
    }
}

/// Removes the frames of the recorder itself and of thread start-up.
fn trim(mut frames: Vec<Frame>) -> Vec<Frame> {
    let ours =
        |f: &&Frame| f.function.starts_with("tracepoints::") || f.file.contains("tracepoints/core/src/");
    let skip = frames.iter().take_while(ours).count();
    frames.drain(..skip);
    let thread = frames.iter().position(|f| f.function.contains(symbolize::THREAD_START));
    frames.truncate(thread.unwrap_or(frames.len()));
    frames
}

/// Adds a probe to the state; a newer one of the same kind and store replaces the older one.
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
        Probe::LockWaits(waits) => state.lock_waits = Some(waits.clone()),
        Probe::MemoryLocks(locks) => state.memory_locks = Some(locks.clone()),
        Probe::WaitGraph(graph) => state.wait_graph = Some(graph.clone()),
        Probe::Perf(perf) => state.perf = Some(perf.clone()),
        Probe::Facts(facts) => match state.facts.iter_mut().find(|f| f.title == facts.title) {
            Some(old) => *old = facts.clone(),
            None => state.facts.push(facts.clone()),
        },
        Probe::Note(note) => state.notes.push(note.clone()),
    }
}

/// Returns the catalogue's meaning of a step's stage.
pub fn meaning(step: &Step) -> &'static str {
    find(&step.stage).map_or("", |s| s.meaning)
}
