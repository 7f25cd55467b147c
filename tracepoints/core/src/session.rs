//! A session steps requests live: it adopts matching requests, receives their stamps and probes, and holds
//! them at gates.
//!
//! This module is the cold path: it runs only for a stepped request. A process has at most one session at a
//! time.
mod clock;
mod config;
mod inner;
mod links;
mod ticket;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam::channel::{Receiver, unbounded};
use parking_lot::RwLock;

pub use config::{HoldInfo, Matcher, Mode, ProbeEvent, SessionConfig, SessionError, SessionEvent, StepEvent};
use inner::Inner;
pub use inner::publish;
pub(crate) use inner::{adopt, finished, observe};
pub use links::{joined, joined_read, watch_region, watches_region};
pub(crate) use ticket::Ticket;

use crate::{
    catalogue::StageId,
    recorder,
    request::{self, Req, RequestKind},
};

static ACTIVE: AtomicBool = AtomicBool::new(false);
static CURRENT: RwLock<Option<Arc<Inner>>> = RwLock::new(None);

/// Whether a session runs; one atomic load.
#[inline(always)]
pub fn active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

pub(crate) fn current_inner() -> Option<Arc<Inner>> {
    if active() { CURRENT.read().clone() } else { None }
}

/// The stepper's handle. Dropping it releases every held request and ends the session.
pub struct Session {
    inner: Arc<Inner>,
    events: Receiver<SessionEvent>,
}

impl Session {
    /// Starts a session.
    ///
    /// # Errors
    /// [`SessionError::Busy`] while another session exists in this process.
    pub fn start(config: SessionConfig) -> Result<Self, SessionError> {
        let mut slot = CURRENT.write();
        if slot.is_some() {
            return Err(SessionError::Busy);
        }
        let (tx, events) = unbounded();
        let inner = Arc::new(Inner::new(config, tx));
        *slot = Some(inner.clone());
        ACTIVE.store(true, Ordering::Release);
        Ok(Self { inner, events })
    }

    /// Receives the events in the order of publication, which is also the order of their time.
    pub fn events(&self) -> &Receiver<SessionEvent> {
        &self.events
    }

    /// Number of events left out because too many waited in [`Session::events`].
    pub fn missed(&self) -> u64 {
        self.inner.missed()
    }

    /// Begins a client operation: until [`Session::end_op`], every arriving request is its child.
    pub fn begin_op(&self, key: &[u8]) -> Req {
        let op = request::next_id().with_step();
        self.inner.begin_op(op, key);
        recorder::mark_begin(op, RequestKind::Client, key, 0);
        op
    }

    /// Ends a client operation.
    pub fn end_op(&self, op: Req) {
        recorder::mark_end(op, crate::ending::Ending::default());
        self.inner.end_op(op);
    }

    /// Releases the request that was held first; it is held again at its next stage. Returns false if none is
    /// held.
    pub fn step(&self) -> bool {
        self.inner.resume(Mode::Step, 1)
    }

    /// Releases all requests up to their next gate.
    pub fn to_gate(&self) -> bool {
        self.inner.resume(Mode::ToGate, usize::MAX)
    }

    /// Releases all requests up to their end.
    pub fn run(&self) -> bool {
        self.inner.resume(Mode::Run, usize::MAX)
    }

    /// Changes when requests are held from now on; held requests stay held.
    pub fn set_mode(&self, mode: Mode) {
        self.inner.set_mode(mode);
    }

    /// Adds or removes a gate; returns true if it is set now.
    pub fn toggle_gate(&self, stage: StageId) -> bool {
        self.inner.toggle_gate(stage)
    }

    pub fn gates(&self) -> HashSet<StageId> {
        self.inner.gates()
    }

    /// Returns the held requests, oldest first.
    pub fn held(&self) -> Vec<HoldInfo> {
        self.inner.held()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let held = {
            let mut slot = CURRENT.write();
            ACTIVE.store(false, Ordering::Release);
            watch_region(0);
            *slot = None;
            self.inner.close()
        };
        self.inner.wake(held);
    }
}
