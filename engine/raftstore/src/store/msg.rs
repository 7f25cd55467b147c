//! Messages of the peer and store FSMs. Mirrors `raftstore::store::msg`.
use futures::channel::oneshot;
use kvproto::{metapb, raft_cmdpb::RaftCmdRequest, raft_serverpb::RaftMessage};
use raft::SnapshotStatus;
use tracepoints::{Req, clock::EngineInstant};

use super::{
    callback::Callback, fsm::apply::ApplyRes, latency_inspect::LatencyInspector, snap::SnapKey,
    write_tracker::RaftDbTimes,
};
use crate::debug::RegionMeta;

/// Command and its callback.
pub struct RaftCommand {
    /// Engine time at which the command was sent.
    pub send_time: EngineInstant,
    /// The command.
    pub request: RaftCmdRequest,
    /// Called with the response.
    pub callback: Callback,
    /// Request that the command belongs to.
    pub req: Req,
    /// After this time the peer refuses the command.
    pub deadline: Option<EngineInstant>,
}

/// Periodic work of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerTick {
    /// Raft's tick.
    Raft,
    /// Check whether to compact the log.
    RaftLogGc,
    /// Check whether to split the region.
    SplitRegionCheck,
    /// Report the region to PD.
    PdHeartbeat,
    /// Check whether to renew the lease.
    CheckLeaderLease,
    /// Check for a missing leader.
    CheckPeerStaleState,
}

/// Periodic work of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreTick {
    /// Report the store to PD.
    PdStoreHeartbeat,
    /// Delete unused snapshots.
    SnapGc,
    /// Remove old raft-engine files.
    RaftEnginePurge,
}

/// Messages that may get lost.
pub enum CasualMessage {
    /// Asks a leader to transfer its leadership.
    TransferLeader {
        /// The new leader.
        to: metapb::Peer,
    },
    /// From a leader to itself: its pessimistic locks are applied, and earlier writes that remove one are in the log.
    LocksProposed {
        /// The new leader.
        to: metapb::Peer,
        /// Term of the transfer.
        term: u64,
        /// False if the locks were refused, for example because the region has split: then the transfer ends.
        ok: bool,
    },
    /// Splits the region at these encoded keys if the epoch's version matches, and `peer`, if given, is this
    /// peer; the leader asks PD for ids.
    SplitRegion {
        /// Epoch that the client knows.
        region_epoch: metapb::RegionEpoch,
        /// Peer that the client addresses.
        peer: Option<metapb::Peer>,
        /// Encoded keys to split at.
        split_keys: Vec<Vec<u8>>,
        /// Called with the response.
        callback: Callback,
    },
    /// Proposes a log compaction up to the followers' positions, now.
    ForceCompactRaftLogs,
    /// A reader found the lease about to end.
    RenewLease,
    /// Publishes the peer's Raft state to the session, if a session watches the region.
    PublishProbe,
    /// Generating a snapshot ended, successfully or not; Raft may continue.
    SnapshotGenerated,
    /// The worker hashed the region's data as of entry `index`.
    ComputeHashResult {
        /// Index of the entry.
        index: u64,
        /// CRC-32 of the data, big-endian.
        hash: Vec<u8>,
    },
    /// Starts an election now.
    Campaign(CampaignType),
}

/// Reason for a campaign before the election timeout. TiKV: `CampaignType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignType {
    /// Requested from outside.
    ForceLeader,
    /// After a split whose parent leads on this store; ignored if an election took place already.
    UnsafeSplitCampaign,
}

/// Messages that must not get lost.
pub enum SignificantMsg {
    /// A snapshot was sent, or could not be sent.
    SnapshotStatus {
        /// Id of the other peer.
        to_peer_id: u64,
        /// The outcome.
        status: SnapshotStatus,
    },
    /// A message to this peer could not be sent.
    Unreachable {
        /// Id of the other peer.
        to_peer_id: u64,
    },
    /// No peer of this store can be reached.
    StoreUnreachable {
        /// Id of the store.
        store_id: u64,
    },
    /// Asks for the peer's state.
    QueryMeta(oneshot::Sender<RegionMeta>),
}

/// Ready that a store writer has made durable for a peer.
#[derive(Clone, Debug)]
pub struct PersistedMsg {
    /// Id of the peer.
    pub peer_id: u64,
    /// Number of the Ready.
    pub ready_number: u64,
    /// Times of the write to raft-engine.
    pub raft_db: RaftDbTimes,
}

/// Outcome of applying a snapshot.
#[derive(Debug)]
pub struct SnapshotApplied {
    /// Key of the snapshot.
    pub key: SnapKey,
    /// `Err`: the reason, as text.
    pub result: Result<(), String>,
}

/// Message to a peer FSM.
pub enum PeerMsg {
    /// Message from a peer on another store.
    RaftMessage(Box<RaftMessage>),
    /// Command of a client.
    RaftCommand(Box<RaftCommand>),
    /// Periodic work.
    Tick(PeerTick),
    /// Result of the apply FSM.
    ApplyRes(Box<ApplyRes>),
    /// A store writer has made a Ready durable.
    Persisted(PersistedMsg),
    /// The apply FSM has finished its last write.
    ApplyDestroyed,
    /// The region worker has applied a snapshot, or failed to.
    SnapshotApplied(SnapshotApplied),
    /// Message that must not get lost.
    Significant(SignificantMsg),
    /// Message that may get lost.
    Casual(CasualMessage),
    /// First message of a new peer.
    Start,
    /// Removes the peer and its data if its id is still `to_peer_id`.
    Destroy {
        /// Id of the other peer.
        to_peer_id: u64,
    },
    /// No operation; makes a woken FSM run.
    Noop,
}

/// Message to the store FSM.
pub enum StoreMsg {
    /// Measures the latency of the store FSM and of a store writer.
    LatencyInspect(LatencyInspector),
    /// Message from a peer on another store.
    RaftMessage(Box<RaftMessage>),
    /// Periodic work.
    Tick(StoreTick),
    /// No peer of this store can be reached.
    StoreUnreachable {
        /// Id of the store.
        store_id: u64,
    },
}
