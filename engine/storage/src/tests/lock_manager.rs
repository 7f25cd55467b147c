//! A lock manager without threads: the test ends the waits.
use std::sync::atomic::{AtomicU64, Ordering};

use kvproto::deadlock::WaitForEntry;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Error,
    lock_manager::{LockManager, LockWaitToken, UpdateWaitForEvent, WaitFor},
    mvcc,
};

/// Collects the requests that wait. TiKV: `MockLockManager`.
#[derive(Default)]
pub struct MockLockManager {
    tokens: AtomicU64,
    waits: Mutex<Vec<WaitFor>>,
    pub updates: Mutex<Vec<UpdateWaitForEvent>>,
}

impl MockLockManager {
    /// Number of requests that wait, as far as the scheduler has reported.
    pub fn waiting(&self) -> usize {
        self.waits.lock().len()
    }

    /// Ends all waits with `error`, made from each.
    pub fn end_all(&self, error: impl Fn(&WaitFor) -> Error) {
        for wait in std::mem::take(&mut *self.waits.lock()) {
            let error = error(&wait);
            (wait.cancel_callback)(error);
        }
    }

    /// Ends all waits as their timeouts do.
    pub fn simulate_timeout_all(&self) {
        self.end_all(|wait| {
            let lock = Box::new(wait.wait_info.lock_info.clone());
            mvcc::Error::from(mvcc::ErrorInner::KeyIsLocked(lock)).into()
        });
    }
}

impl LockManager for MockLockManager {
    fn allocate_token(&self) -> LockWaitToken {
        LockWaitToken(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    fn wait_for(&self, wait: WaitFor) {
        self.waits.lock().push(wait);
    }

    fn update_wait_for(&self, updated_items: Vec<UpdateWaitForEvent>) {
        self.updates.lock().extend(updated_items);
    }

    fn remove_lock_wait(&self, token: LockWaitToken) {
        self.waits.lock().retain(|wait| wait.token != token);
    }

    fn dump_wait_for_entries(&self, cb: oneshot::Sender<Vec<WaitForEntry>>) {
        let entry = |wait: &WaitFor| WaitForEntry {
            txn: wait.start_ts.into_inner(),
            wait_for_txn: wait.wait_info.lock_digest.ts.into_inner(),
            ..WaitForEntry::default()
        };
        // The caller may be gone.
        drop(cb.send(self.waits.lock().iter().map(entry).collect()));
    }
}
