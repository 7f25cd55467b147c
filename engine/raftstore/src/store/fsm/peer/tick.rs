//! Periodic work of a peer. Mirrors `on_tick`.
use super::run::PeerFsmDelegate;
use crate::store::{
    msg::PeerTick,
    transport::Transport,
    worker::split_check::{Limits, Running, SplitCheckTask},
};

impl<T: Transport> PeerFsmDelegate<'_, T> {
    pub(super) fn on_tick(&mut self, tick: PeerTick) {
        match tick {
            PeerTick::Raft => self.on_raft_base_tick(),
            PeerTick::RaftLogGc => self.on_raft_log_gc(false),
            PeerTick::PdHeartbeat => self.fsm.peer.heartbeat_pd(self.ctx),
            PeerTick::CheckLeaderLease => self.fsm.peer.try_renew_leader_lease(),
            PeerTick::SplitRegionCheck => self.on_split_region_check(),
            PeerTick::CheckPeerStaleState => self.on_check_peer_stale_state(),
        }
    }

    fn on_raft_base_tick(&mut self) {
        self.reactivate_memory_locks();
        let peer = &mut self.fsm.peer;
        // The peer cannot take part in Raft while a snapshot replaces its data.
        if peer.storage().is_applying_snapshot() || peer.raft_group.snap().is_some() {
            return;
        }
        peer.check_uncampaigned_regions();
        peer.retry_pending_reads(self.ctx.config.raft_read_index_retry_interval_ticks);
        peer.raft_group.tick();
    }

    pub(super) fn on_raft_log_gc(&mut self, force: bool) {
        let peer = &mut self.fsm.peer;
        let Some(index) = peer.compact_index(&self.ctx.config, force) else { return };
        if let Some(request) = peer.compact_log_request(index) {
            self.propose_admin(request);
        }
    }

    /// Scans a region that may have become too large. TiKV: `on_split_region_check_tick`.
    fn on_split_region_check(&mut self) {
        let (peer, limits) = (&self.fsm.peer, Limits::new(&self.ctx.config));
        if !peer.is_leader() || !limits.exceeded(peer.approximate_size(), peer.approximate_keys()) {
            return;
        }
        if let Some(running) = Running::begin(&peer.split_checking) {
            let region = (**peer.region()).clone();
            self.ctx.split_check.schedule(SplitCheckTask { region, limits, running });
        }
    }

    /// Asks PD whether this peer is still a member, after a long time without a leader; warns before that.
    fn on_check_peer_stale_state(&mut self) {
        let config = &self.ctx.config;
        let (warn, ask) = (config.abnormal_leader_missing_duration.0, config.max_leader_missing_duration.0);
        let peer = &mut self.fsm.peer;
        let missing = peer.check_leader_missing();
        if missing < warn || !peer.is_initialized() {
            return;
        }
        log::warn!("region {}: peer {} has had no leader for {missing:?}", peer.region().id, peer.peer_id());
        if missing >= ask {
            let region = (**peer.region()).clone();
            self.ctx.pd.validate_peer(region, peer.peer);
        }
    }
}
