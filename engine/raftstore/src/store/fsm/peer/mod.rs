//! The peer FSM: takes messages, steps Raft, hands Readies on. Mirrors `raftstore::store::fsm::peer`.
//!
//! Where a request may be held the FSM's work is cut into [`Cont`]s: each passes its gate first and acts then, so that a
//! parked FSM goes on exactly where it stood. Messages are taken only when no Cont is left.
mod command;
mod consistency;
mod destroy;
mod message;
mod results;
mod run;
mod tick;

use std::collections::VecDeque;

use kvproto::metapb::{self, Region};
use raft::{
    Ready,
    eraftpb::{Entry, Message},
};
use tracepoints::{FsmGate, Req};

pub(crate) use message::{is_initial, overlaps, tombstone_reply};
pub(crate) use results::registration;
pub use run::PeerFsmDelegate;

use crate::{
    Error, Result,
    batch_system::Fsm,
    store::{Config, Engines, peer::Peer, read_queue::ReadIndexRequest},
};

/// Work that stands before a gate or behind one.
pub enum Cont {
    /// A message from another peer: `follower_receive`, `read_index_heartbeat`; then it is stepped.
    Step(Box<Message>),
    /// `raft_propose`; the entry is in the log already.
    Proposed { req: Req, term: u64, index: u64 },
    /// `read_index_propose`; the round has begun, nothing is sent yet.
    ReadIndexProposed { req: Req, read_id: u64 },
    /// `raft_ready` or `follower_append`, run by run of the Ready's entries; then it is taken apart.
    Ready { ready: Box<Ready>, at: usize },
    /// `raft_commit`, run by run; then the entries go to the apply FSM.
    Committed { entries: Vec<Entry>, at: usize },
    /// `raft_persisted`, for each Ready up to this number; then Raft hears of it.
    Persisted { number: u64, at: usize },
    /// `read_index_confirm`; then the read is answered.
    ReadConfirmed(Box<ReadIndexRequest>),
}

/// How far the peer's leaving has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Destroying {
    /// The apply FSM has written its last.
    pub apply_done: bool,
}

pub struct PeerFsm {
    pub peer: Peer,
    pub gate: FsmGate,
    pub conts: VecDeque<Cont>,
    pub destroying: Option<Destroying>,
    pub stopped: bool,
}

impl Fsm for PeerFsm {
    type Message = crate::store::PeerMsg;

    fn is_stopped(&self) -> bool {
        self.stopped
    }
}

impl PeerFsm {
    /// A peer whose region is known: from disk, or made by a split. TiKV: `PeerFsm::create`.
    pub fn create(
        store_id: u64,
        config: &Config,
        engines: Engines,
        region: Region,
        existed: bool,
    ) -> Result<Box<Self>> {
        let missing =
            || Error::other(format!("expected a peer of store {store_id} in region {region:?}, met none"));
        let me = *region.find_peer(store_id).ok_or_else(missing)?;
        Self::with_peer(store_id, config, engines, region, me, existed)
    }

    /// A peer that knows only its ids; a snapshot will tell it the rest. TiKV: `PeerFsm::replicate`.
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
            conts: VecDeque::new(),
            destroying: None,
            stopped: false,
        }))
    }

    pub fn region_id(&self) -> u64 {
        self.peer.region_id
    }
}
