//! Messages of the peer and store FSMs. Mirrors `raftstore::store::msg`.
use futures::channel::oneshot;
use kvproto::{metapb, raft_cmdpb::RaftCmdRequest, raft_serverpb::RaftMessage};
use raft::SnapshotStatus;
use tracepoints::{Req, clock::EngineInstant};

use super::{Callback, fsm::apply::ApplyRes, peer_storage::SnapshotApplied};
use crate::debug::RegionMeta;

/// A command and whom to answer.
pub struct RaftCommand {
    pub send_time: EngineInstant,
    pub request: RaftCmdRequest,
    pub callback: Callback,
    /// The request it belongs to.
    pub req: Req,
    /// Past it the command is not proposed any more.
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

/// Things that may get lost.
pub enum CasualMessage {
    /// Asks the peer to transfer leadership (of a leader).
    TransferLeader { to: metapb::Peer },
    /// Splits the region at these (encoded) keys, if it has this epoch's version, and `peer`, if given, is this one; the
    /// leader asks PD for ids.
    SplitRegion {
        region_epoch: metapb::RegionEpoch,
        peer: Option<metapb::Peer>,
        split_keys: Vec<Vec<u8>>,
        callback: Callback,
    },
    /// Proposes a log compaction up to what followers allow, now.
    ForceCompactRaftLogs,
    /// A reader found the lease about to end.
    RenewLease,
    /// Publishes the peer's Raft state to the session, if one watches the region.
    PublishProbe,
    /// A snapshot to be sent was generated (or not), so Raft may go on.
    SnapshotGenerated,
    /// The region's data is hashed, as of entry `index`.
    ComputeHashResult { index: u64, hash: Vec<u8> },
    /// Campaign now.
    Campaign(CampaignType),
}

/// Why a peer shall campaign before its time. TiKV: `CampaignType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignType {
    /// Somebody wants it to lead.
    ForceLeader,
    /// A split made its region, and the parent's new leader is on this store; not if anybody campaigned before.
    UnsafeSplitCampaign,
}

/// Things that must not get lost.
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

/// What a store writer has made durable for a peer.
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
    /// The apply FSM writes nothing more.
    ApplyDestroyed,
    /// The region worker has applied a snapshot, or failed to.
    SnapshotApplied(SnapshotApplied),
    Significant(SignificantMsg),
    Casual(CasualMessage),
    /// The first message of a new peer.
    Start,
    /// Removes the peer and its data: `to_peer_id` if it is still this one.
    Destroy {
        to_peer_id: u64,
    },
    /// Nothing; makes a woken FSM run.
    Noop,
}

pub enum StoreMsg {
    RaftMessage(Box<RaftMessage>),
    Tick(StoreTick),
    StoreUnreachable { store_id: u64 },
}
