//! A session steps requests live: it adopts the requests that match, hears their stamps and probes, and holds them at gates.
//!
//! Everything here is on the cold path: it runs only for a stepped request. One session at a time in a process.
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
};

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Hold, StageId},
    clock::{EngineClock, FreezeGuard},
    probe::Probe,
    recorder::Stamp,
    request::{self, Req, RequestInfo, RequestKind},
    stack, thread,
};

/// Which requests a session adopts. An empty matcher adopts none; a client operation adopts everything while it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Matcher {
    /// The user key, without encoding.
    pub key: Option<Vec<u8>>,
    pub region: Option<u64>,
    pub kinds: Vec<RequestKind>,
    /// Adopt whatever comes, if nothing above is given.
    pub any: bool,
}

impl Matcher {
    fn matches(&self, kind: RequestKind, key: &[u8], region: u64) -> bool {
        let said = self.key.is_some() || self.region.is_some() || !self.kinds.is_empty();
        (said || self.any)
            && kind != RequestKind::Tso
            && self.key.as_deref().is_none_or(|k| k == key)
            && self.region.is_none_or(|r| r == region)
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}

/// When a stepped request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Never.
    #[default]
    Run,
    /// At every stage that can hold.
    Step,
    /// At the stages with a gate.
    ToGate,
}

#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    pub matcher: Matcher,
    pub mode: Mode,
    pub gates: HashSet<StageId>,
    /// Capture the call stack at each stamp.
    pub stacks: bool,
    /// Adopt at most this many requests by the matcher (0: no bound).
    pub max_requests: u32,
}

/// A stamp of a stepped request, as it happened.
#[derive(Clone, Debug)]
pub struct StepEvent {
    pub stamp: Stamp,
    /// Engine time in ns: a hold does not count.
    pub engine_ns: u64,
    /// Return addresses, innermost first; empty if stacks are not captured.
    pub stack: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct ProbeEvent {
    pub req: Req,
    pub thread: u16,
    pub engine_ns: u64,
    pub probe: Probe,
}

/// A request that stands at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldInfo {
    pub id: u64,
    pub req: Req,
    pub stage: StageId,
    pub store: u64,
    pub thread: u16,
}

#[derive(Clone, Debug)]
pub enum SessionEvent {
    Request(RequestInfo),
    Step(StepEvent),
    Probe(ProbeEvent),
    Held(HoldInfo),
    Released(u64),
    /// The request has left the server, or the client operation has ended.
    Finished {
        req: Req,
        engine_ns: u64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(
        "another session is stepping in this process; end it first (only one request is stepped at a time)"
    )]
    Busy,
}

/// An entry or a read round that belongs to a stepped request.
enum Watch {
    Entry { region: u64, term: u64, index: u64, req: Req },
    Read { id: u64, req: Req },
}

struct Held {
    info: HoldInfo,
    wakers: Vec<Waker>,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    gates: HashSet<StageId>,
    held: VecDeque<Held>,
    next_hold: u64,
    freeze: Option<FreezeGuard>,
    op: Option<Req>,
    adopted: u32,
    adopted_reqs: HashSet<u64>,
    watches: Vec<Watch>,
    closed: bool,
}

pub(crate) struct Inner {
    matcher: Matcher,
    stacks: bool,
    max_requests: u32,
    events: Sender<SessionEvent>,
    state: Mutex<State>,
    released: Condvar,
}

static ACTIVE: AtomicBool = AtomicBool::new(false);
/// The region of the stepped request, once known; owners of its Raft state publish while it is set.
static REGION: AtomicU64 = AtomicU64::new(0);
static CURRENT: RwLock<Option<Arc<Inner>>> = RwLock::new(None);

/// Whether any session runs; one load.
#[inline(always)]
pub fn active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Whether a stepped request is in this region; one load.
#[inline(always)]
pub fn watches_region(region: u64) -> bool {
    REGION.load(Ordering::Relaxed) == region && region != 0
}

/// Names the region whose Raft state the owners shall publish.
pub fn watch_region(region: u64) {
    REGION.store(region, Ordering::Relaxed);
}

fn current() -> Option<Arc<Inner>> {
    if active() { CURRENT.read().clone() } else { None }
}

/// A stamp of a stepped request: publishes it and notes the entry or read round it names.
#[cold]
#[inline(never)]
pub(crate) fn observe(stamp: Stamp) {
    let engine_ns = EngineClock::now().0;
    let Some(inner) = current() else { return };
    inner.note_links(&stamp);
    let stack = if inner.stacks { stack::capture() } else { Vec::new() };
    inner.send(SessionEvent::Step(StepEvent { stamp, engine_ns, stack }));
}

