//! The state that a session shares with the threads whose requests it steps.
//!
//! Lock order: `CURRENT`, then `state`, then the clock's. Wakers and callbacks run outside of all of them.
use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    task::Waker,
};

use crossbeam::channel::Sender;
use parking_lot::{Condvar, Mutex};

use super::{
    clock::TraceClock,
    config::{GateState, HoldInfo, Matcher, Mode, ProbeEvent, SessionConfig, SessionEvent, StepEvent},
    gate_list::GateList,
    links::Links,
    regions::watch_region,
};
use crate::{
    catalogue::{Hold, StageId},
    clock::{EngineClock, FreezeGuard},
    ending::Outcome,
    gates::Gate,
    kind::RequestKind,
    probe::Probe,
    req::{Req, RequestInfo},
    stack,
    stamp::Stamp,
    thread,
};

/// Maximum number of events that wait for the stepper.
const MAX_WAITING: usize = 1 << 18;

pub(crate) struct Held {
    info: HoldInfo,
    /// Trace time of the hold's begin.
    since: u64,
    pub(crate) waker: Option<Waker>,
    pub(crate) callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    gates: GateList,
    held: VecDeque<Held>,
    clock: TraceClock,
    next_hold: u64,
    freeze: Option<FreezeGuard>,
    op: Option<Req>,
    /// Number of requests adopted by the matcher so far.
    adopted: u32,
    /// Ids of this session's requests: a request of an earlier session may still be in flight.
    known: HashMap<u64, Known>,
    links: Links,
    closed: bool,
}

/// A request of the session, as conditions see it.
struct Known {
    kind: RequestKind,
    key: Vec<u8>,
}

impl State {
    /// Sets the mode. A change while nothing could hold is no reason to hold later.
    fn enter(&mut self, mode: Mode) {
        if self.mode == Mode::Run {
            self.gates.forget_changes();
        }
        self.mode = mode;
    }

    /// Returns the trace time of an event.
    fn now(&mut self) -> u64 {
        self.clock.now(!self.held.is_empty())
    }
}

pub(crate) struct Inner {
    matcher: Matcher,
    stacks: bool,
    max_requests: u32,
    /// Sends events to the stepper; errors are ignored, since nothing is lost if the receiver is gone.
    events: Sender<SessionEvent>,
    missed: AtomicU64,
    state: Mutex<State>,
    released: Condvar,
}

impl Inner {
    pub(crate) fn new(config: SessionConfig, events: Sender<SessionEvent>) -> Self {
        let gates = GateList::new(config.gates, &config.timestamps);
        let state = State { mode: config.mode, gates, ..State::default() };
        Self {
            matcher: config.matcher,
            stacks: config.stacks,
            max_requests: config.max_requests,
            events,
            missed: AtomicU64::new(0),
            state: Mutex::new(state),
            released: Condvar::new(),
        }
    }

