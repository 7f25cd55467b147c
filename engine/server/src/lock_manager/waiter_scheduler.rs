//! The tasks of the waiter manager, and the handle that sends them (TiKV `Scheduler` and `Task` in
//! `src/server/lock_manager/waiter_manager.rs`). The deadlock detector has the handle, too.
use std::time::Duration;

use kvproto::{deadlock::WaitForEntry, metapb::Region};
use storage::lock_manager::{LockDigest, LockWaitToken, UpdateWaitForEvent, WaitFor};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};
use txn_types::TimeStamp;

/// A deadlock that the detector found.
#[derive(Debug)]
pub struct Deadlock {
    /// The transaction whose wait closes the cycle.
    pub start_ts: TimeStamp,
    /// Raw key that it waits for.
    pub key: Vec<u8>,
    /// The lock that it waits for.
    pub lock: LockDigest,
    /// Hash of the key on which another transaction waits for it.
    pub deadlock_key_hash: u64,
    /// The cycle.
    pub wait_chain: Vec<WaitForEntry>,
}

/// Message to the waiter manager. The number of queued messages is bounded by that of running requests.
pub enum Task {
    /// A request begins to wait.
    WaitFor(Box<WaitFor>),
    /// A request no longer waits.
    RemoveLockWait(LockWaitToken),
    /// Keys of waiting requests have new locks.
    UpdateWaitFor(Vec<UpdateWaitForEvent>),
    /// Answers with all waits.
    Dump(oneshot::Sender<Vec<WaitForEntry>>),
    /// A wait closes a cycle.
    Deadlock(Box<Deadlock>),
    /// The default timeout changes.
    ChangeConfig(Duration),
    /// This store no longer leads the region.
    NotLeader(u64),
    /// The range of the region has changed.
    RegionChanged(Box<Region>),
}

/// Sends to the waiter manager.
#[derive(Clone)]
pub struct Scheduler(UnboundedSender<Task>);

impl Deadlock {
    /// Makes the deadlock of a refused wait, which is the last of the chain.
    pub(super) fn new(
        entry: WaitForEntry,
        deadlock_key_hash: u64,
        mut wait_chain: Vec<WaitForEntry>,
    ) -> Self {
        let lock = LockDigest { ts: entry.wait_for_txn.into(), hash: entry.key_hash };
        let (start_ts, key) = (entry.txn.into(), entry.key.clone());
        wait_chain.push(entry);
        Self { start_ts, key, lock, deadlock_key_hash, wait_chain }
    }
}

impl Scheduler {
    /// Creates the channel.
    pub fn new() -> (Self, UnboundedReceiver<Task>) {
        let (tasks, received) = unbounded_channel();
        (Self(tasks), received)
    }

    pub(super) fn notify_scheduler(&self, task: Task) {
        // At the end of the store nothing receives; the requests are dropped then, too.
        if self.0.send(task).is_err() {
            log::debug!("the waiter manager has stopped");
        }
    }

    pub(super) fn wait_for(&self, wait: WaitFor) {
        self.notify_scheduler(Task::WaitFor(Box::new(wait)));
    }

    pub(super) fn remove_lock_wait(&self, token: LockWaitToken) {
        self.notify_scheduler(Task::RemoveLockWait(token));
    }

    pub(super) fn update_wait_for(&self, events: Vec<UpdateWaitForEvent>) {
        self.notify_scheduler(Task::UpdateWaitFor(events));
    }

    pub(super) fn dump_wait_table(&self, cb: oneshot::Sender<Vec<WaitForEntry>>) {
        self.notify_scheduler(Task::Dump(cb));
    }

    pub(super) fn deadlock(&self, deadlock: Deadlock) {
        self.notify_scheduler(Task::Deadlock(Box::new(deadlock)));
    }

    pub(super) fn change_config(&self, timeout: Duration) {
        self.notify_scheduler(Task::ChangeConfig(timeout));
    }
}
