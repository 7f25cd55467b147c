//! The session of this process, and what threads with a stepped request report to it.
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;

use super::{inner::Inner, regions::watch_region};
use crate::{catalogue::StageId, ending::Outcome, kind::RequestKind, probe::Probe, req::Req, stamp::Stamp};

thread_local! {
    /// The last stamp of a stepped request on this thread: a gate reads its fields.
    static LAST: Cell<Stamp> = const { Cell::new(Stamp::EMPTY) };
}

static ACTIVE: AtomicBool = AtomicBool::new(false);
static CURRENT: RwLock<Option<Arc<Inner>>> = RwLock::new(None);

/// Whether a session runs; one atomic load.
#[inline(always)]
pub fn active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

pub(super) fn current_inner() -> Option<Arc<Inner>> {
    if active() { CURRENT.read().clone() } else { None }
}

/// Makes the session that `make` returns the current one; `None` if there is one already.
pub(crate) fn start(make: impl FnOnce() -> Inner) -> Option<Arc<Inner>> {
    let mut slot = CURRENT.write();
    if slot.is_some() {
        return None;
    }
    let inner = Arc::new(make());
    *slot = Some(inner.clone());
    ACTIVE.store(true, Ordering::Release);
    Some(inner)
}

/// Ends the current session and releases its holds.
pub(crate) fn end(inner: &Inner) {
    let held = {
        let mut slot = CURRENT.write();
        ACTIVE.store(false, Ordering::Release);
        watch_region(0);
        *slot = None;
        inner.close()
    };
    inner.wake(held);
}

/// Publishes a stamp of a stepped request and records the entry or read round that it names.
#[cold]
#[inline(never)]
pub(crate) fn observe(stamp: Stamp) {
    LAST.set(stamp);
    if let Some(inner) = current_inner() {
        inner.observe(stamp);
    }
}

/// Returns this thread's last stamp if it is the one of this stage and request; otherwise a stamp without fields.
pub(super) fn last_stamp(stage: StageId, req: Req) -> Stamp {
    let last = LAST.get();
    let same = last.req == req && last.site.is_some_and(|site| site.stage == stage);
    if same { last } else { Stamp { req, ..Stamp::EMPTY } }
}

/// Publishes a probe; use [`probe!`](crate::probe) or [`probe_region!`](crate::probe_region).
#[cold]
#[inline(never)]
pub fn publish(req: Req, make: impl FnOnce() -> Probe) {
    if let Some(inner) = current_inner() {
        inner.publish(req, make);
    }
}

/// Publishes a region's state, at the newest stamp of `req` on this thread; without such a request, at the newest
/// step.
#[cold]
#[inline(never)]
pub fn publish_region(req: Req, make: impl FnOnce() -> Probe) {
    if let Some(inner) = current_inner() {
        let req = if inner.knows(req) { req } else { Req::NONE };
        inner.publish(req, make);
    }
}

/// Marks a new request as stepped if it matches the session.
#[cold]
pub(crate) fn adopt(req: Req, kind: RequestKind, key: &[u8], region: u64) -> Req {
    match current_inner() {
        Some(inner) if inner.adopt(req, kind, key, region) => req.with_step(),
        _ => req,
    }
}

#[cold]
pub(crate) fn finished(req: Req, outcome: Outcome) {
    if let Some(inner) = current_inner() {
        inner.finished(req, outcome);
    }
}
