//! The thread `waiter-manager`: ends waits at their timeouts, after a deadlock, and when a region has moved.
//!
//! Mirrors `src/server/lock_manager/waiter_manager.rs`. In TiKV a request still waits after the leader of its region
//! has moved. Here the request ends with the region error that its client would get anyway.
use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use kvproto::{errorpb, metapb::Region};
use storage::{
    Error,
    lock_manager::{UpdateWaitForEvent, WaitFor},
    mvcc,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tracepoints::{EngineClock, clock::EngineInstant};
use txn_types::LockInfoExt;

use super::{
    deadlock::Scheduler as DetectorScheduler,
    wait_table::{WaitTable, Waiter},
    waiter_scheduler::{Deadlock, Task},
};

/// State of the thread `waiter-manager`.
pub struct WaiterManager {
    wait_table: WaitTable,
    detector_scheduler: DetectorScheduler,
    default_wait_for_lock_timeout: Duration,
}

impl WaiterManager {
    /// `waiter_count` counts the requests, also those that are not added yet.
    pub fn new(
        waiter_count: Arc<AtomicUsize>,
        detector_scheduler: DetectorScheduler,
        default_wait_for_lock_timeout: Duration,
    ) -> Self {
        let wait_table = WaitTable::new(waiter_count);
        Self { wait_table, detector_scheduler, default_wait_for_lock_timeout }
    }

    /// Runs until all schedulers are dropped.
    pub async fn run(mut self, mut tasks: UnboundedReceiver<Task>) {
        loop {
            let next = self.wait_table.next_deadline();
            tokio::select! {
                task = tasks.recv() => match task {
                    Some(task) => self.handle(task),
                    None => return,
                },
                () = passed(next) => self.handle_timeouts(),
            }
        }
    }

    fn handle(&mut self, task: Task) {
        match task {
            Task::WaitFor(wait) => self.handle_wait_for(*wait),
            Task::RemoveLockWait(token) => {
                if let Some(waiter) = self.wait_table.take_waiter(token) {
                    self.detector_scheduler.clean_up_wait_for(waiter.start_ts, waiter.wait_info);
                }
            }
            Task::UpdateWaitFor(events) => self.handle_update_wait_for(events),
            // The caller may be gone.
            Task::Dump(cb) => drop(cb.send(self.wait_table.to_wait_for_entries())),
            Task::Deadlock(deadlock) => self.handle_deadlock(*deadlock),
            Task::ChangeConfig(timeout) => self.default_wait_for_lock_timeout = timeout,
            Task::NotLeader(region_id) => {
                let ended = self.wait_table.take_where(|waiter| waiter.region_id == region_id);
                self.cancel(ended, || not_leader(region_id));
            }
            Task::RegionChanged(region) => {
                let ended = self.wait_table.take_where(|waiter| left(&region, waiter));
                self.cancel(ended, || epoch_not_match(&region));
            }
        }
    }

    fn handle_wait_for(&mut self, wait: WaitFor) {
        let timeout = wait.timeout.into_duration_with_ceiling(self.default_wait_for_lock_timeout);
        let waiter = Waiter {
            region_id: wait.region_id,
            region_epoch: wait.region_epoch,
            start_ts: wait.start_ts,
            wait_info: wait.wait_info,
            cancel_callback: wait.cancel_callback,
            diag_ctx: wait.diag_ctx,
            deadline: EngineClock::now() + timeout,
            last_updated: None,
        };
        self.wait_table.add_waiter(wait.token, waiter);
    }

    fn handle_timeouts(&mut self) {
        let now = EngineClock::now();
        while let Some(waiter) = self.wait_table.take_expired(now) {
            let mut lock_info = waiter.wait_info.lock_info.clone();
            // Rounds up: 0 means that the lock is still the first one.
            let since = waiter.last_updated.map(|at| (now.saturating_since(at).as_millis() as u64).max(1));
            lock_info.duration_to_last_update_ms = since.unwrap_or_default();
            let error = mvcc::ErrorInner::KeyIsLocked(Box::new(lock_info));
            (waiter.cancel_callback)(mvcc::Error::from(error).into());
            self.detector_scheduler.clean_up_wait_for(waiter.start_ts, waiter.wait_info);
        }
    }

    fn handle_update_wait_for(&mut self, events: Vec<UpdateWaitForEvent>) {
        let now = EngineClock::now();
        for event in events {
            let Some((previous, diag_ctx)) = self.wait_table.update_waiter(&event, now) else { continue };
            // A request of the normal mode is woken before it can wait for another lock. But it stays when one of the
            // transactions that share the lock gives up its part; that one may wait for this request later.
            let stays = previous.allow_lock_with_conflict || previous.lock_info.is_shared_lock();
            if !event.is_first_lock && stays {
                self.detector_scheduler.clean_up_wait_for(event.start_ts, previous);
                self.detector_scheduler.detect(event.start_ts, event.wait_info, diag_ctx);
            }
        }
    }

    fn handle_deadlock(&mut self, deadlock: Deadlock) {
        let Deadlock { start_ts, key, lock, deadlock_key_hash, wait_chain } = deadlock;
        let Some(waiter) = self.wait_table.take_waiter_by_lock_digest(lock, start_ts) else { return };
        if waiter.wait_info.lock_info.is_shared_lock() {
            // Waits for the other transactions that share the lock may be in the graph.
            self.detector_scheduler.clean_up_wait_for(start_ts, waiter.wait_info);
        }
        let error = mvcc::ErrorInner::Deadlock {
            start_ts,
            lock_ts: lock.ts,
            lock_key: key,
            deadlock_key_hash,
            wait_chain,
        };
        (waiter.cancel_callback)(mvcc::Error::from(error).into());
    }

    fn cancel(&self, waiters: Vec<Waiter>, error: impl Fn() -> errorpb::Error) {
        for waiter in waiters {
            let error = tikv_kv::Error::from(tikv_kv::ErrorInner::Request(error()));
            (waiter.cancel_callback)(Error::from(error));
            self.detector_scheduler.clean_up_wait_for(waiter.start_ts, waiter.wait_info);
        }
    }
}

/// Waits until engine time has passed `deadline`; forever without one. Engine time may be slower than real time.
async fn passed(deadline: Option<EngineInstant>) {
    let Some(deadline) = deadline else { return std::future::pending().await };
    loop {
        let left = deadline.saturating_since(EngineClock::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.max(Duration::from_millis(1))).await;
    }
}

/// Whether the key of the request is no longer in the region.
fn left(region: &Region, waiter: &Waiter) -> bool {
    let key = waiter.wait_info.key.as_encoded();
    let inside = *key >= region.start_key && (region.end_key.is_empty() || *key < region.end_key);
    let newer = region.region_epoch.unwrap_or_default().version > waiter.region_epoch.version;
    waiter.region_id == region.id && newer && !inside
}

fn not_leader(region_id: u64) -> errorpb::Error {
    errorpb::Error {
        message: format!("region {region_id} is not led by this store any more"),
        not_leader: Some(errorpb::NotLeader { region_id, leader: None }),
        ..errorpb::Error::default()
    }
}

fn epoch_not_match(region: &Region) -> errorpb::Error {
    errorpb::Error {
        message: format!("region {} has been split while the request waited for a lock", region.id),
        epoch_not_match: Some(errorpb::EpochNotMatch { current_regions: vec![region.clone()] }),
        ..errorpb::Error::default()
    }
}
