//! Many finite state machines on few threads.
//!
//! Mirrors tikv/tikv `components/batch-system`: each FSM has a mailbox; a message to an idle FSM schedules it; pollers
//! take scheduled FSMs in turn, run them over their messages and put them back. New here: an FSM may be parked. A
//! parked FSM leaves its poller, its mailbox goes on filling, and only [`Mailbox::wake`] schedules it again.
mod mailbox;
mod poller;
mod router;

pub use mailbox::{Mailbox, SendError};
pub use poller::{BatchSystem, HandleResult, HandlerBuilder, PollHandler};
pub use router::Router;

/// A state machine that is run by one poller at a time.
pub trait Fsm: Send + 'static {
    type Message: Send + 'static;

    /// Whether it shall run no more and be dropped.
    fn is_stopped(&self) -> bool;
}
