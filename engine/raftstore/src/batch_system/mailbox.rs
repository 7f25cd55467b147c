//! The mailbox of one FSM: its queued messages, and the FSM itself while no poller runs it.
use std::sync::Arc;

use crossbeam::queue::SegQueue;
use parking_lot::Mutex;

use super::Fsm;

/// Reason why a message was rejected; returns the message to the sender.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<M> {
    /// No FSM has this address, or it has stopped.
    Disconnected(M),
}

/// Location and wake-up state of the FSM.
struct Slot<F> {
    /// The FSM, while it is idle or parked; `None` while a poller runs it.
    fsm: Option<Box<F>>,
    /// Parked: only `wake` may schedule the FSM.
    parked: bool,
    /// `wake` was called before the poller returned the FSM to be parked.
    woken: bool,
    closed: bool,
}

struct Inner<F: Fsm> {
    messages: SegQueue<F::Message>,
    place: Mutex<Slot<F>>,
    schedule: Schedule<F>,
}

/// Passes an FSM and its mailbox to the pollers.
pub(super) type Schedule<F> = Box<dyn Fn(Mailbox<F>, Box<F>) + Send + Sync>;

/// Handle to an FSM. TiKV: `batch_system::mailbox::BasicMailbox`.
pub struct Mailbox<F: Fsm> {
    inner: Arc<Inner<F>>,
}

impl<F: Fsm> Clone for Mailbox<F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<F: Fsm> Mailbox<F> {
    /// Creates the mailbox of an idle FSM; `schedule` passes the FSM to the pollers.
    pub(super) fn new(fsm: Box<F>, schedule: Schedule<F>) -> Self {
        let place = Slot { fsm: Some(fsm), parked: false, woken: false, closed: false };
        Self { inner: Arc::new(Inner { messages: SegQueue::new(), place: Mutex::new(place), schedule }) }
    }

    /// Adds a message and schedules the FSM if it is idle.
    pub fn send(&self, message: F::Message) -> Result<(), SendError<F::Message>> {
        if self.inner.place.lock().closed {
            return Err(SendError::Disconnected(message));
        }
        self.inner.messages.push(message);
        let mut place = self.inner.place.lock();
        let fsm = if place.parked { None } else { place.fsm.take() };
        drop(place);
        if let Some(fsm) = fsm {
            (self.inner.schedule)(self.clone(), fsm);
        }
        Ok(())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Number of queued messages.
    pub fn len(&self) -> usize {
        self.inner.messages.len()
    }

    /// Whether no message is queued.
    pub fn is_empty(&self) -> bool {
        self.inner.messages.is_empty()
    }

    /// Takes the next message; called by the poller that runs the FSM.
    pub fn try_recv(&self) -> Option<F::Message> {
        self.inner.messages.pop()
    }

    /// Schedules the FSM if it is parked; if it is about to park, schedules it as soon as it has parked.
    pub fn wake(&self) {
        let fsm = {
            let mut place = self.inner.place.lock();
            match place.fsm.take() {
                Some(fsm) => {
                    place.parked = false;
                    Some(fsm)
                }
                None => {
                    place.woken = true;
                    None
                }
            }
        };
        if let Some(fsm) = fsm {
            (self.inner.schedule)(self.clone(), fsm);
        }
    }

    /// Takes the FSM back from its poller. With `park` no message schedules it, only `wake` does.
    pub(super) fn release(&self, fsm: Box<F>, park: bool) {
        let again = {
            let mut place = self.inner.place.lock();
            if place.closed {
                return;
            }
            let woken = std::mem::take(&mut place.woken);
            if (park && woken) || (!park && !self.inner.messages.is_empty()) {
                place.parked = false;
                Some(fsm)
            } else {
                place.parked = park;
                place.fsm = Some(fsm);
                None
            }
        };
        if let Some(fsm) = again {
            (self.inner.schedule)(self.clone(), fsm);
        }
    }

    /// Rejects all further messages. Drops the queued messages, and the FSM if it is idle.
    pub(super) fn close(&self) {
        let fsm = {
            let mut place = self.inner.place.lock();
            place.closed = true;
            place.fsm.take()
        };
        drop(fsm);
        while self.inner.messages.pop().is_some() {}
    }
}
