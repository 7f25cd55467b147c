//! A leader's reports to PD, and the compaction of its log.
use engine_rocks::DATA_CFS;
use kvproto::{
    metapb,
    pdpb::PeerStats,
    raft_cmdpb::{AdminCmdType, AdminRequest, CompactLogRequest, RaftCmdRequest, RaftRequestHeader},
};
use tracepoints::EngineClock;

use super::Peer;
use crate::store::{
    config::Config, fsm::store::PollContext, transport::Transport, worker::pd::RegionHeartbeat,
};

impl Peer {
    /// Reports the region to PD if this peer is the leader.
    pub fn heartbeat_pd<T: Transport>(&mut self, ctx: &PollContext<T>) {
        if self.is_leader() && self.is_initialized() {
            self.report_to_pd(ctx);
        }
    }

    /// Reports the region to PD with this peer as its leader. The peer of a new region does so before its
    /// election, so that PD gets the region at once. TiKV: `heartbeat_pd`.
    pub fn report_to_pd<T: Transport>(&mut self, ctx: &PollContext<T>) {
        let heartbeat = RegionHeartbeat {
            region: (**self.region()).clone(),
            peer: self.peer,
            term: self.term(),
            down_peers: self.down_peers(&ctx.config),
            pending_peers: self.pending_peers(),
            written_bytes: std::mem::take(&mut self.written_bytes),
            written_keys: std::mem::take(&mut self.written_keys),
            approximate_size: self.approximate_size(),
            approximate_keys: self.approximate_keys(),
            last_heartbeat: self.last_pd_heartbeat,
        };
        self.last_pd_heartbeat = EngineClock::now();
        ctx.pd.region_heartbeat(heartbeat);
    }

    fn down_peers(&self, config: &Config) -> Vec<PeerStats> {
        let limit = config.max_peer_down_duration.0;
        let others = self.region().peers.iter().filter(|p| p.id != self.peer_id());
        let silent = others.filter_map(|p| {
            let since = self.peer_heartbeats.get(&p.id)?.elapsed();
            (since >= limit).then_some(PeerStats { peer: Some(*p), down_seconds: since.as_secs() })
        });
        silent.collect()
    }

    /// Returns the peers that still need a snapshot.
    fn pending_peers(&self) -> Vec<metapb::Peer> {
        // Only a leader has the positions of the other peers.
        if !self.is_leader() {
            return Vec::new();
        }
        let (prs, truncated) = (self.raft_group.raft.prs(), self.storage().truncated_index());
        let lagging = |p: &&metapb::Peer| {
            p.id != self.peer_id() && prs.get(p.id).is_some_and(|progress| progress.matched < truncated)
        };
        self.region().peers.iter().filter(lagging).copied().collect()
    }

    /// Estimates the bytes of the region's data, from RocksDB's statistics.
    pub fn approximate_size(&self) -> u64 {
        self.estimate(|kv, cf, start, end| kv.approximate_size_cf(cf, start, end))
    }

    /// Estimates the number of keys with their versions, from RocksDB's statistics if they are many.
    pub fn approximate_keys(&self) -> u64 {
        self.estimate(|kv, cf, start, end| kv.approximate_keys_cf(cf, start, end))
    }

    fn estimate(
        &self,
        estimate_cf: impl Fn(&engine_rocks::RocksEngine, &str, &[u8], &[u8]) -> engine_rocks::Result<u64>,
    ) -> u64 {
        let region = self.region();
        let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
        let kv = &self.storage().engines.kv;
        DATA_CFS.iter().map(|cf| estimate_cf(kv, cf, &start, &end).unwrap_or_default()).sum()
    }

    /// Returns the index up to which a leader may compact the log, or `None` if compaction is not worthwhile.
    /// `force`: up to the applied index.
    ///
    /// TiKV: `PeerFsmDelegate::on_raft_gc_log_tick`.
    pub fn compact_index(&mut self, config: &Config, force: bool) -> Option<u64> {
        if !self.is_leader() {
            return None;
        }
        let (first, applied) = (self.storage().log_first_index(), self.storage().applied_index());
        let last = self.raft_group.raft.raft_log.last_index();
        let replicated = self.raft_group.raft.prs().iter().map(|(_, p)| p.matched).min().unwrap_or(0);
        if force {
            return (applied > first).then_some(applied - 1);
        }
        let many = applied > first && applied - first >= config.raft_log_gc_count_limit();
        let large = self.raft_log_size_hint >= config.raft_log_gc_size_limit();
        let compact = if many || large {
            replicated.max(first + (last - first) / 2).min(applied)
        } else if replicated < first || last - first < 3 {
            return None;
        } else if replicated - first < config.raft_log_gc_threshold
            && self.skip_gc_raft_log_ticks < config.raft_log_reserve_max_ticks
        {
            self.skip_gc_raft_log_ticks += 1;
            return None;
        } else {
            replicated.min(applied)
        };
        self.skip_gc_raft_log_ticks = 0;
        // Keep the entry itself, since its term is needed.
        (compact > first).then_some(compact - 1)
    }

    /// Creates the command that compacts the log.
    pub fn compact_log_request(&self, compact_index: u64) -> Option<RaftCmdRequest> {
        let compact_term = self.raft_group.raft.raft_log.term(compact_index).ok()?;
        let compact = CompactLogRequest { compact_index, compact_term, ..Default::default() };
        Some(RaftCmdRequest {
            header: Some(self.admin_header()),
            admin_request: Some(AdminRequest {
                cmd_type: AdminCmdType::CompactLog as i32,
                compact_log: Some(compact),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    /// Returns the header of the peer's own commands.
    pub fn admin_header(&self) -> RaftRequestHeader {
        RaftRequestHeader {
            region_id: self.region_id,
            peer: Some(self.peer),
            region_epoch: self.region().region_epoch,
            term: self.term(),
            ..Default::default()
        }
    }
}
