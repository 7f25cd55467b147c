//! The peer FSM: takes messages, steps Raft, processes Readies. Mirrors `raftstore::store::fsm::peer`.
//!
//! Wherever a request may be held, the work is split into [`Continuation`]s. A continuation first passes its
//! gate and then acts, so that a parked FSM resumes where it stopped. The FSM takes messages only when no
//! continuation is pending.
mod command;
mod consistency;
mod destroy;
mod message;
mod results;
mod run;
mod tick;
mod transfer;

use std::collections::VecDeque;

use kvproto::metapb::{self, Region};
use raft::{
    Ready,
    eraftpb::{Entry, Message},
};
use tracepoints::{FsmGate, Req};

pub(crate) use message::{is_initial, tombstone_reply};
pub(crate) use results::registration;
pub use run::PeerFsmDelegate;

use crate::{
    Error, Result,
    batch_system::Fsm,
    store::{
        config::Config, engines::Engines, peer::Peer, read_queue::ReadIndexRequest,
        write_tracker::RaftDbTimes,
    },
};

/// Pending step of a peer FSM, with the data to resume it: a gate, then the work after the gate.
pub enum Continuation {
    /// Message from another peer: `follower_receive` or `read_index_heartbeat`, then Raft steps the message.
    Step(Box<Message>),
    /// `raft_propose`; the log already contains the entry.
    Proposed {
        /// Request that the work belongs to, for stamps.
        req: Req,
        /// Raft term.
        term: u64,
        /// Index of the entry.
        index: u64,
    },
    /// `read_index_propose`; the round has begun, no message is sent yet.
    ReadIndexProposed {
        /// Request that the work belongs to, for stamps.
        req: Req,
        /// Id of the read in stamps.
        read_id: u64,
    },
    /// `raft_ready` or `follower_append`, for each run of the Ready's entries; then the Ready is processed.
    /// `at` counts the runs that passed, here and below.
    Ready {
        /// The Ready.
        ready: Box<Ready>,
        /// Number of runs that have passed the gate.
        at: usize,
    },
    /// `raft_commit` and the steps inside of it, for each run; then the apply FSM gets the entries.
    Committed {
        /// Log entries.
        entries: Vec<Entry>,
        /// Number of runs that have passed the gate.
        at: usize,
        /// Number of gates of the next run that have passed: `raft_commit`, and the steps inside of it.
        part: usize,
    },
    /// `raft_persisted`, for each Ready up to this number; then Raft is notified.
    Persisted {
        /// Number of the last Ready.
        number: u64,
        /// Times of the write to raft-engine.
        raft_db: RaftDbTimes,
        /// Number of runs that have passed the gate.
        at: usize,
    },
    /// `read_index_confirm`; then the read gets its response.
    ReadConfirmed(Box<ReadIndexRequest>),
}

/// Progress of the peer's removal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Destroying {
    /// The apply FSM has finished its last write.
    pub apply_done: bool,
}

/// FSM of one peer.
pub struct PeerFsm {
    /// The peer.
    pub peer: Peer,
    /// Gate that can hold the FSM.
    pub gate: FsmGate,
    /// Steps to take before the next message.
    pub pending_steps: VecDeque<Continuation>,
    /// Progress of the removal, if the peer leaves.
    pub destroying: Option<Destroying>,
    /// Whether the peer has left the store.
    pub stopped: bool,
}

impl Fsm for PeerFsm {
    type Message = crate::store::PeerMsg;

    fn is_stopped(&self) -> bool {
        self.stopped
    }
}

impl PeerFsm {
    /// Creates a peer of a known region: from disk, or after a split. TiKV: `PeerFsm::create`.
    pub fn create(
        store_id: u64,
        config: &Config,
        engines: Engines,
        region: Region,
        existed: bool,
    ) -> Result<Box<Self>> {
        let missing =
            || Error::other(format!("expected a peer of store {store_id} in region {region:?}, found none"));
        let me = *region.find_peer(store_id).ok_or_else(missing)?;
        Self::with_peer(store_id, config, engines, region, me, existed)
    }

    /// Creates a peer that has only its ids until it receives a snapshot. TiKV: `PeerFsm::replicate`.
    pub fn replicate(
        store_id: u64,
        config: &Config,
        engines: Engines,
        region_id: u64,
        peer: metapb::Peer,
    ) -> Result<Box<Self>> {
        let region = Region { id: region_id, ..Default::default() };
        Self::with_peer(store_id, config, engines, region, peer, false)
    }

    fn with_peer(
        store_id: u64,
        config: &Config,
        engines: Engines,
        region: Region,
        me: metapb::Peer,
        existed: bool,
    ) -> Result<Box<Self>> {
        let peer = Peer::new(config, engines, store_id, region, me, existed)?;
        Ok(Box::new(PeerFsm {
            peer,
            gate: FsmGate::default(),
            pending_steps: VecDeque::new(),
            destroying: None,
            stopped: false,
        }))
    }

    /// Returns the id of the region.
    pub fn region_id(&self) -> u64 {
        self.peer.region_id
    }
}
