//! Connects a caller with the wait of its request for a lock, so that the wait ends if the caller goes away.
use std::sync::{Arc, OnceLock};

use crate::lock_manager::lock_waiting_queue::LockWaitContext;

/// Handle to the wait; the scheduler fills the slot when the request begins to wait.
pub(super) type WaitSlot = Arc<OnceLock<LockWaitContext>>;

/// Ends the wait of a request whose caller is dropped.
pub(super) struct Abandon {
    slot: WaitSlot,
    answered: bool,
}

impl Abandon {
    pub(super) fn new(slot: WaitSlot) -> Self {
        Self { slot, answered: false }
    }

    /// Drops the guard of an answered request, which no longer waits.
    pub(super) fn disarm(mut self) {
        self.answered = true;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.answered
            && let Some(context) = self.slot.get()
        {
            context.abandon();
        }
    }
}
