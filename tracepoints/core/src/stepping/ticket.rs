//! A hold in force, owned by the waiting task, thread or FSM.
use std::{sync::Arc, task::Waker};

use super::{
    current::{current_inner, last_stamp},
    inner::Inner,
};
use crate::{catalogue::StageId, req::Req};

/// Handles the arrival of a request at `stage`; returns a ticket if the session holds it there.
pub(crate) fn arrive(stage: StageId, req: Req) -> Option<Ticket> {
    let inner = current_inner()?;
    let id = inner.arrive(stage, req, &last_stamp(stage, req))?;
    Some(Ticket { inner, id })
}

/// Dropping it before the release (the task was cancelled, the FSM destroyed) ends the hold.
pub(crate) struct Ticket {
    inner: Arc<Inner>,
    id: u64,
}

impl Ticket {
    pub(crate) fn released(&self) -> bool {
        self.inner.with_held(self.id, |held| held.is_none())
    }

    /// Calls `call` on release; at once if already released.
    pub(crate) fn on_release(&self, call: Box<dyn FnOnce() + Send>) {
        let late = self.inner.with_held(self.id, |held| match held {
            Some(held) => {
                held.callbacks.push(call);
                None
            }
            None => Some(call),
        });
        if let Some(call) = late {
            call();
        }
    }

    /// Returns `true` once released; otherwise keeps `waker`.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        self.inner.with_held(self.id, |held| match held {
            Some(held) => {
                held.waker = Some(waker.clone());
                false
            }
            None => true,
        })
    }

    /// Blocks the thread until released.
    pub(crate) fn block(&self) {
        self.inner.wait(self.id);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.inner.abandon(self.id);
    }
}
