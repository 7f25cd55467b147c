//! Periodic work of a peer. Mirrors `on_tick`.
use super::PeerFsmDelegate;
use crate::store::{Callback, PeerTick, Transport};

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
        let peer = &mut self.fsm.peer;
        // It cannot take part while its data is being replaced.
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

    /// A region that has grown too large is split in the middle. TiKV: `on_split_region_check_tick`.
    fn on_split_region_check(&mut self) {
        let peer = &self.fsm.peer;
        if !peer.is_leader() || peer.approximate_size() < self.ctx.config.region_max_size.0 {
            return;
        }
        match peer.middle_key() {
            Ok(Some(key)) => self.on_split_region(vec![key], Callback::None),
            Ok(None) => {}
            Err(err) => log::warn!("region {}: no split key: {err}", peer.region_id),
        }
    }

    /// A peer without a leader for long asks PD whether it is still wanted.
    fn on_check_peer_stale_state(&mut self) {
        let limit = self.ctx.config.max_leader_missing_duration.0;
        let peer = &mut self.fsm.peer;
        if peer.check_leader_missing() >= limit && peer.is_initialized() {
            let region = (**peer.region()).clone();
            self.ctx.pd.validate_peer(region, peer.peer);
        }
    }
}
