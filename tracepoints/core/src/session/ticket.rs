//! A hold in force, in the hands of the one that waits.
use std::{sync::Arc, task::Waker};

use super::inner::Inner;

/// Dropped while it still holds (the task was cancelled, the FSM destroyed), it gives the hold up.
pub(crate) struct Ticket {
    pub(super) inner: Arc<Inner>,
    pub(super) id: u64,
}

impl Ticket {
    pub(crate) fn released(&self) -> bool {
        self.inner.with_held(self.id, |held| held.is_none())
    }

    /// Calls `call` on release; at once if it is released already.
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

    /// `true` once released; else `waker` is kept.
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
