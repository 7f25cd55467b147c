//! Messages to the apply FSMs, and their results.
use std::sync::mpsc::SyncSender;

use kvproto::{
    metapb::{self, Region},
    raft_serverpb::RaftApplyState,
};
use raft::eraftpb::{ConfChangeV2, Entry, Snapshot};

use crate::store::proposals::Proposal;

/// Committed entries and their proposals.
pub struct Apply {
    /// Id of the peer.
    pub peer_id: u64,
    /// Raft term.
    pub term: u64,
    /// Index of the last committed entry.
    pub commit_index: u64,
    /// Term of the last committed entry.
    pub commit_term: u64,
    /// Log entries.
    pub entries: Vec<Entry>,
    /// Proposals of these entries on this peer.
    pub proposals: Vec<Proposal>,
}

/// Initial state of an apply FSM: at a start, after a split, after a snapshot.
pub struct Registration {
    /// The peer.
    pub peer: metapb::Peer,
    /// Raft term.
    pub term: u64,
    /// The region.
    pub region: Region,
    /// Index of the last applied entry, and where the log begins.
    pub apply_state: RaftApplyState,
    /// Term of the last applied entry.
    pub applied_term: u64,
}

/// Message to an apply FSM.
pub enum ApplyMsg {
    /// Apply committed entries.
    Apply(Apply),
    /// Begin with this state.
    Registration(Box<Registration>),
    /// Take a snapshot for a follower.
    GenSnapshot(GenSnapTask),
    /// Stop after the last write.
    Destroy,
}

/// Effect of an admin command that the peer FSM must follow.
#[derive(Debug)]
pub enum ExecResult {
    /// The membership changed.
    ChangePeer {
        /// The change, for the `raft` crate.
        change: ConfChangeV2,
        /// The region.
        region: Region,
        /// Peers that the change names.
        peers: Vec<metapb::Peer>,
    },
    /// The log may be removed up to this entry.
    CompactLog {
        /// Index of the entry.
        index: u64,
    },
    /// The region was split.
    SplitRegion {
        /// All regions after the split, in key order.
        regions: Vec<Region>,
        /// Region that keeps the id.
        derived: Region,
    },
    /// The leader's hash of the data as of an entry.
    VerifyHash {
        /// Index of the entry.
        index: u64,
        /// CRC-32 of the data, big-endian.
        hash: Vec<u8>,
    },
    /// The region enters or leaves the flashback state.
    SetFlashbackState {
        /// The region.
        region: Region,
    },
}

/// Result of one apply round.
#[derive(Debug)]
pub struct ApplyRes {
    /// Id of the region.
    pub region_id: u64,
    /// Id of the peer.
    pub peer_id: u64,
    /// Index of the last applied entry, and where the log begins.
    pub apply_state: RaftApplyState,
    /// Term of the last applied entry.
    pub applied_term: u64,
    /// Effects that the peer FSM must follow, in order.
    pub exec_results: Vec<ExecResult>,
    /// Bytes written.
    pub written_bytes: u64,
    /// Number of keys written.
    pub written_keys: u64,
}

/// Snapshot request of Raft, made through the peer's storage.
pub struct GenSnapTask {
    /// Id of the region.
    pub region_id: u64,
    /// Receives the snapshot.
    pub notifier: SyncSender<Snapshot>,
}
