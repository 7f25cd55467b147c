//! The peer's lease and the state it publishes to reading threads.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use raft::StateRole;
use tracepoints::{EngineClock, clock::EngineInstant};

use super::Peer;
use crate::{
    coprocessor::RegionChangeEvent,
    store::{
        fsm::store::PollContext,
        lease::LeaseState,
        msg::{CampaignType, CasualMessage},
        read_delegate::{ReadDelegate, ReadDelegates},
        transport::Transport,
    },
};

impl Peer {
    /// Extends the lease: a quorum answered a message sent at `send_ts`. TiKV: `maybe_renew_leader_lease`.
    pub fn maybe_renew_leader_lease(&mut self, send_ts: EngineInstant) {
        // The target of a transfer may win an election at once, despite the quorum's answer. While a split is
        // applied here, other peers of a new region may elect a leader once the present lease ends.
        if self.is_leader() && self.raft_group.raft.lead_transferee.is_none() && !self.is_splitting() {
            self.leader_lease.renew(send_ts);
        }
    }

    /// Whether this leader may read locally now. TiKV: `inspect_lease`, `has_applied_to_current_term`.
    pub fn can_read_locally(&self) -> bool {
        self.is_leader()
            && self.storage().applied_term() == self.term()
            && self.leader_lease.inspect(EngineClock::now()) == LeaseState::Valid
    }

    /// Updates lease, reads and max_ts after a role change. TiKV: `on_role_changed`.
    pub(super) fn on_role_changed<T: Transport>(&mut self, ctx: &PollContext<T>, role: StateRole) {
        log::info!(
            "region {} peer {} is now {role:?} at term {}",
            self.region_id,
            self.peer_id(),
            self.term()
        );
        if self.is_initialized() {
            ctx.region_observer.on_role_change(self.region(), role);
        }
        let now = EngineClock::now();
        match role {
            StateRole::Leader => {
                self.became_leader = Some((self.term(), now));
                let members: Vec<u64> = self.region().peers.iter().map(|p| p.id).collect();
                self.peer_heartbeats = members.into_iter().map(|id| (id, now)).collect();
                self.require_updating_max_ts(ctx);
                self.txn_ext.pessimistic_locks.write().activate(self.term(), self.region().epoch().version);
                for region_id in std::mem::take(&mut self.uncampaigned_new_regions) {
                    let msg = CasualMessage::Campaign(CampaignType::UnsafeSplitCampaign);
                    // A region that is gone needs no leader.
                    let _ = ctx.router.send_casual_msg(region_id, msg);
                }
            }
            StateRole::Follower => {
                self.txn_ext.pessimistic_locks.write().deactivate(self.term(), self.region().epoch().version);
                self.leader_lease.expire();
                self.became_leader = None;
                self.uncampaigned_new_regions.clear();
                self.drop_reads();
            }
            StateRole::Candidate | StateRole::PreCandidate => {}
        }
    }

    /// Reports a change of the region to the observer.
    pub fn observe_region<T: Transport>(&self, ctx: &PollContext<T>, event: RegionChangeEvent) {
        if self.is_initialized() {
            ctx.region_observer.on_region_changed(self.region(), event, self.raft_group.raft.state);
        }
    }

    /// Disables async commit and 1PC until max_ts reaches PD's clock: earlier leaders may have answered reads
    /// at later timestamps. TiKV: `require_updating_max_ts`.
    fn require_updating_max_ts<T: Transport>(&self, ctx: &PollContext<T>) {
        let initial_status = self.txn_ext.require_max_ts_sync(self.term(), self.region().epoch().version);
        ctx.pd.update_max_timestamp(self.region_id, initial_status, self.txn_ext.clone());
    }

    /// Publishes a new delegate to reading threads if it changed. TiKV: `maybe_update_read_progress`.
    pub fn publish_delegate(&mut self, delegates: &ReadDelegates, advance: Duration) {
        if !self.is_initialized() {
            return;
        }
        let (term, applied_term) = (self.term(), self.storage().applied_term());
        self.applied_gauge.store(self.storage().applied_index(), Ordering::Release);
        let leads = self.is_leader() && !self.leader_lease.is_suspect();
        let fresh = if leads { self.leader_lease.maybe_new_remote_lease(term) } else { None };
        let old = self.published.as_deref();
        let same = old.is_some_and(|d| {
            (d.term, d.applied_term, d.leader_lease.is_some()) == (term, applied_term, leads)
                && Arc::ptr_eq(&d.region, self.region())
                && d.peer_id == self.peer_id()
        });
        if same && fresh.is_none() {
            return;
        }
        let kept = old.and_then(|d| d.leader_lease.clone()).filter(|l| leads && l.term() == term);
        let delegate = Arc::new(ReadDelegate {
            region: self.region().clone(),
            peer_id: self.peer_id(),
            term,
            applied_term,
            applied_index: self.applied_gauge.clone(),
            leader_lease: fresh.or(kept),
            txn_ext: self.txn_ext.clone(),
            renew_lease_advance: advance,
        });
        delegates.insert(self.region_id, delegate.clone());
        self.published = Some(delegate);
    }
}
