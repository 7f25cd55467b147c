//! Runs many finite state machines (FSMs) on few threads.
//!
//! Mirrors tikv/tikv `components/batch-system`: each FSM has a mailbox; a message to an idle FSM schedules
//! it; pollers take scheduled FSMs in turn, process their messages and return them. Not in TiKV: an FSM may
//! be parked. A parked FSM leaves its poller, its mailbox keeps queueing messages, and only [`Mailbox::wake`]
//! schedules it again.
mod mailbox;
mod poller;
mod router;

pub use mailbox::{Mailbox, SendError};
pub use poller::{BatchSystem, HandleResult, HandlerBuilder, PollHandler};
pub use router::Router;

/// State machine that one poller runs at a time.
pub trait Fsm: Send + 'static {
    /// Message that the FSM handles.
    type Message: Send + 'static;

    /// Whether the FSM has ended and must be dropped.
    fn is_stopped(&self) -> bool;
}
