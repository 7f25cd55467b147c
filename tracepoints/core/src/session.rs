//! A session steps requests live: it adopts matching requests, receives their stamps and probes, and holds
//! them at gates.
//!
//! A process has at most one session at a time.
use std::sync::Arc;

use crossbeam::channel::{Receiver, unbounded};

pub use crate::stepping::{
    GateState, HoldInfo, Matcher, Mode, ProbeEvent, SessionConfig, SessionError, SessionEvent, StepEvent,
    active, joined, joined_read, publish, publish_region, watch_region, watches_region,
};
use crate::{
    ending::Ending,
    gates::Gate,
    kind::RequestKind,
    recorder,
    req::{self, Req},
    stepping::{self, Inner},
};

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
        let (tx, events) = unbounded();
        let inner = stepping::start(|| Inner::new(config, tx)).ok_or(SessionError::Busy)?;
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

    /// Number of requests that the matcher has adopted so far.
    pub fn adopted(&self) -> u32 {
        self.inner.adopted()
    }

    /// Begins a client operation: until [`Session::end_op`], every arriving request is its child.
    pub fn begin_op(&self, key: &[u8]) -> Req {
        let op = req::next_id().with_step();
        self.inner.begin_op(op, key);
        recorder::mark_begin(op, RequestKind::Client, key, 0);
        op
    }

    /// Lets the client operation run on without further requests: those that begin now belong to other clients.
    pub fn leave_op(&self) {
        self.inner.leave_op();
    }

    /// Ends a client operation.
    pub fn end_op(&self, op: Req) {
        recorder::mark_end(op, Ending::default());
        self.inner.end_op(op);
    }

    /// Releases the request that was held first; it is held again at its next stage. Returns false if none is
    /// held.
    pub fn step(&self) -> bool {
        self.resume(Mode::Step)
    }

    /// Like [`Session::step`], but it is held again also at a stage inside of another one.
    pub fn step_into(&self) -> bool {
        self.resume(Mode::Into)
    }

    /// Releases all requests up to their next gate.
    pub fn to_gate(&self) -> bool {
        self.resume(Mode::ToGate)
    }

    /// Releases all requests up to their end.
    pub fn run(&self) -> bool {
        self.resume(Mode::Run)
    }

    /// Continues in this mode: releases the request that was held first for a step, otherwise all. Returns false if
    /// none is held.
    pub fn resume(&self, mode: Mode) -> bool {
        match mode {
            Mode::Step | Mode::Into => self.inner.resume(mode, 1),
            Mode::ToGate | Mode::Run => self.inner.resume(mode, usize::MAX),
        }
    }

    /// Changes when requests are held from now on; held requests stay held.
    pub fn set_mode(&self, mode: Mode) {
        self.inner.set_mode(mode);
    }

    /// Releases one held request by the id of its hold; the others stay held. Returns false if it is not held.
    pub fn release(&self, id: u64, mode: Mode) -> bool {
        self.inner.resume_one(id, mode)
    }

    /// Sets a gate; one of the same text counts its arrivals from 0 again.
    pub fn set_gate(&self, gate: Gate) {
        self.inner.set_gate(gate, false);
    }

    /// Sets a gate that is removed when it holds a request: runs to a step.
    pub fn set_gate_once(&self, gate: Gate) {
        self.inner.set_gate(gate, true);
    }

    /// Removes a gate by its text; returns whether it was set.
    pub fn remove_gate(&self, text: &str) -> bool {
        self.inner.remove_gate(text)
    }

    /// Switches a gate on or off by its text; returns false if it is not set.
    pub fn switch_gate(&self, text: &str, on: bool) -> bool {
        self.inner.switch_gate(text, on)
    }

    /// Returns the gates in the order in which they were set.
    pub fn gates(&self) -> Vec<GateState> {
        self.inner.gates()
    }

    /// Returns the held requests, oldest first.
    pub fn held(&self) -> Vec<HoldInfo> {
        self.inner.held()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        stepping::end(&self.inner);
    }
}
