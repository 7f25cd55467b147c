//! The router: maps addresses to mailboxes.
use std::sync::Arc;

use crossbeam::channel::Sender;
use dashmap::DashMap;

use super::{
    Fsm,
    mailbox::{Mailbox, SendError},
};

/// Item that a poller takes from its channel.
pub(super) enum Scheduled<N: Fsm, C: Fsm> {
    Normal(Mailbox<N>, Box<N>),
    Control(Box<C>),
    /// The poller that takes this item ends.
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
        // After shutdown no poller is left to run the control FSM: drop it.
        let schedule = Box::new(move |_, fsm| drop(to.send(Scheduled::Control(fsm))));
        let control = Mailbox::new(control, schedule);
        Self { inner: Arc::new(Inner { normals: DashMap::new(), control, scheduler }) }
    }

    /// Registers an FSM at an address. Stops the FSM registered there before.
    pub fn register(&self, addr: u64, fsm: Box<N>) -> Mailbox<N> {
        let to = self.inner.scheduler.clone();
        let schedule = Box::new(move |mailbox, fsm| drop(to.send(Scheduled::Normal(mailbox, fsm))));
        let mailbox = Mailbox::new(fsm, schedule);
        if let Some(old) = self.inner.normals.insert(addr, mailbox.clone()) {
            old.close();
        }
        mailbox
    }

    /// Returns the mailbox of a normal FSM, if it exists.
    pub fn mailbox(&self, addr: u64) -> Option<Mailbox<N>> {
        self.inner.normals.get(&addr).map(|m| m.value().clone())
    }

    /// Returns the mailbox of the control FSM.
    pub fn control(&self) -> &Mailbox<C> {
        &self.inner.control
    }

    /// Sends a message to the FSM at `addr`.
    pub fn send(&self, addr: u64, message: N::Message) -> Result<(), SendError<N::Message>> {
        match self.mailbox(addr) {
            Some(mailbox) => mailbox.send(message),
            None => Err(SendError::Disconnected(message)),
        }
    }

    /// Sends a message to the control FSM.
    ///
    /// # Errors
    /// The message, if the system has stopped.
    pub fn send_control(&self, message: C::Message) -> Result<(), SendError<C::Message>> {
        self.inner.control.send(message)
    }

    /// Sends a message to every normal FSM.
    pub fn broadcast(&self, mut make: impl FnMut() -> N::Message) {
        let all: Vec<Mailbox<N>> = self.inner.normals.iter().map(|m| m.value().clone()).collect();
        for mailbox in all {
            // An FSM that stops during the broadcast needs no message.
            let _ = mailbox.send(make());
        }
    }

    /// Returns all addresses, in no particular order.
    pub fn addresses(&self) -> Vec<u64> {
        self.inner.normals.iter().map(|m| *m.key()).collect()
    }

    /// Stops the FSM at `addr`.
    pub fn close(&self, addr: u64) {
        if let Some((_, mailbox)) = self.inner.normals.remove(&addr) {
            mailbox.close();
        }
    }

    /// Stops the FSM of this mailbox, unless another FSM has taken over its address.
    pub(super) fn close_mailbox(&self, addr: u64, mailbox: &Mailbox<N>) {
        self.inner.normals.remove_if(&addr, |_, current| current.is_same(mailbox));
        mailbox.close();
    }

    /// Stops all FSMs, including parked ones.
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
