//! Waiting for locks of other transactions: the waiter manager ends waits, the deadlock detector finds cycles.
//!
//! Mirrors `src/server/lock_manager`.
mod client;
pub mod deadlock;
mod detect_table;
mod notifier;
mod service;
mod wait_table;
pub mod waiter_manager;
mod waiter_scheduler;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kvproto::deadlock::WaitForEntry;
use storage::lock_manager::{
    LockManager as LockManagerTrait, LockWaitToken, UpdateWaitForEvent, WaitFor, lock_waiting_queue::holders,
};
use tokio::{runtime::Runtime, sync::oneshot};
use tracepoints::probe::WaitGraphProbe;

pub use deadlock::DetectorParts;
pub use notifier::RoleChangeNotifier;
pub use service::DeadlockService;

use self::{
    deadlock::{Detector, Scheduler as DetectorScheduler},
    waiter_manager::WaiterManager,
    waiter_scheduler::Scheduler as WaiterMgrScheduler,
};
use crate::runtime;

/// The lock manager of a store.
pub struct LockManager {
    waiter_mgr_scheduler: WaiterMgrScheduler,
    detector_scheduler: DetectorScheduler,
    token_allocator: AtomicU64,
    waiter_count: Arc<AtomicUsize>,
}

/// The threads `waiter-manager` and `deadlock-detector`.
pub struct Threads {
    waiter_manager: Runtime,
    deadlock_detector: Runtime,
}

impl Threads {
    /// Stops both.
    pub fn stop(self, patience: Duration) {
        runtime::stop(self.waiter_manager, patience);
        runtime::stop(self.deadlock_detector, patience);
    }
}

impl LockManager {
    /// Starts the threads. `wait_for_lock_timeout` is the default time of a wait, and the longest one.
    ///
    /// # Errors
    /// The operating system cannot create the threads.
    pub fn start(
        store_id: u64,
        wait_for_lock_timeout: Duration,
        parts: DetectorParts,
    ) -> Result<(Arc<Self>, Threads), runtime::ThreadsError> {
        let threads = Threads {
            waiter_manager: runtime::build("waiter-manager", 1, store_id)?,
            deadlock_detector: runtime::build("deadlock-detector", 1, store_id)?,
        };
        let (waiter_mgr_scheduler, waits) = WaiterMgrScheduler::new();
        let (detector_scheduler, detections) =
            DetectorScheduler::new(threads.deadlock_detector.handle(), wait_for_lock_timeout);
        let waiter_count = Arc::<AtomicUsize>::default();
        let manager =
            WaiterManager::new(waiter_count.clone(), detector_scheduler.clone(), wait_for_lock_timeout);
        runtime::spawn(threads.waiter_manager.handle(), "waiter-manager", manager.run(waits));
        let detector =
            Detector::new(store_id, parts, waiter_mgr_scheduler.clone(), detector_scheduler.inner());
        runtime::spawn(threads.deadlock_detector.handle(), "deadlock-detector", detector.run(detections));
        let token_allocator = AtomicU64::new(1);
        let manager = Self { waiter_mgr_scheduler, detector_scheduler, token_allocator, waiter_count };
        Ok((Arc::new(manager), threads))
    }

    /// Returns the observer that follows the leader of the first region, and the regions of waiting requests.
    pub fn role_change_notifier(&self) -> RoleChangeNotifier {
        RoleChangeNotifier::new(
            self.detector_scheduler.clone(),
            self.waiter_mgr_scheduler.clone(),
            self.waiter_count.clone(),
        )
    }

    /// Returns the graph of the deadlock detector, if this store has it.
    pub fn wait_graph(&self, store_id: u64) -> Option<WaitGraphProbe> {
        self.detector_scheduler.graph(store_id)
    }

    /// Returns the service for other stores.
    pub fn deadlock_service(&self) -> DeadlockService {
        DeadlockService::new(self.waiter_mgr_scheduler.clone(), self.detector_scheduler.clone())
    }

    /// Sets the timeout of later waits: of those that name none, and the longest one that a request may name. An edge
    /// in the graph of the deadlock detector lives as long.
    pub fn set_wait_for_lock_timeout(&self, timeout: Duration) {
        self.waiter_mgr_scheduler.change_config(timeout);
        self.detector_scheduler.change_ttl(timeout);
    }
}

impl LockManagerTrait for LockManager {
    fn allocate_token(&self) -> LockWaitToken {
        LockWaitToken(self.token_allocator.fetch_add(1, Ordering::Relaxed))
    }

    fn wait_for(&self, wait: WaitFor) {
        // Counts the request now: later messages are skipped while the count is 0.
        self.waiter_count.fetch_add(1, Ordering::SeqCst);
        let (start_ts, is_first_lock) = (wait.start_ts, wait.is_first_lock);
        let (wait_info, diag_ctx) = (wait.wait_info.clone(), wait.diag_ctx.clone());
        self.waiter_mgr_scheduler.wait_for(wait);
        // No transaction can wait for one that has no lock.
        if !is_first_lock {
            tracepoints::stamp!(
                DEADLOCK_DETECT,
                diag_ctx.req,
                ts = start_ts.into_inner(),
                lock_ts = holders(&wait_info.lock_info).next().unwrap_or_default(),
            );
            self.detector_scheduler.detect(start_ts, wait_info, diag_ctx);
        }
    }

    fn update_wait_for(&self, updated_items: Vec<UpdateWaitForEvent>) {
        self.waiter_mgr_scheduler.update_wait_for(updated_items);
    }

    fn remove_lock_wait(&self, token: LockWaitToken) {
        if self.waiter_count.load(Ordering::SeqCst) > 0 {
            self.waiter_mgr_scheduler.remove_lock_wait(token);
        }
    }

    fn dump_wait_for_entries(&self, cb: oneshot::Sender<Vec<WaitForEntry>>) {
        self.waiter_mgr_scheduler.dump_wait_table(cb);
    }
}
