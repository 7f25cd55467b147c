//! The commands of an attached screen, and the requests that it steps.
use kvproto::tracecontrol::continue_request::Mode;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};
use tracepoints::trace::Step;

/// Selects the requests to step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// The unencoded user key; empty: any.
    pub key: Vec<u8>,
    /// The region id; 0: any.
    pub region: u64,
    /// The kind's name in snake case; empty: any.
    pub kind: String,
}

/// An operation of this program on the cluster: called when its requests would be stepped.
pub type Operation = Box<dyn FnMut() -> Running + Send>;

/// An operation of this program that is under way.
pub struct Running {
    /// The result as text.
    pub answer: oneshot::Receiver<String>,
    /// The client's own steps, as they are stamped and changed; closed if the client has none.
    pub steps: UnboundedReceiver<Step>,
}

impl From<oneshot::Receiver<String>> for Running {
    fn from(answer: oneshot::Receiver<String>) -> Self {
        Self { answer, steps: unbounded_channel().1 }
    }
}

/// An operation of this program, ready to run.
pub struct OwnOperation {
    /// The operation as text, such as `get k1`.
    pub title: String,
    /// Selects its requests.
    pub wanted: RequestFilter,
    /// Sends it.
    pub operation: Operation,
}

/// The client of this program: prepares the operation of a text.
pub type Client = Box<dyn Fn(&str) -> anyhow::Result<OwnOperation> + Send>;

/// A command of the screen to the thread of its subscription.
pub(super) enum Command {
    /// Waits for the next request.
    Next,
    /// Runs the operation of this program to its end, and then once more, up to a gate.
    Again(Option<String>),
    /// Runs another operation of this program.
    Operation(OwnOperation),
    Continue(Mode),
    /// Releases one held request, by the number of its hold, in the mode Step or Into.
    Release(u64, Mode),
    /// Runs to a gate that holds once.
    RunTo(String),
    Gate {
        text: String,
        set: bool,
    },
}
