//! The interface of a source of steps: an embedded cluster, a running server, or a recording.
use anyhow::Result;
use tracepoints::{
    Gate,
    catalogue::{Hold as HoldKind, find},
    request::RequestInfo,
    session::GateState,
    trace::{Step, Summary},
};

use super::gates;

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
    /// The gate that holds it, with the change it waited for; empty if every stage holds.
    pub reason: String,
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
    /// The user's own operation did not begin, for this reason.
    Refused(String),
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
    /// Releases one held request, by the number of its hold, to its next stage; the others stay held.
    fn release(&mut self, hold: u64) -> Result<()>;
    /// Like [`StepSource::release`], but the request is held also inside of a stage.
    fn release_into(&mut self, hold: u64) -> Result<()> {
        self.release(hold)
    }
    /// Releases all held requests to the next gate.
    fn to_gate(&mut self) -> Result<()>;
    /// Releases all held requests to their end.
    fn run(&mut self) -> Result<()>;
    /// The gates in the order in which they were set.
    fn gates(&self) -> Vec<GateState>;
    /// Sets a gate; one of the same text counts its arrivals from 0 again.
    fn set_gate(&mut self, gate: Gate) -> Result<()>;
    /// Removes a gate by its text.
    fn remove_gate(&mut self, text: &str) -> Result<()>;
    /// Switches a gate on or off by its text.
    fn switch_gate(&mut self, text: &str, on: bool) -> Result<()>;
    /// Releases all held requests up to this gate, which holds once.
    fn run_to(&mut self, gate: Gate) -> Result<()>;
    /// Sets or removes the plain gate of a stage; returns whether it is set now.
    fn toggle_gate(&mut self, stage: &str) -> Result<bool> {
        let gate = gates::parse(stage)?;
        let set = !self.gates().iter().any(|state| state.gate.text() == gate.text());
        if set {
            self.set_gate(gate)?
        } else {
            self.remove_gate(gate.text())?
        }
        Ok(set)
    }
    /// Runs the scenario's next operation after one has finished, or its next directive while it holds one.
    fn next_operation(&mut self) -> Result<()>;
    /// Runs the operation or the scenario again from its start; with a gate, up to it. That gate holds once.
    fn restart(&mut self, _to: Option<Gate>) -> Result<()> {
        anyhow::bail!(
            "nothing can run again here: step a recipe or an operation, such as tikv-tui run 'get k1'"
        )
    }
    /// Steps an operation of the user on the same cluster, such as `get k1`.
    ///
    /// # Errors
    /// If the text is not an operation, another one runs, or the source has no client.
    fn try_operation(&mut self, _text: &str) -> Result<()> {
        anyhow::bail!(
            "this source has no client: tikv-tui run 'get k1' --pd HOST:PORT steps an operation of a cluster"
        )
    }
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
    /// The gates. Empty: held at every stage, or nowhere if `run` is set.
    pub gates: Vec<Gate>,
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
