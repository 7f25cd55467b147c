//! Pollers of apply FSMs, threads `apply-{n}`.
use engine_rocks::RocksEngine;

use super::{
    context::ApplyContext,
    fsm::{ApplyFsm, ControlFsm},
    msg::{ApplyMsg, Registration},
};
use crate::{
    RaftRouter,
    batch_system::{BatchSystem, HandleResult, HandlerBuilder, Mailbox, PollHandler, Router},
    store::{msg::PeerMsg, worker::region::RegionScheduler},
};

/// Batch system of the apply FSMs.
pub type ApplyBatchSystem = BatchSystem<ApplyFsm, ControlFsm>;

/// Sends messages to apply FSMs. TiKV: `ApplyRouter`.
#[derive(Clone)]
pub struct ApplyRouter {
    router: Router<ApplyFsm, ControlFsm>,
}

impl ApplyRouter {
    /// Creates a router.
    pub fn new(router: Router<ApplyFsm, ControlFsm>) -> Self {
        Self { router }
    }

    /// Sends a message; a registration creates the FSM if it does not exist.
    pub fn schedule(&self, region_id: u64, msg: ApplyMsg) {
        let Err(crate::batch_system::SendError::Disconnected(msg)) = self.router.send(region_id, msg) else {
            return;
        };
        match msg {
            ApplyMsg::Registration(registration) => {
                self.router.register(region_id, Box::new(ApplyFsm::new(*registration)));
            }
            // The dropped callbacks respond that the peer is gone.
            _ => log::info!("region {region_id}: cannot apply, the peer is gone"),
        }
    }

    /// Creates the region's FSM, or resets it.
    pub fn register(&self, registration: Registration) {
        let region_id = registration.region.id;
        self.schedule(region_id, ApplyMsg::Registration(Box::new(registration)));
    }
}

/// Creates the batch system; `max_batch_size` limits the FSMs of one round.
pub fn new_batch_system(max_batch_size: usize) -> ApplyBatchSystem {
    BatchSystem::new(Box::new(ControlFsm), ApplyFsm::region_id, max_batch_size)
}

/// Creates the apply pollers.
pub struct ApplyBuilder {
    /// RocksDB.
    pub kv: RocksEngine,
    /// Router to the store's peers.
    pub router: RaftRouter,
    /// Schedules snapshots and deletions.
    pub region_scheduler: RegionScheduler,
    /// Maximum number of messages that an FSM handles before the next FSM runs.
    pub messages_per_tick: usize,
}

impl HandlerBuilder<ApplyFsm, ControlFsm> for ApplyBuilder {
    type Handler = ApplyPoller;

    fn build(&mut self, _: usize) -> ApplyPoller {
        let ctx = ApplyContext::new(self.kv.clone(), self.router.clone(), self.region_scheduler.clone());
        ApplyPoller { ctx, messages_per_tick: self.messages_per_tick }
    }
}

/// Runs apply FSMs. TiKV: `ApplyPoller`.
pub struct ApplyPoller {
    ctx: ApplyContext,
    messages_per_tick: usize,
}

impl PollHandler<ApplyFsm, ControlFsm> for ApplyPoller {
    fn begin(&mut self, _: usize) {}

    fn handle_control(&mut self, _: &mut ControlFsm, mailbox: &Mailbox<ControlFsm>) {
        while mailbox.try_recv().is_some() {}
    }

    fn handle_normal(&mut self, fsm: &mut ApplyFsm, mailbox: &Mailbox<ApplyFsm>) -> HandleResult {
        for _ in 0..self.messages_per_tick {
            let Some(msg) = mailbox.try_recv() else { break };
            tracepoints::label::clear();
            match msg {
                ApplyMsg::Apply(apply) => fsm.delegate.handle_apply(&mut self.ctx, apply),
                ApplyMsg::Registration(registration) => fsm.delegate.register(*registration),
                ApplyMsg::GenSnapshot(task) => fsm.delegate.handle_gen_snapshot(&mut self.ctx, task),
                ApplyMsg::Destroy => {
                    fsm.stopped = true;
                    // Write all earlier entries before the peer is notified.
                    self.ctx.flush();
                    let _ = self.ctx.router.send_peer(fsm.region_id(), PeerMsg::ApplyDestroyed);
                    break;
                }
            }
        }
        if fsm.stopped { HandleResult::Stop } else { HandleResult::Release }
    }

    fn end(&mut self) {
        self.ctx.flush();
    }
}