/// Publishes a probe; use [`probe!`](crate::probe) or [`probe_region!`](crate::probe_region).
#[cold]
#[inline(never)]
pub fn publish(req: Req, make: impl FnOnce() -> Probe) {
    if let Some(inner) = current() {
        let engine_ns = EngineClock::now().0;
        let event = ProbeEvent { req, thread: thread::id(), engine_ns, probe: make() };
        inner.send(SessionEvent::Probe(event));
    }
}

/// The stepped request that wrote an entry of this term in `first..=last`, or [`Req::NONE`]: for batches and replicas.
#[inline(always)]
pub fn joined(region: u64, term: u64, first: u64, last: u64) -> Req {
    if watches_region(region) { joined_slow(region, term, first, last) } else { Req::NONE }
}

#[cold]
fn joined_slow(region: u64, term: u64, first: u64, last: u64) -> Req {
    let Some(inner) = current() else { return Req::NONE };
    let state = inner.state.lock();
    let found = state.watches.iter().rev().find_map(|w| match *w {
        Watch::Entry { region: r, term: t, index, req } => {
            (r == region && t == term && (first..=last).contains(&index)).then_some(req)
        }
        Watch::Read { .. } => None,
    });
    found.unwrap_or_default()
}

/// The stepped request whose read index round has this id, or [`Req::NONE`].
#[inline(always)]
pub fn joined_read(id: u64) -> Req {
    if active() { joined_read_slow(id) } else { Req::NONE }
}

#[cold]
fn joined_read_slow(id: u64) -> Req {
    let Some(inner) = current() else { return Req::NONE };
    let state = inner.state.lock();
    let found = state.watches.iter().find_map(|w| match *w {
        Watch::Read { id: i, req } if i == id => Some(req),
        _ => None,
    });
    found.unwrap_or_default()
}

/// Marks a new request as stepped if the session wants it.
#[cold]
pub(crate) fn adopt(req: Req, kind: RequestKind, key: &[u8], region: u64) -> Req {
    let Some(inner) = current() else { return req };
    let parent = {
        let mut state = inner.state.lock();
        let by_matcher = inner.matcher.matches(kind, key, region)
            && (inner.max_requests == 0 || state.adopted < inner.max_requests);
        if state.closed || !(state.op.is_some() || by_matcher) {
            return req;
        }
        state.adopted += u32::from(state.op.is_none());
        state.adopted_reqs.insert(req.id());
        state.op.unwrap_or_default()
    };
    if region != 0 {
        watch_region(region);
    }
    let info = RequestInfo {
        id: req.id(),
        parent: parent.id(),
        kind,
        key: key.to_vec(),
        region,
        store: u64::from(thread::store()),
    };
    inner.send(SessionEvent::Request(info));
    req.with_step()
}

pub(crate) fn finished(req: Req) {
    if let Some(inner) = current() {
        inner.send(SessionEvent::Finished { req, engine_ns: EngineClock::now().0 });
    }
}

impl Inner {
    /// The receiver may be gone; then nobody listens and nothing is lost.
    fn send(&self, event: SessionEvent) {
        let _ = self.events.send(event);
    }

    fn note_links(&self, stamp: &Stamp) {
        let watch = match (stamp.field("region"), stamp.field("term"), stamp.field("index")) {
            (Some(region), Some(term), Some(index)) if index != 0 => {
                Some(Watch::Entry { region, term, index, req: stamp.req })
            }
            _ => stamp.field("read_id").filter(|id| *id != 0).map(|id| Watch::Read { id, req: stamp.req }),
        };
        if let Some(watch) = watch {
            let mut state = self.state.lock();
            state.watches.push(watch);
            if state.watches.len() > 256 {
                state.watches.remove(0);
            }
        }
    }

    /// A request is at `stage`: holds it, if the mode says so, and freezes engine time.
    pub(crate) fn arrive(self: &Arc<Self>, stage: StageId, req: Req) -> Option<Ticket> {
        if stage.stage().hold == Hold::None {
            return None;
        }
        let mut state = self.state.lock();
        let wanted = match state.mode {
            Mode::Run => false,
            Mode::Step => true,
            Mode::ToGate => state.gates.contains(&stage),
        };
        if state.closed || !wanted {
            return None;
        }
        state.next_hold += 1;
        let id = state.next_hold;
        let info = HoldInfo { id, req, stage, store: u64::from(thread::store()), thread: thread::id() };
        if state.freeze.is_none() {
            state.freeze = Some(EngineClock::freeze());
        }
        state.held.push_back(Held { info: info.clone(), wakers: Vec::new(), callbacks: Vec::new() });
        drop(state);
        self.send(SessionEvent::Held(info));
        Some(Ticket { inner: self.clone(), id })
    }

    fn release(&self, state: &mut State, count: usize) -> Vec<Held> {
        let n = count.min(state.held.len());
        let out: Vec<Held> = state.held.drain(..n).collect();
        if state.held.is_empty() {
            state.freeze = None;
        }
        out
    }

