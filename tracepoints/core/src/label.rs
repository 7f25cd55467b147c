//! The request and stage a thread is working on: its last stamp, for a sampler that interrupts the thread.
//!
//! Precision: a stamp sets the label, which stays until this thread's next stamp, until the request ends
//! here, or until its task or FSM leaves the thread. A waiting task takes its label along ([`labelled`]).
//! Work for several requests at once (one fsync, one write batch) counts for the request that was stamped
//! last; work of a task before its first stamp counts for none.
use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering, fence},
    task::{Context, Poll},
};

pub use crate::stamp::Label;
use crate::{kind::RequestKind, local, req::Req};

impl Label {
    /// Returns the request's kind and the region: of the stamp, else of the request (0: unknown).
    ///
    /// Safe in a signal handler: loads only.
    pub fn request(self) -> (Option<RequestKind>, u64) {
        let (kind, region) = find(self.req).unzip();
        let region = if self.region == 0 { region.unwrap_or(0) } else { self.region };
        (kind, region)
    }
}

/// Returns this thread's label. Safe in a signal handler that interrupts the thread: it only reads plain
/// cells.
#[inline]
pub fn current() -> Label {
    local::label()
}

/// Returns this thread's id, see [`crate::thread::info`]; `None` without registration. Safe in a signal
/// handler.
pub fn thread() -> Option<u16> {
    local::identity().map(|(id, _)| id)
}

/// Clears the label when the thread leaves its request: its next work belongs to another one.
#[inline]
pub fn clear() {
    local::set_label(Label::NONE);
}

/// Clears the label of a request that has ended on this thread.
pub(crate) fn ended(req: Req) {
    if current().req == req {
        clear();
    }
}

/// Wraps a task so that its label moves with it: set while the task is polled, cleared when the task waits or
/// ends.
pub fn labelled<F: Future>(future: F) -> Labelled<F> {
    Labelled { future, label: Label::NONE }
}

/// See [`labelled`].
#[derive(Debug)]
pub struct Labelled<F> {
    future: F,
    label: Label,
}

/// Restores the thread's label, even if the task panics.
struct Restore(Label);

impl Drop for Restore {
    fn drop(&mut self) {
        local::set_label(self.0);
    }
}

impl<F: Future> Future for Labelled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned as the whole is and never moved out; `label` is plain data.
        let (future, label) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.label)
        };
        let _restore = Restore(local::label());
        local::set_label(*label);
        let out = future.poll(cx);
        *label = local::label();
        out
    }
}

/// Number of requests whose kind and region are remembered; this many younger requests overwrite an older
/// one.
const REQUESTS: usize = 1 << 14;
const REGION_BITS: u32 = 56;

/// A request's id, kind and region; the id is written last.
struct Slot {
    id: AtomicU64,
    what: AtomicU64,
}

static SLOTS: [Slot; REQUESTS] =
    [const { Slot { id: AtomicU64::new(0), what: AtomicU64::new(0) } }; REQUESTS];

fn slot(req: Req) -> &'static Slot {
    &SLOTS[req.id() as usize % REQUESTS]
}

/// Remembers kind and region of a new request.
pub(crate) fn begins(req: Req, kind: RequestKind, region: u64) {
    let slot = slot(req);
    slot.id.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    let region = region & ((1 << REGION_BITS) - 1);
    slot.what.store((kind as u64) << REGION_BITS | region, Ordering::Relaxed);
    slot.id.store(req.id(), Ordering::Release);
}

fn find(req: Req) -> Option<(RequestKind, u64)> {
    let slot = slot(req);
    let same = |id: u64| id == req.id() && !req.is_none();
    if !same(slot.id.load(Ordering::Acquire)) {
        return None;
    }
    let what = slot.what.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    if !same(slot.id.load(Ordering::Relaxed)) {
        return None;
    }
    let kind = RequestKind::ALL.get((what >> REGION_BITS) as usize)?;
    Some((*kind, what & ((1 << REGION_BITS) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{begin, end};

    fn at() -> Option<&'static str> {
        current().site.map(|s| s.stage.name())
    }

    #[test]
    fn the_last_stamp_is_the_label_until_the_request_ends_here() {
        clear();
        let req = begin(RequestKind::KvGet, b"k", 7);
        assert_eq!(at(), None, "a mark is no stage");
        crate::stamp!(GRPC_RECEIVE, req);
        assert_eq!((at(), current().req), (Some("grpc_receive"), req));
        assert_eq!(current().request(), (Some(RequestKind::KvGet), 7));
        crate::stamp!(LOCAL_READ, req, region = 9_u64);
        assert_eq!(current().request(), (Some(RequestKind::KvGet), 9), "a stamp's own region counts");
        let other = begin(RequestKind::RawPut, b"k", 1);
        end(other);
        assert_eq!(at(), Some("local_read"));
        end(req);
        assert_eq!((at(), current().request()), (None, (None, 0)));
    }

    #[test]
    fn a_task_takes_its_label_along() {
        clear();
        let (first, second) = (begin(RequestKind::KvGet, b"a", 1), begin(RequestKind::RawPut, b"b", 2));
        let task = |req| {
            let mut waited = false;
            Box::pin(labelled(std::future::poll_fn(move |_| {
                if waited {
                    return Poll::Ready(current().req);
                }
                crate::stamp!(READ_POOL_RUN, req);
                waited = true;
                Poll::Pending
            })))
        };
        let (mut a, mut b) = (task(first), task(second));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(a.as_mut().poll(&mut cx).is_pending());
        assert_eq!(at(), None, "no task is at a stage while both wait");
        assert!(b.as_mut().poll(&mut cx).is_pending());
        assert_eq!(a.as_mut().poll(&mut cx), Poll::Ready(first));
        assert_eq!(b.as_mut().poll(&mut cx), Poll::Ready(second));
        assert_eq!(at(), None);
    }

    #[test]
    fn a_request_that_is_forgotten_has_no_kind() {
        let req = Req::from_id(1 << 40);
        begins(req, RequestKind::KvScan, 3);
        assert_eq!(find(req), Some((RequestKind::KvScan, 3)));
        begins(Req::from_id((1 << 40) + REQUESTS as u64), RequestKind::Tso, 0);
        assert_eq!(find(req), None);
        assert_eq!(find(Req::NONE), None);
    }
}
