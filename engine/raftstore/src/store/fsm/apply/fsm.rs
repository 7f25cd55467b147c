//! The apply FSM of one region.
use super::{
    delegate::ApplyDelegate,
    msg::{ApplyMsg, Registration},
};
use crate::batch_system::Fsm;

/// FSM that applies one region's entries.
pub struct ApplyFsm {
    /// State and execution.
    pub delegate: ApplyDelegate,
    /// Whether the peer has left the store.
    pub stopped: bool,
}

impl ApplyFsm {
    /// Creates the FSM.
    pub fn new(registration: Registration) -> Self {
        Self { delegate: ApplyDelegate::new(registration), stopped: false }
    }

    /// Returns the id of the region.
    pub fn region_id(&self) -> u64 {
        self.delegate.region_id()
    }
}

impl Fsm for ApplyFsm {
    type Message = ApplyMsg;
    fn is_stopped(&self) -> bool {
        self.stopped
    }
}

/// Placeholder: apply pollers need no control FSM; this one does nothing.
pub struct ControlFsm;

impl Fsm for ControlFsm {
    type Message = ();
    fn is_stopped(&self) -> bool {
        false
    }
}
