//! One peer of a Raft group: the `raft` crate's node and the peer's own state.
//! Mirrors `raftstore::store::peer::Peer`.
pub(crate) mod commit_parts;
mod consistency;
pub(crate) mod facts;
mod lease;
mod probe;
mod propose;
mod read;
mod ready;
mod report;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use kvproto::metapb::{self, Region};
use raft::{RawNode, StateRole, eraftpb::Message};
use tracepoints::{EngineClock, Req, clock::EngineInstant, probe::RaftProbe};

pub use consistency::{ConsistencyState, ConsistencyVerdict};
pub(crate) use probe::vote;
pub use propose::RequestPolicy;
pub use ready::{ReadyOutcome, is_initial_msg};

use super::{
    config::Config, engines::Engines, lease::Lease, peer_storage::PeerStorage, proposals::ProposalQueue,
    read_delegate::ReadDelegate, read_queue::ReadIndexQueue, run::Run, snap::SnapKey, txn_ext::TxnExt,
};
use crate::{Result, util::slog_bridge};

/// Ready whose log changes are being written.
pub struct Unpersisted {
    /// Number of the Ready.
    pub number: u64,
    /// Runs of the Ready's entries.
    pub runs: Vec<Run>,
    /// Messages to send once the Ready is durable.
    pub messages: Vec<Message>,
    /// Key of the Ready's snapshot.
    pub snapshot: Option<SnapKey>,
    /// False if the Ready has nothing to write; it only waits for earlier Readies.
    pub has_data: bool,
}

/// One peer of a region.
pub struct Peer {
    /// Ids and role.
    pub peer: metapb::Peer,
    /// Id of the region.
    pub region_id: u64,
    /// Raft's state machine.
    pub raft_group: RawNode<PeerStorage>,
    /// Proposals that wait for their entries to be committed.
    pub proposals: ProposalQueue,
    /// Reads that wait for a quorum.
    pub pending_reads: ReadIndexQueue,
    /// The leader's lease.
    pub leader_lease: Lease,
    /// Hashes of the last consistency check.
    pub consistency: ConsistencyState,
    /// Readies whose log changes are being written, in order.
    pub unpersisted: VecDeque<Unpersisted>,
    /// Index of the last entry passed to the apply FSM.
    pub last_applying_idx: u64,
    /// Index of the last committed split. Until it is applied here, the new regions may have other leaders.
    last_committed_split_idx: u64,
    peer_cache: HashMap<u64, metapb::Peer>,
    /// Time of the last message from each peer; on a leader.
    peer_heartbeats: HashMap<u64, EngineInstant>,
    /// Term and time of becoming leader, until the term's first entry is committed.
    became_leader: Option<(u64, EngineInstant)>,
    started_at: EngineInstant,
    /// The peer existed before the store started: it may have helped to renew a lease that is still valid.
    existed: bool,
    /// Engine time since when there is no leader.
    pub leader_missing_since: Option<EngineInstant>,
    /// Number of checks since the last compaction of the log.
    pub skip_gc_raft_log_ticks: usize,
    /// Approximate bytes of the log's entries; entries from before the start are not counted.
    pub raft_log_size_hint: u64,
    /// Whether the region is being scanned for split keys.
    pub split_checking: Arc<AtomicBool>,
    /// Bytes written since the last heartbeat to PD.
    pub written_bytes: u64,
    /// Number of keys written since the last heartbeat to PD.
    pub written_keys: u64,
    last_pd_heartbeat: EngineInstant,
    published: Option<Arc<ReadDelegate>>,
    /// State for the transaction layer.
    pub txn_ext: Arc<TxnExt>,
    /// Start of the last leader transfer; until it ends, the peer accepts no pessimistic locks in memory.
    pub(crate) transferring_since: Option<EngineInstant>,
    /// Term of a transfer that waits for its `LocksProposed`.
    pub(crate) pending_transfer: Option<u64>,
    /// Regions created by a split while this peer was a follower. If their expected leader is lost, the
    /// parent's next leader lets them campaign. TiKV: `uncampaigned_new_regions`.
    uncampaigned_new_regions: Vec<u64>,
    applied_gauge: Arc<AtomicU64>,
    last_probe: Option<RaftProbe>,
    /// The stepped request of the newest stamp in the current piece of work.
    stamped: Req,
}

impl Peer {
    /// Loads a peer from disk. `existed`: loaded at the store's start.
    pub fn new(
        config: &Config,
        engines: Engines,
        store_id: u64,
        region: Region,
        peer: metapb::Peer,
        existed: bool,
    ) -> Result<Self> {
        let region_id = region.id;
        let storage = PeerStorage::new(engines, region, peer.id)?;
        let applied = storage.applied_index();
        let raft_config = config.new_raft_config(peer.id, applied);
        let logger = slog_bridge::logger(store_id, region_id, peer.id);
        let raft_group = RawNode::new(&raft_config, storage, &logger)?;
        let now = EngineClock::now();
        let lease =
            Lease::new(config.raft_store_max_leader_lease(), config.renew_leader_lease_advance_duration());
        let mut peer = Peer {
            peer,
            region_id,
            raft_group,
            proposals: ProposalQueue::default(),
            pending_reads: ReadIndexQueue::default(),
            leader_lease: lease,
            consistency: ConsistencyState::default(),
            unpersisted: VecDeque::new(),
            last_applying_idx: applied,
            last_committed_split_idx: 0,
            peer_cache: HashMap::new(),
            peer_heartbeats: HashMap::new(),
            became_leader: None,
            started_at: now,
            existed,
            leader_missing_since: Some(now),
            skip_gc_raft_log_ticks: 0,
            raft_log_size_hint: 0,
            split_checking: Arc::default(),
            written_bytes: 0,
            written_keys: 0,
            last_pd_heartbeat: now,
            published: None,
            txn_ext: Arc::default(),
            transferring_since: None,
            pending_transfer: None,
            uncampaigned_new_regions: Vec::new(),
            applied_gauge: Arc::new(AtomicU64::new(applied)),
            last_probe: None,
            stamped: Req::NONE,
        };
        peer.remember_members();
        // With one peer, no other leader is possible.
        if peer.region().peers.len() == 1
            && peer.region().peers[0].id == peer.peer.id
            && !peer.peer.is_learner()
        {
            peer.raft_group.campaign()?;
        }
        Ok(peer)
    }

