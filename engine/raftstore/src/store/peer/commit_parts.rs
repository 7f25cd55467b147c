//! The steps inside of `raft_commit`: the matched index of each peer, the index that a quorum has, and the entry.
//!
//! Runs only for a stepped request.
use tracepoints::{Facts, StageId, field::Vote, stage};

use super::{Peer, facts::majorities, probe::vote};
use crate::store::run::Run;

/// One step inside of `raft_commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPart {
    /// The leader reads the matched index of one peer.
    Matched {
        /// Store of the peer.
        store: u64,
        /// Index up to which the peer has the leader's log.
        matched: u64,
        /// Whether the peer votes.
        votes: bool,
    },
    /// The leader finds the index that a quorum has.
    Quorum {
        /// The highest index that a majority has.
        index: u64,
    },
    /// The commit index covers the entry.
    Entry {
        /// Whether this peer leads.
        leads: bool,
        /// The peer's commit index.
        committed: u64,
    },
}

/// Returns the steps inside of `raft_commit`. Only the leader counts the peers.
pub fn commit_parts(peer: &Peer) -> Vec<CommitPart> {
    let leads = peer.is_leader();
    let entry = CommitPart::Entry { leads, committed: peer.raft_group.raft.raft_log.committed };
    if !leads {
        return vec![entry];
    }
    let progress = peer.raft_group.raft.prs();
    let matched = |id| progress.get(id).map_or(0, |progress| progress.matched);
    let mut parts: Vec<CommitPart> = peer
        .region()
        .peers
        .iter()
        .map(|member| CommitPart::Matched {
            store: member.store_id,
            matched: matched(member.id),
            votes: vote(member) != Vote::Learner,
        })
        .collect();
    let state = progress.conf().to_conf_state();
    let of_majority = majorities(&state)
        .into_iter()
        .map(|(_, voters)| quorum_index(voters.iter().map(|id| matched(*id)).collect()));
    parts.push(CommitPart::Quorum { index: of_majority.min().unwrap_or_default() });
    parts.push(entry);
    parts
}

/// Returns the highest index that more than half of the voters have; 0 without voters.
fn quorum_index(mut matched: Vec<u64>) -> u64 {
    matched.sort_unstable_by(|a, b| b.cmp(a));
    matched.get(matched.len() / 2).copied().unwrap_or_default()
}

impl CommitPart {
    /// Returns the stage of the step.
    pub fn stage(&self) -> StageId {
        match self {
            Self::Matched { .. } => stage::RAFT_COMMIT_MATCHED,
            Self::Quorum { .. } => stage::RAFT_COMMIT_QUORUM,
            Self::Entry { .. } => stage::RAFT_COMMIT_ENTRY,
        }
    }

    /// Describes the step for the entries of a run.
    pub fn facts(&self, run: Run) -> Facts {
        match *self {
            Self::Matched { store, matched, votes } => {
                let facts = Facts::new("Matched index").number("store", store).number("matched", matched);
                let facts = facts.note(format!("the entry: {}", run.last)).flag("votes", votes);
                facts.outcome(match (matched >= run.last, votes) {
                    (true, true) => "has the entry",
                    (true, false) => "has the entry, but does not vote",
                    (false, _) => "not yet",
                })
            }
            Self::Quorum { index } => {
                let facts = Facts::new("Quorum index").number("a majority has", index);
                let facts = facts.note(format!("the entry: {}", run.last));
                facts.outcome(if index >= run.last {
                    "covers the entry"
                } else {
                    "the commit index was higher before"
                })
            }
            Self::Entry { leads, committed } => {
                let facts = Facts::new("Commit").number("entry", run.last).number("its term", run.term);
                let facts = facts.number("commit index", committed);
                facts.outcome(if leads {
                    "committed by a quorum"
                } else {
                    "the leader's commit index covers it"
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { region: 1, term: 6, first: 8, last: 9 };

    #[test]
    fn the_quorum_index_is_that_of_a_majority() {
        for (matched, index) in [
            (vec![], 0),
            (vec![7], 7),
            (vec![7, 9], 7),
            (vec![9, 7, 8], 8),
            (vec![9, 9, 3, 4], 4),
            (vec![1, 9, 2, 8, 5], 5),
        ] {
            assert_eq!(quorum_index(matched.clone()), index, "{matched:?}");
        }
    }

    #[test]
    fn each_part_says_what_it_means_for_the_entry() {
        let outcome = |part: CommitPart| part.facts(RUN).outcome;
        let matched = |matched, votes| CommitPart::Matched { store: 2, matched, votes };
        assert_eq!(outcome(matched(9, true)), "has the entry");
        assert_eq!(outcome(matched(8, true)), "not yet");
        assert_eq!(outcome(matched(9, false)), "has the entry, but does not vote");
        assert_eq!(outcome(CommitPart::Quorum { index: 9 }), "covers the entry");
        assert_eq!(outcome(CommitPart::Entry { leads: true, committed: 9 }), "committed by a quorum");
    }

    #[test]
    fn every_part_is_inside_of_its_stage() {
        for part in [
            CommitPart::Matched { store: 1, matched: 1, votes: true },
            CommitPart::Quorum { index: 1 },
            CommitPart::Entry { leads: false, committed: 1 },
        ] {
            assert!(part.stage().stage().inside, "{part:?}");
        }
    }
}