    /// Wakes outside of the lock: a callback may come back to this session.
    fn wake(&self, held: Vec<Held>) -> bool {
        let any = !held.is_empty();
        for h in held {
            self.send(SessionEvent::Released(h.info.id));
            h.wakers.into_iter().for_each(Waker::wake);
            h.callbacks.into_iter().for_each(|call| call());
        }
        self.released.notify_all();
        any
    }
}

pub(crate) fn current_inner() -> Option<Arc<Inner>> {
    current()
}

/// A hold in force. Dropping it does not release; the session does.
pub(crate) struct Ticket {
    inner: Arc<Inner>,
    id: u64,
}

impl Ticket {
    pub(crate) fn released(&self) -> bool {
        !self.inner.state.lock().held.iter().any(|h| h.info.id == self.id)
    }

    /// Calls `call` on release; at once if it is released already.
    pub(crate) fn on_release(&self, call: Box<dyn FnOnce() + Send>) {
        let mut state = self.inner.state.lock();
        match state.held.iter_mut().find(|h| h.info.id == self.id) {
            Some(held) => held.callbacks.push(call),
            None => {
                drop(state);
                call();
            }
        }
    }

    /// `true` once released; else `waker` is kept.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.inner.state.lock();
        match state.held.iter_mut().find(|h| h.info.id == self.id) {
            Some(held) => {
                held.wakers.push(waker.clone());
                false
            }
            None => true,
        }
    }

    pub(crate) fn block(&self) {
        let mut state = self.inner.state.lock();
        while state.held.iter().any(|h| h.info.id == self.id) {
            self.inner.released.wait(&mut state);
        }
    }
}

/// The stepper's side. Dropping it releases every held request and ends the session.
pub struct Session {
    inner: Arc<Inner>,
    events: Receiver<SessionEvent>,
}

impl Session {
    pub fn start(config: SessionConfig) -> Result<Self, SessionError> {
        let mut slot = CURRENT.write();
        if slot.is_some() {
            return Err(SessionError::Busy);
        }
        let (tx, events) = unbounded();
        let state = State { mode: config.mode, gates: config.gates, ..State::default() };
        let inner = Arc::new(Inner {
            matcher: config.matcher,
            stacks: config.stacks,
            max_requests: config.max_requests,
            events: tx,
            state: Mutex::new(state),
            released: Condvar::new(),
        });
        *slot = Some(inner.clone());
        ACTIVE.store(true, Ordering::Release);
        Ok(Self { inner, events })
    }

    /// Events in the order they were published.
    pub fn events(&self) -> &Receiver<SessionEvent> {
        &self.events
    }

    /// Begins a client operation: until [`Session::end_op`], every request that arrives is its child.
    pub fn begin_op(&self, key: &[u8]) -> Req {
        let req = request::next_id().with_step();
        self.inner.state.lock().op = Some(req);
        let info = RequestInfo {
            id: req.id(),
            parent: 0,
            kind: RequestKind::Client,
            key: key.to_vec(),
            region: 0,
            store: 0,
        };
        self.inner.send(SessionEvent::Request(info));
        req
    }

    pub fn end_op(&self, op: Req) {
        self.inner.state.lock().op = None;
        self.inner.send(SessionEvent::Finished { req: op, engine_ns: EngineClock::now().0 });
    }

    /// Lets the request that was held first go, to be held again at its next stage. False if none is held.
    pub fn step(&self) -> bool {
        self.resume(Mode::Step, 1)
    }

    /// Lets all go to the next gate.
    pub fn to_gate(&self) -> bool {
        self.resume(Mode::ToGate, usize::MAX)
    }

    /// Lets all go to their end.
    pub fn run(&self) -> bool {
        self.resume(Mode::Run, usize::MAX)
    }

    fn resume(&self, mode: Mode, count: usize) -> bool {
        let held = {
            let mut state = self.inner.state.lock();
            state.mode = mode;
            self.inner.release(&mut state, count)
        };
        self.inner.wake(held)
    }

    /// Adds or removes a gate; true if it is set now.
    pub fn toggle_gate(&self, stage: StageId) -> bool {
        let mut state = self.inner.state.lock();
        let removed = state.gates.remove(&stage);
        if !removed {
            state.gates.insert(stage);
        }
        !removed
    }

    pub fn gates(&self) -> HashSet<StageId> {
        self.inner.state.lock().gates.clone()
    }

    /// What is held now, oldest first.
    pub fn held(&self) -> Vec<HoldInfo> {
        self.inner.state.lock().held.iter().map(|h| h.info.clone()).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        ACTIVE.store(false, Ordering::Release);
        watch_region(0);
        *CURRENT.write() = None;
        let held = {
            let mut state = self.inner.state.lock();
            state.closed = true;
            self.inner.release(&mut state, usize::MAX)
        };
        self.inner.wake(held);
    }
}