    /// Steps and probes are bounded; events of requests and holds are always sent.
    fn send(&self, event: SessionEvent) {
        let may_miss = matches!(event, SessionEvent::Step(_) | SessionEvent::Probe(_));
        if may_miss && self.events.len() >= MAX_WAITING {
            self.missed.fetch_add(1, Ordering::Relaxed);
        } else {
            let _ = self.events.send(event);
        }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn adopted(&self) -> u32 {
        self.state.lock().adopted
    }

    /// Whether the request is one of this session.
    pub(super) fn knows(&self, req: Req) -> bool {
        self.state.lock().known.contains_key(&req.id())
    }

    /// Publishes a probe of one of this session's requests, or one without a request.
    pub(super) fn publish(&self, req: Req, make: impl FnOnce() -> Probe) {
        if !req.is_none() && !self.knows(req) {
            return;
        }
        // Made outside of the lock, since it may read a lot.
        let (probe, thread) = (make(), thread::id());
        let mut state = self.state.lock();
        state.gates.note_probe(&probe);
        let engine_ns = EngineClock::now().0;
        self.send(SessionEvent::Probe(ProbeEvent { req, thread, engine_ns, probe }));
    }

    pub(super) fn observe(&self, stamp: Stamp) {
        let mut state = self.state.lock();
        if state.known.contains_key(&stamp.req.id()) {
            let (engine_ns, at_ns) = (EngineClock::now().0, state.now());
            state.links.note(&stamp);
            state.gates.note_stamp(&stamp);
            let stack = if self.stacks { stack::capture() } else { Vec::new() };
            self.send(SessionEvent::Step(StepEvent { stamp, engine_ns, at_ns, stack }));
        }
    }

    pub(super) fn adopt(&self, req: Req, kind: RequestKind, key: &[u8], region: u64) -> bool {
        let store = u64::from(thread::store());
        let mut state = self.state.lock();
        let by_matcher = self.matcher.matches(kind, key, region)
            && (self.max_requests == 0 || state.adopted < self.max_requests);
        if state.closed || !(state.op.is_some() || by_matcher) {
            return false;
        }
        state.known.insert(req.id(), Known { kind, key: key.to_vec() });
        state.adopted += u32::from(state.op.is_none());
        if region != 0 {
            watch_region(region);
        }
        let parent = state.op.unwrap_or_default().id();
        self.send(SessionEvent::Request(RequestInfo {
            id: req.id(),
            parent,
            kind,
            key: key.to_vec(),
            region,
            store,
        }));
        true
    }

    pub(super) fn finished(&self, req: Req, outcome: Outcome) {
        let mut state = self.state.lock();
        if state.known.contains_key(&req.id()) {
            self.send(SessionEvent::Finished { req, at_ns: state.now(), outcome });
        }
    }

    pub(crate) fn begin_op(&self, op: Req, key: &[u8]) {
        let mut state = self.state.lock();
        state.op = Some(op);
        state.known.insert(op.id(), Known { kind: RequestKind::Client, key: key.to_vec() });
        self.send(SessionEvent::Request(RequestInfo {
            id: op.id(),
            parent: 0,
            kind: RequestKind::Client,
            key: key.to_vec(),
            region: 0,
            store: 0,
        }));
    }

    pub(crate) fn leave_op(&self) {
        self.state.lock().op = None;
    }

    pub(crate) fn end_op(&self, op: Req) {
        let mut state = self.state.lock();
        if state.op == Some(op) {
            state.op = None;
        }
        let (at_ns, outcome) = (state.now(), Outcome::Unknown);
        self.send(SessionEvent::Finished { req: op, at_ns, outcome });
    }

    /// Handles the arrival of a request at `stage` with its stamp: if the mode or a gate says so, holds it,
    /// freezes engine time and returns the id of the hold.
    pub(super) fn arrive(&self, stage: StageId, req: Req, stamp: &Stamp) -> Option<u64> {
        if stage.stage().hold == Hold::None {
            return None;
        }
        let (store, thread) = (u64::from(thread::store()), thread::id());
        let mut state = self.state.lock();
        let State { mode, gates, known, closed, .. } = &mut *state;
        let request = known.get(&req.id()).filter(|_| !*closed)?;
        // Counted in every mode: the number of an arrival does not depend on how the user got there.
        let gate = gates.arrive(stage, stamp, (request.kind, &request.key));
        let every = match mode {
            Mode::Run => return None,
            Mode::Step => !stage.stage().inside,
            Mode::Into => true,
            Mode::ToGate => false,
        };
        let reason = match gate {
            Some(index) => gates.reason(index),
            None if every => String::new(),
            None => return None,
        };
        state.next_hold += 1;
        let id = state.next_hold;
        let info = HoldInfo { id, req, stage, store, thread, reason };
        let since = state.now();
        state.freeze.get_or_insert_with(EngineClock::freeze);
        state.held.push_back(Held { info: info.clone(), since, waker: None, callbacks: Vec::new() });
        self.send(SessionEvent::Held(info));
        Some(id)
    }

    pub(crate) fn resume(&self, mode: Mode, count: usize) -> bool {
        let held = {
            let mut state = self.state.lock();
            state.enter(mode);
            self.release(&mut state, count)
        };
        self.wake(held)
    }

    /// Releases the hold of this id, and only that one; returns false if there is none.
    pub(crate) fn resume_one(&self, id: u64, mode: Mode) -> bool {
        let held = {
            let mut state = self.state.lock();
            let at = state.held.iter().position(|h| h.info.id == id);
            // A late release must not change how the others run.
            let Some(held) = at.and_then(|at| state.held.remove(at)) else { return false };
            state.enter(mode);
            self.publish_releases(&mut state, std::slice::from_ref(&held));
            held
        };
        self.wake(vec![held])
    }

    fn release(&self, state: &mut State, count: usize) -> Vec<Held> {
        let n = count.min(state.held.len());
        let out: Vec<Held> = state.held.drain(..n).collect();
        self.publish_releases(state, &out);
        out
    }

    /// Publishes the releases and unfreezes engine time once no request is held.
    fn publish_releases(&self, state: &mut State, out: &[Held]) {
        let now = state.clock.resume();
        for held in out {
            let held_ns = now.saturating_sub(held.since);
            self.send(SessionEvent::Released { id: held.info.id, held_ns });
        }
        if state.held.is_empty() {
            state.freeze = None;
        }
    }

    /// Wakes the waiters outside of the lock: a callback may call back into this session.
    pub(crate) fn wake(&self, held: Vec<Held>) -> bool {
        let any = !held.is_empty();
        self.released.notify_all();
        for h in held {
            h.waker.into_iter().for_each(Waker::wake);
            h.callbacks.into_iter().for_each(|call| call());
        }
        any
    }

    /// Removes a hold whose waiter is gone.
    pub(crate) fn abandon(&self, id: u64) {
        let mut state = self.state.lock();
        if let Some(i) = state.held.iter().position(|h| h.info.id == id)
            && let Some(held) = state.held.remove(i)
        {
            self.publish_releases(&mut state, std::slice::from_ref(&held));
            // Dropped outside of the lock: a callback may own anything.
            drop(state);
        }
    }

    pub(crate) fn with_held<T>(&self, id: u64, f: impl FnOnce(Option<&mut Held>) -> T) -> T {
        f(self.state.lock().held.iter_mut().find(|h| h.info.id == id))
    }

    pub(super) fn with_links<T>(&self, f: impl FnOnce(&Links) -> T) -> T {
        f(&self.state.lock().links)
    }

    pub(crate) fn wait(&self, id: u64) {
        let mut state = self.state.lock();
        while state.held.iter().any(|h| h.info.id == id) {
            self.released.wait(&mut state);
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.state.lock().enter(mode);
    }

    pub(crate) fn set_gate(&self, gate: Gate, once: bool) {
        self.state.lock().gates.set(gate, once);
    }

    pub(crate) fn remove_gate(&self, text: &str) -> bool {
        self.state.lock().gates.remove(text)
    }

    pub(crate) fn switch_gate(&self, text: &str, on: bool) -> bool {
        self.state.lock().gates.switch(text, on)
    }

    pub(crate) fn gates(&self) -> Vec<GateState> {
        self.state.lock().gates.states()
    }

    pub(crate) fn held(&self) -> Vec<HoldInfo> {
        self.state.lock().held.iter().map(|h| h.info.clone()).collect()
    }

    /// Closes the session for new holds; returns the current ones.
    pub(crate) fn close(&self) -> Vec<Held> {
        let mut state = self.state.lock();
        state.closed = true;
        self.release(&mut state, usize::MAX)
    }
}
