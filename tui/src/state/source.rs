//! The interface of a source of steps: an embedded cluster, a running server, or a recording.
use anyhow::Result;
use tracepoints::{
    catalogue::{Hold as HoldKind, find},
    request::RequestInfo,
    trace::{Step, Summary},
};

/// A request that is held at a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRequest {
    /// Number of the hold.
    pub id: u64,
    /// The stage at which it is held.
    pub stage: String,
    /// The store that holds it; 0 for the client.
    pub store: u64,
    /// The thread that reached the gate.
    pub thread: String,
}

impl HeldRequest {
    /// A sentence about the work that waits while this request is held.
    pub fn shared_with(&self) -> String {
        match find(&self.stage).map(|s| s.hold) {
            Some(HoldKind::Thread) => {
                format!("thread {} waits too, with all its requests", self.thread)
            }
            Some(HoldKind::Fsm) => "its region's FSM is parked, the poller serves others".into(),
            _ => "only its own task waits, the thread serves others".into(),
        }
    }
}

/// An event from a source to the screen.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// An operation begins; its steps replace those of the previous one.
    Begin {
        /// The title of the operation.
        title: String,
    },
    /// A request belongs to the operation.
    Request(RequestInfo),
    /// A new step, or a changed one with a known number.
    Step(Box<Step>),
    /// A request is held at a gate.
    Held(HeldRequest),
    /// The hold of this number has ended.
    Released(u64),
    /// The operation has ended; `more`: the source has another one to step.
    Finished {
        /// Times of the operation and dropped stamps.
        summary: Summary,
        /// The operation's result as text; may be empty.
        outcome: String,
        /// The source has another operation to step.
        more: bool,
    },
    /// A line for the log.
    Log(String),
    /// An output differs from the scenario: file, line, the expected and the found output.
    Mistake(String),
    /// The source has failed; the steps so far stay.
    Failed(String),
}

/// A source that steps one operation at a time. Calls do not block: the source's threads do the work.
pub trait StepSource: Send {
    /// The title of the screen: `point_get`, `attach 127.0.0.1:20160`.
    fn title(&self) -> String;
    /// Returns the events since the last call.
    fn poll(&mut self) -> Vec<SourceEvent>;
    /// Releases the first held request to its next stage.
    fn step(&mut self) -> Result<()>;
    /// Like [`StepSource::step`], but the request is held also inside of a stage.
    fn step_into(&mut self) -> Result<()> {
        self.step()
    }
    /// Releases all held requests to the next gate.
    fn to_gate(&mut self) -> Result<()>;
    /// Releases all held requests to their end.
    fn run(&mut self) -> Result<()>;
    /// Sets or removes a gate; returns whether it is set now.
    fn toggle_gate(&mut self, stage: &str) -> Result<bool>;
    /// Stages that have a gate.
    fn gates(&self) -> Vec<String>;
    /// Runs the scenario's next operation after one has finished, or its next directive while it holds one.
    fn next_operation(&mut self) -> Result<()>;
    /// Whether no event follows the end of the last operation: all outputs of a scenario have been checked.
    fn over(&mut self) -> bool {
        true
    }
    /// Whether a scenario, not the user, decides when the operation continues.
    fn scripted(&self) -> bool {
        false
    }
    /// Whether the steps are lost when the program ends: those of a live session, not those of a file.
    fn is_live(&self) -> bool {
        true
    }
    /// Whether the client's timeouts keep running while its request is held.
    fn client_time_runs(&self) -> bool {
        false
    }
}

/// The holds of an operation at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Stages with a gate. Empty: held at every stage, or nowhere if `run` is set.
    pub gates: Vec<String>,
    /// Run without a user; only gates hold the operation.
    pub run: bool,
    /// Capture call stacks.
    pub stacks: bool,
}

impl Start {
    /// Returns the mode of the session that begins so.
    pub fn mode(&self) -> tracepoints::session::Mode {
        use tracepoints::session::Mode;
        match (self.gates.is_empty(), self.run) {
            (false, _) => Mode::ToGate,
            (true, true) => Mode::Run,
            (true, false) => Mode::Step,
        }
    }
}
