//! Apply FSMs: each executes the committed entries of one region. Mirrors `raftstore::store::fsm::apply`.
mod admin;
mod conf_change;
mod context;
mod delegate;
mod exec;
mod poller;
mod split;

use kvproto::{
    metapb::{self, Region},
    raft_serverpb::RaftApplyState,
};
use raft::eraftpb::{ConfChangeV2, Entry};

pub use delegate::ApplyDelegate;
pub use poller::{ApplyBatchSystem, ApplyBuilder, ApplyRouter, new_batch_system};

use crate::{
    batch_system::Fsm,
    store::{proposals::Proposal, worker::region::GenSnapTask},
};

/// Committed entries and their proposals.
pub struct Apply {
    pub peer_id: u64,
    pub term: u64,
    pub commit_index: u64,
    pub commit_term: u64,
    pub entries: Vec<Entry>,
    pub proposals: Vec<Proposal>,
}

/// Initial state of an apply FSM: at a start, after a split, after a snapshot.
pub struct Registration {
    pub peer: metapb::Peer,
    pub term: u64,
    pub region: Region,
    pub apply_state: RaftApplyState,
    pub applied_term: u64,
}

pub enum ApplyMsg {
    Apply(Apply),
    Registration(Box<Registration>),
    GenSnapshot(GenSnapTask),
    Destroy,
}

/// Effect of an admin command that the peer FSM must follow.
#[derive(Debug)]
pub enum ExecResult {
    ChangePeer {
        change: ConfChangeV2,
        region: Region,
        peers: Vec<metapb::Peer>,
    },
    CompactLog {
        index: u64,
    },
    SplitRegion {
        regions: Vec<Region>,
        derived: Region,
    },
    VerifyHash {
        index: u64,
        hash: Vec<u8>,
    },
    /// The region enters or leaves the flashback state.
    SetFlashbackState {
        region: Region,
    },
}

/// Result of one apply round.
#[derive(Debug)]
pub struct ApplyRes {
    pub region_id: u64,
    pub peer_id: u64,
    pub apply_state: RaftApplyState,
    pub applied_term: u64,
    pub exec_results: Vec<ExecResult>,
    pub written_bytes: u64,
    pub written_keys: u64,
}

pub struct ApplyFsm {
    pub delegate: ApplyDelegate,
    stopped: bool,
}

impl ApplyFsm {
    pub fn new(registration: Registration) -> Self {
        Self { delegate: ApplyDelegate::new(registration), stopped: false }
    }

    pub fn region_id(&self) -> u64 {
        self.delegate.region_id()
    }
}

impl Fsm for ApplyFsm {
    type Message = ApplyMsg;
    fn is_stopped(&self) -> bool {
        self.stopped
    }
}

/// Placeholder: apply pollers need no control FSM; this one does nothing.
pub struct ControlFsm;

impl Fsm for ControlFsm {
    type Message = ();
    fn is_stopped(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