    /// Returns the persistent state.
    pub fn storage(&self) -> &PeerStorage {
        self.raft_group.store()
    }

    /// Returns the persistent state for changes.
    pub fn storage_mut(&mut self) -> &mut PeerStorage {
        self.raft_group.mut_store()
    }

    /// Returns the region.
    pub fn region(&self) -> &Arc<Region> {
        self.storage().region()
    }

    /// Returns the id of the peer.
    pub fn peer_id(&self) -> u64 {
        self.peer.id
    }

    /// Returns the current term.
    pub fn term(&self) -> u64 {
        self.raft_group.raft.term
    }

    /// Whether the peer is the leader.
    pub fn is_leader(&self) -> bool {
        self.raft_group.raft.state == StateRole::Leader
    }

    /// Whether the membership is known.
    pub fn is_initialized(&self) -> bool {
        self.storage().is_initialized()
    }

    /// Returns the leader, if this peer has one.
    pub fn leader(&self) -> Option<metapb::Peer> {
        self.find_peer(self.raft_group.raft.leader_id)
    }

    /// Finds a member, or before the membership is known, a peer that sent a message.
    pub fn find_peer(&self, peer_id: u64) -> Option<metapb::Peer> {
        let cached = || self.peer_cache.get(&peer_id).copied();
        self.region().find_peer_by_id(peer_id).copied().or_else(cached)
    }

    /// Remembers a peer that sent a message.
    pub fn remember_peer(&mut self, peer: metapb::Peer) {
        self.peer_cache.insert(peer.id, peer);
    }

    fn remember_members(&mut self) {
        for peer in self.region().peers.clone() {
            self.peer_cache.insert(peer.id, peer);
        }
    }

    /// Records that the peer has sent a message now.
    pub fn record_heartbeat(&mut self, peer_id: u64) {
        self.peer_heartbeats.insert(peer_id, EngineClock::now());
    }

    /// Replaces the region after a change of membership or range.
    pub fn set_region(&mut self, region: Region) {
        if let Some(me) = region.find_peer_by_id(self.peer.id) {
            self.peer = *me;
        }
        let members: Vec<u64> = region.peers.iter().map(|p| p.id).collect();
        self.peer_heartbeats.retain(|id, _| members.contains(id));
        self.peer_cache.retain(|id, _| members.contains(id));
        {
            let mut locks = self.txn_ext.pessimistic_locks.write();
            (locks.term, locks.version) = (self.raft_group.raft.term, region.epoch().version);
        }
        self.storage_mut().set_region(region);
        self.remember_members();
    }

    /// Campaigns for a new region at once, because the parent's leader is on this store. Does nothing if an
    /// election took place already. TiKV: `maybe_campaign`.
    pub fn maybe_campaign(&mut self) {
        // A lone peer campaigned when it was created.
        if self.region().peers.len() <= 1 || self.term() > keys::RAFT_INIT_LOG_TERM || self.is_leader() {
            return;
        }
        if let Err(err) = self.raft_group.campaign() {
            log::info!("region {}: cannot campaign: {err}", self.region_id);
        }
    }

    /// Remembers a region that a split created while this peer was a follower.
    pub fn remember_uncampaigned(&mut self, region_id: u64) {
        self.uncampaigned_new_regions.push(region_id);
    }

    /// Forgets these regions once the parent has a leader, which lets them campaign.
    /// TiKV: `check_uncampaigned_regions`.
    pub fn check_uncampaigned_regions(&mut self) {
        if self.raft_group.raft.leader_id != raft::INVALID_ID {
            self.uncampaigned_new_regions.clear();
        }
    }

    /// Whether a committed split is not applied yet. TiKV: `is_splitting`.
    pub fn is_splitting(&self) -> bool {
        self.last_committed_split_idx > self.storage().applied_index()
    }

    /// Whether the peer was loaded at a start less than `d` ago and its region has other peers.
    pub fn started_within(&self, d: Duration) -> bool {
        self.existed && self.region().peers.len() > 1 && self.started_at.elapsed() < d
    }

    /// Returns the time since the last known leader; zero if there is a leader.
    pub fn check_leader_missing(&mut self) -> Duration {
        if self.raft_group.raft.leader_id != raft::INVALID_ID {
            self.leader_missing_since = None;
            return Duration::ZERO;
        }
        self.leader_missing_since.get_or_insert_with(EngineClock::now).elapsed()
    }

    /// Whether a pending snapshot must wait until the previous entries are applied.
    pub fn must_wait_for_apply(&self) -> bool {
        self.raft_group.snap().is_some() && self.storage().applied_index() < self.last_applying_idx
    }
}
