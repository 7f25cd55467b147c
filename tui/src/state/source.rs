//! What the screen steps on: an embedded cluster, a running server, or steps made up for a test.
use anyhow::Result;
use tracepoints::{
    catalogue::{Hold as HoldKind, find},
    request::RequestInfo,
    trace::{Step, Summary},
};

/// A request that stands at a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    pub id: u64,
    pub stage: String,
    pub store: u64,
    pub thread: String,
}

impl Hold {
    /// Who else waits while this request is held, as a sentence.
    pub fn shared_with(&self) -> String {
        match find(&self.stage).map(|s| s.hold) {
            Some(HoldKind::Thread) => {
                format!("thread {} waits too, and whoever it serves", self.thread)
            }
            Some(HoldKind::Fsm) => "its region's FSM is parked, the poller serves others".into(),
            _ => "only its own task waits, the thread serves others".into(),
        }
    }
}

/// What a source tells the screen.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// An operation begins; the steps of an earlier one are over.
    Begin {
        title: String,
    },
    Request(RequestInfo),
    /// A new step, or a known one (by its number) that changed.
    Step(Box<Step>),
    Held(Hold),
    Released(u64),
    /// The operation has ended; `more` if the source has another one to step.
    Finished {
        summary: Summary,
        outcome: String,
        more: bool,
    },
    Log(String),
    /// The scenario says something else than what happened: file, line, what was expected and what was found.
    Mistake(String),
    /// The source cannot go on; steps so far stay.
    Failed(String),
}

/// A stepper of one operation at a time. No call blocks for long: the work is on the source's own threads.
pub trait StepSource: Send {
    /// What is stepped, for the title: `point_get`, `attach 127.0.0.1:20160`.
    fn title(&self) -> String;
    /// Everything that happened since the last call.
    fn poll(&mut self) -> Vec<SourceEvent>;
    /// Lets the request that was held first go to its next stage.
    fn step(&mut self) -> Result<()>;
    /// Lets all go to the next gate.
    fn to_gate(&mut self) -> Result<()>;
    /// Lets all go to their end.
    fn run(&mut self) -> Result<()>;
    /// Sets or removes a gate; true if it is set now.
    fn toggle_gate(&mut self, stage: &str) -> Result<bool>;
    /// Stages that have a gate.
    fn gates(&self) -> Vec<String>;
    /// Goes on with the scenario: to its next operation after one has finished; while one is held by the scenario, to
    /// the next thing it does to the cluster.
    fn next_operation(&mut self) -> Result<()>;
    /// Whether nothing comes after the last operation's end: no output of a scenario is left to be checked.
    fn over(&mut self) -> bool {
        true
    }
    /// Whether a scenario says when the operation goes on, rather than the person.
    fn scripted(&self) -> bool {
        false
    }
    /// Whether the client's time limits run on while its request is held.
    fn client_goes_on(&self) -> bool {
        false
    }
}

/// How an operation is held from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Stages with a gate. Empty: held at every stage, or nowhere if `run` is set.
    pub gates: Vec<String>,
    /// Nobody steps: the operation runs through, but for gates.
    pub run: bool,
    pub stacks: bool,
}

impl Start {
    pub fn mode(&self) -> tracepoints::session::Mode {
        use tracepoints::session::Mode;
        match (self.gates.is_empty(), self.run) {
            (false, _) => Mode::ToGate,
            (true, true) => Mode::Run,
            (true, false) => Mode::Step,
        }
    }
}
