//! Work of the store FSM: messages for missing peers, and periodic work. Mirrors `StoreFsmDelegate`.
use engine_rocks::CF_RAFT;
use kvproto::{
    metapb::{Peer, Region},
    raft_serverpb::{PeerState, RaftApplyState, RaftMessage, RegionLocalState},
};

use super::{context::PollContext, store_fsm::StoreFsm};
use crate::{
    Error, Result,
    store::{
        fsm::peer::{PeerFsm, is_initial, tombstone_reply},
        msg::{PeerMsg, SignificantMsg, StoreMsg, StoreTick},
        transport::Transport,
        worker::{pd::StoreHeartbeat, raftlog_gc::RaftlogGcTask},
    },
};

/// The store FSM and the state of the poller that runs it.
pub struct StoreFsmDelegate<'a, T: Transport> {
    /// The FSM.
    pub store: &'a mut StoreFsm,
    /// State of the poller.
    pub ctx: &'a mut PollContext<T>,
}

impl<T: Transport> StoreFsmDelegate<'_, T> {
    /// Handles one message.
    pub fn handle_msg(&mut self, msg: StoreMsg) {
        match msg {
            StoreMsg::RaftMessage(msg) => {
                let region_id = msg.region_id;
                if let Err(err) = self.on_raft_message(*msg) {
                    log::info!(
                        "store {}: refused a message for region {region_id}: {err}",
                        self.store.store_id
                    );
                }
            }
            StoreMsg::Tick(tick) => self.on_tick(tick),
            StoreMsg::LatencyInspect(mut inspector) => {
                inspector.record_store_wait();
                self.ctx.write_senders.inspect(inspector);
            }
            StoreMsg::StoreUnreachable { store_id } => self
                .ctx
                .router
                .inner()
                .broadcast(|| PeerMsg::Significant(SignificantMsg::StoreUnreachable { store_id })),
        }
    }

    /// Handles a message for a missing peer: creates the peer if it should exist. TiKV: `on_raft_message`.
    fn on_raft_message(&mut self, msg: RaftMessage) -> Result<()> {
        let region_id = msg.region_id;
        // The peer may exist by now.
        if self.ctx.router.inner().mailbox(region_id).is_some() {
            return self.forward(msg);
        }
        let (Some(from), Some(to)) = (msg.from_peer, msg.to_peer) else {
            return Err(Error::other("expected a message with from_peer and to_peer, found one without"));
        };
        if to.store_id != self.store.store_id {
            let my_store_id = self.store.store_id;
            return Err(Error::StoreNotMatch { to_store_id: to.store_id, my_store_id });
        }
        if msg.is_tombstone || !is_initial(&msg) || self.has_left_store(&msg, &from, &to)? {
            return Ok(());
        }
        if self.must_wait_for_split(&msg) {
            self.ctx.store_meta.lock().add_pending_vote(msg);
            return Ok(());
        }
        let engines = self.ctx.engines.clone();
        let fsm = PeerFsm::replicate(self.store.store_id, &self.ctx.config, engines, region_id, to)?;
        log::info!("store {}: created peer {} of region {region_id}", self.store.store_id, to.id);
        self.ctx.router.inner().register(region_id, fsm);
        self.forward(msg)
    }

    fn forward(&self, msg: RaftMessage) -> Result<()> {
        self.ctx.router.send_peer(msg.region_id, PeerMsg::RaftMessage(Box::new(msg)))
    }

    /// Whether the message is for a peer that left this store. TiKV: `check_msg`.
    fn has_left_store(&mut self, msg: &RaftMessage, from: &Peer, to: &Peer) -> Result<bool> {
        let key = keys::region_state_key(msg.region_id);
        let Some(state) = self.ctx.engines.kv.get_msg_cf::<RegionLocalState>(CF_RAFT, &key)? else {
            return Ok(false);
        };
        if state.state() != PeerState::Tombstone {
            // A split has just written the state and is about to create the peer.
            self.ctx.store_meta.lock().add_pending_vote(msg.clone());
            return Ok(true);
        }
        let region = state.region.unwrap_or_default();
        let epoch = msg.region_epoch.unwrap_or_default();
        if epoch.is_stale(&region.epoch()) {
            if region.find_peer(from.store_id).is_none() {
                let _ = self.ctx.trans.send(tombstone_reply(msg, region.epoch()));
            }
            return Ok(true);
        }
        // Peer ids are never reused.
        Ok(region.find_peer_by_id(to.id).is_some())
    }

    /// Whether a region on this store still covers the range; a split is expected.
    /// TiKV: `is_region_overlapped`.
    fn must_wait_for_split(&self, msg: &RaftMessage) -> bool {
        if msg.start_key.is_empty() && msg.end_key.is_empty() && self.ctx.store_meta.lock().regions.is_empty()
        {
            return false;
        }
        let region = Region {
            id: msg.region_id,
            start_key: msg.start_key.clone(),
            end_key: msg.end_key.clone(),
            ..Default::default()
        };
        self.ctx.store_meta.lock().overlapping(&region).is_some()
    }

    fn on_tick(&mut self, tick: StoreTick) {
        match tick {
            StoreTick::PdStoreHeartbeat => self.store_heartbeat_pd(),
            StoreTick::SnapGc => self.gc_snapshots(),
            StoreTick::RaftEnginePurge => self.ctx.raftlog_gc.schedule(RaftlogGcTask::Purge),
        }
    }

    /// Reports the store to PD. TiKV: `store_heartbeat_pd`.
    fn store_heartbeat_pd(&self) {
        let engines = &self.ctx.engines;
        let used = engines.kv.get_engine_used_size().unwrap_or_default() + engines.raft.get_engine_size();
        self.ctx.pd.store_heartbeat(StoreHeartbeat {
            store_id: self.store.store_id,
            region_count: self.ctx.router.inner().addresses().len() as u64,
            snap: self.ctx.snap_mgr.stats(),
            used_size: used,
            capacity: self.ctx.config.capacity.0,
        });
    }

    /// Deletes unused snapshots. TiKV: `on_snap_mgr_gc`.
    fn gc_snapshots(&self) {
        let timeout = self.ctx.config.snap_gc_timeout.0;
        let idle = match self.ctx.snap_mgr.list_idle_snap() {
            Ok(idle) => idle,
            Err(err) => return log::warn!("cannot list snapshots: {err}"),
        };
        for (key, sending, age) in idle {
            // After a restart, a region in state `Applying` needs its snapshot at any age.
            let needed = !sending && self.is_applying(key.region_id);
            let useless = sending && key.idx < self.truncated_index(key.region_id);
            if needed || (age < timeout && !useless) {
                continue;
            }
            if let Err(err) = self.ctx.snap_mgr.delete_snapshot(&key, sending) {
                log::warn!("cannot delete snapshot {key}: {err}");
            }
        }
    }

    /// Returns the region's compaction index: a snapshot to send from before it is useless.
    fn truncated_index(&self, region_id: u64) -> u64 {
        let state =
            self.ctx.engines.kv.get_msg_cf::<RaftApplyState>(CF_RAFT, &keys::apply_state_key(region_id));
        state.ok().flatten().and_then(|s| s.truncated_state).map_or(0, |t| t.index)
    }

    fn is_applying(&self, region_id: u64) -> bool {
        let state =
            self.ctx.engines.kv.get_msg_cf::<RegionLocalState>(CF_RAFT, &keys::region_state_key(region_id));
        state.ok().flatten().is_some_and(|s| s.state() == PeerState::Applying)
    }
}
