//! Reads that ask a quorum. Mirrors `raftstore::store::read_queue`.
use std::collections::VecDeque;

use kvproto::{
    kvrpcpb::LockInfo,
    raft_cmdpb::{self, RaftCmdRequest},
};
use tracepoints::{Req, clock::EngineInstant};
use uuid::Uuid;

use super::{callback::Callback, read_index_context::ReadIndexContext};

/// One round: a leader asks a quorum by heartbeats, a follower asks its leader.
pub struct ReadIndexRequest {
    /// Id of the round.
    pub id: Uuid,
    /// Command and callback; none if the round only renews the lease.
    pub cmd: Option<(RaftCmdRequest, Callback)>,
    /// Request that the work belongs to, for stamps.
    pub req: Req,
    /// Engine time of the proposal.
    pub propose_time: EngineInstant,
    /// Nanoseconds from the creation of the command until the proposal.
    pub propose_wait_nanos: u64,
    /// Key ranges of a replica's read; its leader checks them for locks in memory.
    pub request: Option<raft_cmdpb::ReadIndexRequest>,
    /// Lock that the leader found.
    pub locked: Option<LockInfo>,
    /// Commit index that must be applied before the read, once a quorum has confirmed the round.
    pub read_index: Option<u64>,
    /// Ticks since the round was last sent; a follower sends it again.
    pub waited_ticks: usize,
}

impl ReadIndexRequest {
    /// Creates a read with a new id; `cmd` is `None` to renew only the lease.
    pub fn new(cmd: Option<(RaftCmdRequest, Callback)>, req: Req, propose_time: EngineInstant) -> Self {
        let request = cmd.as_ref().and_then(|(cmd, _)| cmd.requests.first()?.read_index.clone());
        Self {
            id: Uuid::new_v4(),
            cmd,
            req,
            propose_time,
            propose_wait_nanos: 0,
            request,
            locked: None,
            read_index: None,
            waited_ticks: 0,
        }
    }

    /// Encodes the context that Raft carries to the leader.
    pub fn context(&self) -> Vec<u8> {
        ReadIndexContext { id: self.id, request: self.request.clone(), ..Default::default() }.to_bytes()
    }

    /// Returns the id of this round in stamps.
    pub fn read_id(&self) -> u64 {
        read_id(self.id.as_bytes())
    }
}

/// Returns the first eight bytes of a round's context as a number, 0 if the context is shorter.
pub fn read_id(context: &[u8]) -> u64 {
    context.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Rounds in the order in which they began.
#[derive(Default)]
pub struct ReadIndexQueue {
    reads: VecDeque<ReadIndexRequest>,
}

impl ReadIndexQueue {
    /// Adds a read.
    pub fn push(&mut self, read: ReadIndexRequest) {
        self.reads.push_back(read);
    }

    /// Whether no read waits.
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// Iterates over the reads in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ReadIndexRequest> {
        self.reads.iter_mut()
    }

    /// Marks a round as confirmed with this commit index. On a leader this confirms every earlier round too.
    /// Returns the time when the round began, if the round is known.
    pub fn confirm(&mut self, context: ReadIndexContext, index: u64, leader: bool) -> Option<EngineInstant> {
        let at = self.reads.iter().position(|r| r.id == context.id)?;
        self.reads[at].locked = context.locked;
        let from = if leader { 0 } else { at };
        for read in self.reads.range_mut(from..=at) {
            read.read_index.get_or_insert(index);
        }
        Some(self.reads[at].propose_time)
    }

    /// Takes the first round if it is confirmed and applied. On a follower a later round may be taken first.
    pub fn pop_ready(&mut self, applied: u64) -> Option<ReadIndexRequest> {
        let at = self.reads.iter().position(|r| r.read_index.is_some_and(|i| i <= applied))?;
        self.reads.remove(at)
    }

    /// Takes all reads.
    pub fn take_all(&mut self) -> Vec<ReadIndexRequest> {
        self.reads.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(time: u64) -> ReadIndexRequest {
        ReadIndexRequest::new(None, Req::NONE, EngineInstant(time))
    }

    fn answer(id: Uuid) -> ReadIndexContext {
        ReadIndexContext { id, ..Default::default() }
    }

    #[test]
    fn a_leaders_round_confirms_earlier_rounds() {
        let mut queue = ReadIndexQueue::default();
        let reads = [read(1), read(2), read(3)];
        let ids = reads.each_ref().map(|r| r.id);
        reads.into_iter().for_each(|r| queue.push(r));
        assert_eq!(queue.confirm(answer(ids[1]), 7, true), Some(EngineInstant(2)));
        assert!(queue.pop_ready(6).is_none(), "not applied yet");
        assert_eq!(queue.pop_ready(7).unwrap().propose_time, EngineInstant(1));
        assert_eq!(queue.pop_ready(7).unwrap().propose_time, EngineInstant(2));
        assert!(queue.pop_ready(7).is_none());
        assert_eq!(queue.confirm(answer(Uuid::new_v4()), 7, true), None);
    }

    #[test]
    fn a_followers_round_confirms_only_itself() {
        let mut queue = ReadIndexQueue::default();
        let (first, second) = (read(1), read(2));
        let id = second.id;
        assert_eq!(second.read_id(), read_id(id.as_bytes()));
        queue.push(first);
        queue.push(second);
        let lock = LockInfo { lock_version: 5, ..Default::default() };
        queue.confirm(ReadIndexContext { locked: Some(lock), ..answer(id) }, 9, false);
        let read = queue.pop_ready(9).unwrap();
        assert_eq!((read.propose_time, read.locked.map(|l| l.lock_version)), (EngineInstant(2), Some(5)));
        assert!(queue.pop_ready(9).is_none());
        assert!(!queue.is_empty());
    }
}
