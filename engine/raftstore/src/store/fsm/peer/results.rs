//! Handles results from the apply FSM and the region worker. Mirrors `on_apply_res`, `on_ready_result`.
use kvproto::metapb::{self, Region};
use raft::eraftpb::ConfChangeV2;
use tikv_kv::{LocksStatus, PeerPessimisticLocks};

use super::{PeerFsm, run::PeerFsmDelegate};
use crate::{
    coprocessor::RegionChangeEvent,
    store::{
        fsm::apply::{ApplyRes, ExecResult, Registration},
        msg::{PeerMsg, SnapshotApplied},
        peer::Peer,
        transport::Transport,
        worker::raftlog_gc::RaftlogGcTask,
    },
};

/// Creates the initial state of a peer's apply FSM.
pub(crate) fn registration(peer: &Peer) -> Registration {
    let storage = peer.storage();
    Registration {
        peer: peer.peer,
        term: peer.term(),
        region: (**storage.region()).clone(),
        apply_state: *storage.apply_state(),
        applied_term: storage.applied_term(),
    }
}

impl<T: Transport> PeerFsmDelegate<'_, T> {
    pub(super) fn on_apply_res(&mut self, res: ApplyRes) {
        // From an earlier peer of this region, or from before a snapshot.
        let outdated = res.apply_state.applied_index < self.fsm.peer.storage().applied_index();
        if res.peer_id != self.fsm.peer.peer_id()
            || outdated
            || self.fsm.peer.storage().is_applying_snapshot()
        {
            return;
        }
        for result in res.exec_results {
            match result {
                ExecResult::ChangePeer { change, region, peers } => {
                    self.on_change_peer(&change, region, &peers)
                }
                ExecResult::CompactLog { index } => self.on_compact_log(index),
                ExecResult::SplitRegion { regions, derived } => self.on_split(regions, derived),
                ExecResult::VerifyHash { index, hash } => self.on_verify_hash(index, hash),
                ExecResult::SetFlashbackState { region } => self.on_set_flashback_state(region),
            }
        }
        let peer = &mut self.fsm.peer;
        peer.written_bytes += res.written_bytes;
        peer.written_keys += res.written_keys;
        peer.storage_mut().set_applied(res.apply_state, res.applied_term);
        if self.fsm.destroying.is_none() {
            self.fsm.peer.raft_group.advance_apply_to(res.apply_state.applied_index);
            self.collect_reads();
        }
    }

    /// Follows an applied membership change. TiKV: `on_ready_change_peer`.
    fn on_change_peer(&mut self, change: &ConfChangeV2, region: Region, peers: &[metapb::Peer]) {
        if let Err(err) = self.fsm.peer.raft_group.apply_conf_change(change) {
            log::error!("region {}: Raft refuses an applied conf change: {err}", region.id);
        }
        let removed = region.find_peer_by_id(self.fsm.peer.peer_id()).is_none();
        self.ctx.store_meta.lock().set_region(&region);
        self.fsm.peer.set_region(region);
        self.fsm.peer.observe_region(self.ctx, RegionChangeEvent::Update);
        if removed {
            self.start_destroy();
            return;
        }
        for peer in peers {
            if self.fsm.peer.region().find_peer_by_id(peer.id).is_some() {
                self.fsm.peer.record_heartbeat(peer.id);
            }
        }
        if self.fsm.peer.is_leader() {
            // A new peer learns of its region by a heartbeat: send it now instead of at the next tick.
            self.fsm.peer.raft_group.ping();
            self.fsm.peer.heartbeat_pd(self.ctx);
        }
    }

    /// Follows an applied flashback state. TiKV: `on_set_flashback_state`.
    fn on_set_flashback_state(&mut self, region: Region) {
        self.ctx.store_meta.lock().set_region(&region);
        let peer = &mut self.fsm.peer;
        if peer.is_leader() {
            // Threads that read by the lease must see the new region state first.
            peer.leader_lease.expire();
        }
        let in_flashback = region.is_in_flashback;
        peer.set_region(region);
        {
            let mut locks = peer.txn_ext.pessimistic_locks.write();
            locks.status = match (in_flashback, peer.is_leader()) {
                (true, _) => LocksStatus::IsInFlashback,
                (false, true) => LocksStatus::Normal,
                (false, false) => LocksStatus::NotLeader,
            };
            if in_flashback {
                locks.clear();
            }
        }
        if peer.is_leader() {
            peer.heartbeat_pd(self.ctx);
        }
    }

    /// Schedules the removal of compacted entries. TiKV: `on_ready_compact_log`.
    fn on_compact_log(&mut self, index: u64) {
        let peer = &mut self.fsm.peer;
        let (first, applying) = (peer.storage().log_first_index(), peer.last_applying_idx);
        let (total, left) = (applying.saturating_sub(first), applying.saturating_sub(index + 1));
        let hint = u128::from(peer.raft_log_size_hint) * u128::from(left);
        peer.raft_log_size_hint = hint.checked_div(u128::from(total)).unwrap_or(0) as u64;
        let task = RaftlogGcTask::Gc { region_id: self.fsm.region_id(), end: index + 1 };
        self.ctx.raftlog_gc.schedule(task);
    }

    /// Creates the peers of the new regions. TiKV: `on_ready_split_region`.
    fn on_split(&mut self, regions: Vec<Region>, derived: Region) {
        let was_leader = self.fsm.peer.is_leader();
        // Before the region's version changes: from now on the table refuses locks of the old version.
        let locks = {
            let mut locks = self.fsm.peer.txn_ext.pessimistic_locks.write();
            locks.version = derived.epoch().version;
            locks.group_by_regions(&regions, &derived)
        };
        {
            let mut meta = self.ctx.store_meta.lock();
            let old = self.fsm.peer.region().clone();
            meta.remove_range(&old);
            for region in &regions {
                meta.set_region(region);
            }
        }
        self.fsm.peer.set_region(derived.clone());
        self.fsm.peer.observe_region(self.ctx, RegionChangeEvent::Update);
        if was_leader {
            self.fsm.peer.heartbeat_pd(self.ctx);
            self.ctx.pd.report_batch_split(regions.clone());
        }
        for (region, locks) in regions.into_iter().zip(locks).filter(|(region, _)| region.id != derived.id) {
            self.create_split_peer(region, locks, was_leader);
        }
    }

    /// Creates the peer of one new region. `locks`: its pessimistic locks in memory, if the parent leads.
    fn create_split_peer(&mut self, region: Region, locks: PeerPessimisticLocks, parent_leads: bool) {
        let (region_id, ctx) = (region.id, &*self.ctx);
        let engines = self.fsm.peer.storage().engines.clone();
        let mut fsm = match PeerFsm::create(ctx.store_id, &ctx.config, engines, region, false) {
            Ok(fsm) => fsm,
            Err(err) => {
                log::error!("region {region_id}: cannot create the peer of a new region: {err}");
                return;
            }
        };
        *fsm.peer.txn_ext.pessimistic_locks.write() = locks;
        ctx.apply_router.register(registration(&fsm.peer));
        fsm.peer.observe_region(ctx, RegionChangeEvent::Create);
        if parent_leads {
            fsm.peer.maybe_campaign();
            // Report the region now: until PD has it, no client finds its keys. This peer will probably lead
            // it.
            fsm.peer.report_to_pd(ctx);
        }
        // Replaces a peer that an early message created; that peer has no state yet.
        let mailbox = ctx.router.inner().register(region_id, fsm);
        let _ = mailbox.send(PeerMsg::Start);
        if !parent_leads && self.fsm.peer.region().peers.len() > 1 {
            self.fsm.peer.remember_uncampaigned(region_id);
        }
        for msg in self.ctx.store_meta.lock().take_pending_votes(region_id) {
            let _ = mailbox.send(PeerMsg::RaftMessage(Box::new(msg)));
        }
    }

    /// Handles an applied snapshot. TiKV: `on_ready_apply_snapshot`.
    pub(super) fn on_snapshot_applied(&mut self, applied: SnapshotApplied) {
        let peer = &mut self.fsm.peer;
        if applied.key != peer.storage().snap_key() || !peer.storage().is_applying_snapshot() {
            return;
        }
        if let Err(err) = applied.result {
            // The peer stays in this state and takes part in nothing; the next start tries again.
            log::error!("region {}: cannot apply snapshot {}: {err}", peer.region_id, applied.key);
            return;
        }
        peer.storage().finish_applying();
        let region = (**peer.region()).clone();
        peer.set_region(region.clone());
        peer.raft_group.advance_apply_to(applied.key.idx);
        {
            let mut meta = self.ctx.store_meta.lock();
            meta.remove_pending_snapshot(region.id);
            if let Some(old) = meta.regions.get(&region.id).cloned() {
                meta.remove_range(&old);
            }
            meta.set_region(&region);
        }
        self.ctx.apply_router.register(registration(&self.fsm.peer));
        self.fsm.peer.observe_region(self.ctx, RegionChangeEvent::Update);
        if let Err(err) = self.ctx.snap_mgr.delete_snapshot(&applied.key, false) {
            log::warn!("cannot delete snapshot {}: {err}", applied.key);
        }
        log::info!("region {}: snapshot {} is applied", region.id, applied.key);
        self.collect_reads();
    }
}
