//! Proposals that wait for their entries to be committed. Mirrors `raftstore::store::peer::ProposalQueue`.
use std::collections::VecDeque;

use tracepoints::{Req, clock::EngineInstant};

use super::{callback::Callback, run::Run, write_tracker::WriteTracker};

/// Command whose log entry was proposed on this peer.
pub struct Proposal {
    /// Whether the entry changes the membership.
    pub is_conf_change: bool,
    /// Index of the entry.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// Called with the response.
    pub cb: Callback,
    /// Request that the work belongs to, for stamps.
    pub req: Req,
    /// Points in time that the write has passed.
    pub tracker: WriteTracker,
}

/// Proposals in the order of their entries.
#[derive(Default)]
pub struct ProposalQueue {
    queue: VecDeque<Proposal>,
}

impl ProposalQueue {
    /// Whether no proposal waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a proposal with a later index.
    pub fn push(&mut self, proposal: Proposal) {
        self.queue.push_back(proposal);
    }

    /// Returns the time of the entry's proposal, if this peer proposed it.
    pub fn find_propose_time(&self, term: u64, index: u64) -> Option<EngineInstant> {
        self.queue.iter().find(|p| (p.term, p.index) == (term, index)).map(|p| p.tracker.propose_time())
    }

    /// Notes a point in time of the proposals whose entries are in this run. TiKV: `ProposalQueue::find_trackers`.
    pub fn track(&mut self, run: Run, mut note: impl FnMut(&mut WriteTracker)) {
        let first = self.queue.partition_point(|p| p.index < run.first);
        let in_run = self.queue.range_mut(first..).take_while(|p| p.index <= run.last);
        in_run.filter(|p| p.term == run.term).for_each(|p| note(&mut p.tracker));
    }

    /// Takes all proposals decided by the commit of an entry: up to its index, or of older terms and lost.
    pub fn take_until(&mut self, term: u64, index: u64) -> Vec<Proposal> {
        let decided = self.queue.iter().take_while(|p| p.index <= index || p.term < term).count();
        self.queue.drain(..decided).collect()
    }

    /// Takes all proposals.
    pub fn take_all(&mut self) -> Vec<Proposal> {
        self.queue.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(term: u64, index: u64) -> Proposal {
        Proposal {
            is_conf_change: false,
            index,
            term,
            cb: Callback::None,
            req: Req::NONE,
            tracker: WriteTracker::new(EngineInstant(0), EngineInstant(index)),
        }
    }

    #[test]
    fn a_commit_decides_earlier_indexes_and_older_terms() {
        let mut queue = ProposalQueue::default();
        for (term, index) in [(5, 6), (5, 7), (5, 8), (7, 9)] {
            queue.push(proposal(term, index));
        }
        assert_eq!(queue.find_propose_time(5, 7), Some(EngineInstant(7)));
        assert_eq!(queue.find_propose_time(6, 7), None);
        assert_eq!(queue.take_until(5, 6).len(), 1);
        let taken: Vec<_> = queue.take_until(6, 7).iter().map(|p| p.index).collect();
        assert_eq!(taken, [7, 8], "8 was proposed in a term that lost");
        assert_eq!(queue.take_all().len(), 1);
    }
}
