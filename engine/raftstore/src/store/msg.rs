//! Messages of the peer and store FSMs. Mirrors `raftstore::store::msg`.
use futures::channel::oneshot;
use kvproto::{metapb, raft_cmdpb::RaftCmdRequest, raft_serverpb::RaftMessage};
use raft::SnapshotStatus;
use tracepoints::{Req, clock::EngineInstant};

use super::{Callback, fsm::apply::ApplyRes, peer_storage::SnapshotApplied};
use crate::debug::RegionMeta;

/// Command and its callback.
pub struct RaftCommand {
    pub send_time: EngineInstant,
    pub request: RaftCmdRequest,
    pub callback: Callback,
    /// Request that the command belongs to.
    pub req: Req,
    /// After this time the peer refuses the command.
    pub deadline: Option<EngineInstant>,
}

/// Periodic work of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerTick {
    Raft,
    RaftLogGc,
    SplitRegionCheck,
    PdHeartbeat,
    CheckLeaderLease,
    CheckPeerStaleState,
}

/// Periodic work of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreTick {
    PdStoreHeartbeat,
    SnapGc,
    RaftEnginePurge,
}

/// Messages that may get lost.
pub enum CasualMessage {
    /// Asks a leader to transfer its leadership.
    TransferLeader { to: metapb::Peer },
    /// Splits the region at these encoded keys if the epoch's version matches, and `peer`, if given, is this
    /// peer; the leader asks PD for ids.
    SplitRegion {
        region_epoch: metapb::RegionEpoch,
        peer: Option<metapb::Peer>,
        split_keys: Vec<Vec<u8>>,
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
    ComputeHashResult { index: u64, hash: Vec<u8> },
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
    SnapshotStatus {
        to_peer_id: u64,
        status: SnapshotStatus,
    },
    Unreachable {
        to_peer_id: u64,
    },
    StoreUnreachable {
        store_id: u64,
    },
    /// Asks for the peer's state.
    QueryMeta(oneshot::Sender<RegionMeta>),
}

/// Ready that a store writer has made durable for a peer.
#[derive(Clone, Debug)]
pub struct PersistedMsg {
    pub peer_id: u64,
    pub ready_number: u64,
}

pub enum PeerMsg {
    RaftMessage(Box<RaftMessage>),
    RaftCommand(Box<RaftCommand>),
    Tick(PeerTick),
    ApplyRes(Box<ApplyRes>),
    Persisted(PersistedMsg),
    /// The apply FSM has finished its last write.
    ApplyDestroyed,
    /// The region worker has applied a snapshot, or failed to.
    SnapshotApplied(SnapshotApplied),
    Significant(SignificantMsg),
    Casual(CasualMessage),
    /// First message of a new peer.
    Start,
    /// Removes the peer and its data if its id is still `to_peer_id`.
    Destroy {
        to_peer_id: u64,
    },
    /// No operation; makes a woken FSM run.
    Noop,
}

pub enum StoreMsg {
    RaftMessage(Box<RaftMessage>),
    Tick(StoreTick),
    StoreUnreachable { store_id: u64 },
}
