//! Removes a peer from the store: waits for pending writes, then deletes the peer's state.
//! Mirrors `destroy_peer`.
use super::{Destroying, run::PeerFsmDelegate};
use crate::{
    coprocessor::RegionChangeEvent,
    store::{
        fsm::apply::ApplyMsg, msg::PeerMsg, peer::Unpersisted, peer_storage, transport::Transport,
        worker::region::RegionTask,
    },
};

impl<T: Transport> PeerFsmDelegate<'_, T> {
    pub(super) fn start_destroy(&mut self) {
        if self.fsm.destroying.is_some() {
            return;
        }
        let region_id = self.fsm.region_id();
        log::info!("region {region_id}: peer {} leaves this store", self.fsm.peer.peer_id());
        self.ctx.delegates.remove(&region_id);
        self.fsm.peer.leader_lease.expire();
        self.fsm.peer.observe_region(self.ctx, RegionChangeEvent::Destroy);
        self.fsm.peer.refuse_all();
        let initialized = self.fsm.peer.is_initialized();
        self.fsm.destroying = Some(Destroying { apply_done: !initialized });
        if initialized {
            self.ctx.apply_router.schedule(region_id, ApplyMsg::Destroy);
        }
        self.maybe_finish_destroy();
    }

    /// Processes only messages that end the wait. Dropped commands respond with `StaleCommand`.
    pub(super) fn handle_msg_while_leaving(&mut self, msg: PeerMsg) {
        match msg {
            PeerMsg::Persisted(msg) if msg.peer_id == self.fsm.peer.peer_id() => {
                let peer = &mut self.fsm.peer;
                let done = |r: &Unpersisted| r.number <= msg.ready_number;
                // The snapshot's data was not requested yet and is no longer needed.
                if peer.unpersisted.iter().any(|r| done(r) && r.snapshot.is_some()) {
                    peer.storage().finish_applying();
                }
                peer.unpersisted.retain(|r| !done(r));
            }
            PeerMsg::ApplyDestroyed => {
                if let Some(destroying) = &mut self.fsm.destroying {
                    destroying.apply_done = true;
                }
            }
            PeerMsg::SnapshotApplied(_) => self.fsm.peer.storage().finish_applying(),
            _ => return,
        }
        self.maybe_finish_destroy();
    }

    fn maybe_finish_destroy(&mut self) {
        let peer = &self.fsm.peer;
        let applied = self.fsm.destroying.is_some_and(|d| d.apply_done);
        let written = peer.unpersisted.iter().all(|r| !r.has_data);
        // Once a snapshot's states are written, the region worker applies it and reports back.
        if applied && written && !peer.storage().is_applying_snapshot() {
            self.destroy();
        }
    }

    fn destroy(&mut self) {
        let peer = &self.fsm.peer;
        let region = (**peer.region()).clone();
        {
            let mut meta = self.ctx.store_meta.lock();
            meta.remove_pending_snapshot(region.id);
            if let Some(old) = meta.regions.remove(&region.id) {
                meta.remove_range(&old);
            }
        }
        if let Err(err) = peer_storage::write_tombstone(&peer.storage().engines, &region, &peer.peer) {
            self.ctx.router.stop_store(&format!("region {}: cannot remove its peer: {err}", region.id));
        }
        if peer.is_initialized() {
            self.ctx.region_scheduler.schedule(RegionTask::Destroy { region });
        }
        self.fsm.pending_steps.clear();
        self.fsm.stopped = true;
    }
}
