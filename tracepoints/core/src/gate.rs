//! Gates: hold a stepped request in the three ways in which a thread, a task or an FSM can wait.
use std::future::poll_fn;
use std::task::Poll;

use crate::{
    catalogue::StageId,
    req::Req,
    stepping::{self, Ticket},
};

/// Holds the calling task; other tasks of its thread continue. Use [`step!`](crate::step).
pub async fn hold(stage: StageId, req: Req) {
    if let Some(ticket) = stepping::arrive(stage, req) {
        poll_fn(|cx| if ticket.poll(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Holds the calling thread. Use [`step_thread!`](crate::step_thread).
pub fn block(stage: StageId, req: Req) {
    if let Some(ticket) = stepping::arrive(stage, req) {
        ticket.block();
    }
}

struct Parked {
    stage: StageId,
    req: Req,
    ticket: Ticket,
}

/// The gate of an FSM, kept in the FSM so that it resumes where it was parked. Use
/// [`step_fsm!`](crate::step_fsm).
///
/// While [`FsmGate::parked`] the FSM leaves its messages in the mailbox. Dropping the gate with its FSM ends
/// the hold.
#[derive(Default)]
pub struct FsmGate {
    held: Option<Parked>,
}

impl FsmGate {
    /// Whether the FSM was parked at this stage.
    pub fn resumes(&self, stage: StageId) -> bool {
        self.held.as_ref().is_some_and(|p| p.stage == stage)
    }

    /// Whether the FSM was parked at this stage with this request and now returns to it, so that it is not
    /// stamped again.
    pub fn resumes_with(&self, stage: StageId, req: Req) -> bool {
        self.held.as_ref().is_some_and(|p| p.stage == stage && p.req == req)
    }

    /// Whether the FSM is parked; it must not run until the gate is released.
    pub fn parked(&self) -> bool {
        self.held.as_ref().is_some_and(|p| !p.ticket.released())
    }

    /// Returns true if the FSM must park here now; `wake` is called once when it may run again, possibly at
    /// once.
    pub fn holds(&mut self, stage: StageId, req: Req, wake: impl FnOnce() + Send + 'static) -> bool {
        if self.resumes_with(stage, req) {
            if self.parked() {
                return true;
            }
            self.held = None;
            return false;
        }
        let Some(ticket) = stepping::arrive(stage, req) else { return false };
        ticket.on_release(Box::new(wake));
        self.held = Some(Parked { stage, req, ticket });
        true
    }
}
