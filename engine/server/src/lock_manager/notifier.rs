//! Reports changes of regions to the deadlock detector and to the waiter manager. Mirrors `RoleChangeNotifier` of
//! `src/server/lock_manager/deadlock.rs`.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kvproto::metapb::Region;
use parking_lot::Mutex;
use raft::StateRole;
use raftstore::coprocessor::{RegionChangeEvent, RegionChangeObserver};

use super::{
    deadlock::{LEADER_KEY, Role, Scheduler as DetectorScheduler},
    waiter_scheduler::{Scheduler as WaiterMgrScheduler, Task},
};

/// Observer of a store's regions.
pub struct RoleChangeNotifier {
    /// The region with the first key; 0: this store has no peer of it.
    leader_region_id: Mutex<u64>,
    detector_scheduler: DetectorScheduler,
    waiter_mgr_scheduler: WaiterMgrScheduler,
    waiter_count: Arc<AtomicUsize>,
}

fn role_of(role: StateRole) -> Role {
    if role == StateRole::Leader { Role::Leader } else { Role::Follower }
}

fn is_leader_region(region: &Region) -> bool {
    !region.peers.is_empty()
        && region.start_key.as_slice() <= LEADER_KEY
        && (region.end_key.is_empty() || LEADER_KEY < region.end_key.as_slice())
}

impl RoleChangeNotifier {
    pub(super) fn new(
        detector_scheduler: DetectorScheduler,
        waiter_mgr_scheduler: WaiterMgrScheduler,
        waiter_count: Arc<AtomicUsize>,
    ) -> Self {
        Self { leader_region_id: Mutex::default(), detector_scheduler, waiter_mgr_scheduler, waiter_count }
    }

    fn has_waiter(&self) -> bool {
        self.waiter_count.load(Ordering::SeqCst) > 0
    }
}

impl RegionChangeObserver for RoleChangeNotifier {
    fn on_role_change(&self, region: &Region, role: StateRole) {
        if is_leader_region(region) && *self.leader_region_id.lock() == region.id {
            self.detector_scheduler.change_role(role_of(role));
        }
        if role != StateRole::Leader && self.has_waiter() {
            self.waiter_mgr_scheduler.notify_scheduler(Task::NotLeader(region.id));
        }
    }

    fn on_region_changed(&self, region: &Region, event: RegionChangeEvent, role: StateRole) {
        if self.has_waiter() {
            self.waiter_mgr_scheduler.notify_scheduler(match event {
                RegionChangeEvent::Destroy => Task::NotLeader(region.id),
                _ => Task::RegionChanged(Box::new(region.clone())),
            });
        }
        if !is_leader_region(region) {
            return;
        }
        let mut leader_region_id = self.leader_region_id.lock();
        match event {
            RegionChangeEvent::Create | RegionChangeEvent::Update => {
                *leader_region_id = region.id;
                self.detector_scheduler.change_role(role_of(role));
            }
            // After a merge another region has the first key already.
            RegionChangeEvent::Destroy if *leader_region_id == region.id => {
                *leader_region_id = 0;
                self.detector_scheduler.change_role(Role::Follower);
            }
            RegionChangeEvent::Destroy => {}
        }
    }
}
