//! The router: from an address to a mailbox.
use std::sync::Arc;

use crossbeam::channel::Sender;
use dashmap::DashMap;

use super::{Fsm, Mailbox, SendError};

/// What a poller takes from its channel.
pub(super) enum Scheduled<N: Fsm, C: Fsm> {
    Normal(Mailbox<N>, Box<N>),
    Control(Box<C>),
    /// The poller that takes it ends.
    Stop,
}

struct Inner<N: Fsm, C: Fsm> {
    normals: DashMap<u64, Mailbox<N>>,
    control: Mailbox<C>,
    scheduler: Sender<Scheduled<N, C>>,
}

/// Sends messages to FSMs by address. TiKV: `batch_system::router::Router`.
pub struct Router<N: Fsm, C: Fsm> {
    inner: Arc<Inner<N, C>>,
}

impl<N: Fsm, C: Fsm> Clone for Router<N, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<N: Fsm, C: Fsm> Router<N, C> {
    pub(super) fn new(control: Box<C>, scheduler: Sender<Scheduled<N, C>>) -> Self {
        let to = scheduler.clone();
        // After shutdown there is nobody to run it: it is dropped.
        let schedule = Box::new(move |_, fsm| drop(to.send(Scheduled::Control(fsm))));
        let control = Mailbox::new(control, schedule);
        Self { inner: Arc::new(Inner { normals: DashMap::new(), control, scheduler }) }
    }

    /// Gives an FSM its address. An FSM that has it already is stopped.
    pub fn register(&self, addr: u64, fsm: Box<N>) -> Mailbox<N> {
        let to = self.inner.scheduler.clone();
        let schedule = Box::new(move |mailbox, fsm| drop(to.send(Scheduled::Normal(mailbox, fsm))));
        let mailbox = Mailbox::new(fsm, schedule);
        if let Some(old) = self.inner.normals.insert(addr, mailbox.clone()) {
            old.close();
        }
        mailbox
    }

    pub fn mailbox(&self, addr: u64) -> Option<Mailbox<N>> {
        self.inner.normals.get(&addr).map(|m| m.value().clone())
    }

    pub fn control(&self) -> &Mailbox<C> {
        &self.inner.control
    }

    /// Sends to the FSM at `addr`.
    pub fn send(&self, addr: u64, message: N::Message) -> Result<(), SendError<N::Message>> {
        match self.mailbox(addr) {
            Some(mailbox) => mailbox.send(message),
            None => Err(SendError::Disconnected(message)),
        }
    }

    pub fn send_control(&self, message: C::Message) -> Result<(), SendError<C::Message>> {
        self.inner.control.send(message)
    }

    /// Sends to all normal FSMs.
    pub fn broadcast(&self, mut make: impl FnMut() -> N::Message) {
        let all: Vec<Mailbox<N>> = self.inner.normals.iter().map(|m| m.value().clone()).collect();
        for mailbox in all {
            // One that stops meanwhile needs no message.
            let _ = mailbox.send(make());
        }
    }

    /// All addresses, in no order.
    pub fn addresses(&self) -> Vec<u64> {
        self.inner.normals.iter().map(|m| *m.key()).collect()
    }

    /// Stops the FSM at `addr`.
    pub fn close(&self, addr: u64) {
        if let Some((_, mailbox)) = self.inner.normals.remove(&addr) {
            mailbox.close();
        }
    }

    /// Stops the FSM of this mailbox; another that took its address stays.
    pub(super) fn close_mailbox(&self, addr: u64, mailbox: &Mailbox<N>) {
        self.inner.normals.remove_if(&addr, |_, current| current.is_same(mailbox));
        mailbox.close();
    }

    /// Stops all FSMs; parked ones too.
    pub(crate) fn close_all(&self) {
        for addr in self.addresses() {
            self.close(addr);
        }
        self.inner.control.close();
    }

    pub(super) fn scheduler(&self) -> &Sender<Scheduled<N, C>> {
        &self.inner.scheduler
    }
}
