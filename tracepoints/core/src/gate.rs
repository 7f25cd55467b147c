//! Gates: where a stepped request waits, in the three ways a thread, a task or an FSM can wait.
use std::future::poll_fn;
use std::task::Poll;

use crate::{
    catalogue::StageId,
    request::Req,
    session::{self, Ticket},
};

/// Holds the calling task; other tasks of its thread go on. Use [`step!`](crate::step).
pub async fn hold(stage: StageId, req: Req) {
    if let Some(ticket) = session::current_inner().and_then(|s| s.arrive(stage, req)) {
        poll_fn(|cx| if ticket.poll(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Holds the calling thread. Use [`step_thread!`](crate::step_thread).
pub fn block(stage: StageId, req: Req) {
    if let Some(ticket) = session::current_inner().and_then(|s| s.arrive(stage, req)) {
        ticket.block();
    }
}

/// An FSM's place to be held: kept in the FSM, so that it resumes where it was parked. Use [`step_fsm!`](crate::step_fsm).
#[derive(Default)]
pub struct FsmGate {
    held: Option<(StageId, Ticket)>,
}

impl FsmGate {
    /// Whether the FSM was parked at this stage and comes back to it, so that it must not be stamped again.
    pub fn resumes(&self, stage: StageId) -> bool {
        matches!(&self.held, Some((s, _)) if *s == stage)
    }

    /// Whether the FSM is parked; it must not run on until the gate is released.
    pub fn parked(&self) -> bool {
        self.held.as_ref().is_some_and(|(_, ticket)| !ticket.released())
    }

    /// True if the FSM must park here now; `wake` is called once when it may run again.
    pub fn holds(&mut self, stage: StageId, req: Req, wake: impl FnOnce() + Send + 'static) -> bool {
        if let Some((at, ticket)) = &self.held
            && *at == stage
        {
            if !ticket.released() {
                return true;
            }
            self.held = None;
            return false;
        }
        let Some(ticket) = session::current_inner().and_then(|s| s.arrive(stage, req)) else { return false };
        ticket.on_release(Box::new(wake));
        self.held = Some((stage, ticket));
        true
    }
}
