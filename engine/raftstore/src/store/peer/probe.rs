//! The peer's state for probes and region metadata.
use std::collections::HashMap;

use kvproto::metapb::{self, PeerRole};
use raft::{ProgressState, StateRole};
use tracepoints::{
    EngineClock, Probe, Req,
    field::{self, Vote},
    probe::{LeaseProbe, ProgressProbe, RaftProbe},
};

use super::Peer;
use crate::{
    debug::{PeerFlow, RegionMeta},
    store::lease::LeaseState,
};

/// Converts the peer's role to the vote field of a stamp.
pub(crate) fn vote(peer: &metapb::Peer) -> Vote {
    match peer.role() {
        PeerRole::Voter => Vote::Both,
        PeerRole::Learner => Vote::Learner,
        PeerRole::IncomingVoter => Vote::Joining,
        PeerRole::DemotingVoter => Vote::Leaving,
    }
}

impl Peer {
    /// Publishes the state at a stamp of `req` if the request is stepped. Until [`Peer::end_stamped`], changes
    /// belong to this stamp.
    pub fn publish_at_stamp(&mut self, store_id: u64, req: Req) {
        if req.stepped() {
            self.stamped = req;
            self.publish_probe(store_id, false);
        }
    }

    /// Ends a piece of work: if it stamped a stepped request, publishes its changes for that stamp.
    pub fn end_stamped(&mut self, store_id: u64) {
        if !self.stamped.is_none() {
            self.publish_probe(store_id, false);
            self.stamped = Req::NONE;
        }
    }

    /// Publishes the state to a session that watches the region, if it changed or if `force`.
    pub fn publish_probe(&mut self, store_id: u64, force: bool) {
        if !tracepoints::session::watches_region(self.region_id) {
            return;
        }
        let probe = self.probe(store_id);
        // A lease that runs down is no change; a renewed lease is.
        let without_time = |p: &RaftProbe| {
            let mut p = p.clone();
            p.lease.iter_mut().for_each(|l| l.remaining_ms = 0);
            p
        };
        let same = self.last_probe.as_ref().is_some_and(|old| without_time(old) == without_time(&probe));
        if force || !same {
            self.last_probe = Some(probe.clone());
            tracepoints::session::publish_region(self.stamped, || Probe::Raft(probe));
        }
    }

    /// Returns the Raft state for a session.
    pub fn probe(&self, store_id: u64) -> RaftProbe {
        let raft = &self.raft_group.raft;
        let role = match raft.state {
            StateRole::Leader => "Leader",
            StateRole::Follower => "Follower",
            StateRole::Candidate => "Candidate",
            StateRole::PreCandidate => "PreCandidate",
        };
        RaftProbe {
            store: store_id,
            region: self.region_id,
            peer: self.peer_id(),
            role: role.to_owned(),
            term: raft.term,
            vote: raft.vote,
            leader: raft.leader_id,
            first_index: self.storage().log_first_index(),
            last_index: raft.raft_log.last_index(),
            persisted: raft.raft_log.persisted,
            commit: raft.raft_log.committed,
            applied: self.storage().applied_index(),
            lease: self.is_leader().then(|| self.lease_probe()),
            progress: self.progress_probes(),
        }
    }

    fn lease_probe(&self) -> LeaseProbe {
        let now = EngineClock::now();
        let state = match self.leader_lease.inspect(now) {
            LeaseState::Valid => "valid",
            LeaseState::Expired => "expired",
            LeaseState::Suspect => "suspect",
        };
        let remaining = self.leader_lease.remaining(now);
        let until = if remaining.is_zero() { 0 } else { (now + remaining).0 };
        LeaseProbe { state: state.to_owned(), remaining_ms: remaining.as_millis() as u64, until_ns: until }
    }

    /// Encodes the numbers of voters of both configurations for a stamp; a quorum is more than half of each.
    pub fn voters(&self) -> u64 {
        let votes = || self.region().peers.iter().map(vote);
        let incoming = votes().filter(|v| matches!(v, Vote::Both | Vote::Joining)).count();
        let joint = votes().any(|v| matches!(v, Vote::Joining | Vote::Leaving));
        let outgoing = votes().filter(|v| matches!(v, Vote::Both | Vote::Leaving)).count();
        let own = self.find_peer(self.peer_id()).map_or(Vote::Both, |p| vote(&p));
        field::voters(incoming as u64, if joint { outgoing as u64 } else { 0 }, own)
    }

    fn progress_probes(&self) -> Vec<ProgressProbe> {
        if !self.is_leader() {
            return Vec::new();
        }
        let mut probes: Vec<ProgressProbe> = Vec::new();
        for (id, progress) in self.raft_group.raft.prs().iter() {
            let state = match progress.state {
                ProgressState::Probe => "Probe",
                ProgressState::Replicate => "Replicate",
                ProgressState::Snapshot => "Snapshot",
            };
            probes.push(ProgressProbe {
                peer: *id,
                store: self.find_peer(*id).map_or(0, |p| p.store_id),
                matched: progress.matched,
                next: progress.next_idx,
                state: state.to_owned(),
            });
        }
        probes.sort_by_key(|p| (p.store, p.peer));
        probes
    }

    fn flows(&self) -> HashMap<u64, PeerFlow> {
        let flow = |p: &raft::Progress| PeerFlow {
            paused: p.paused,
            pending_snapshot: p.pending_snapshot,
            pending_request_snapshot: p.pending_request_snapshot,
            recent_active: p.recent_active,
        };
        self.raft_group.raft.prs().iter().map(|(id, p)| (*id, flow(p))).collect()
    }

    /// Returns the state for the status server and tikv-ctl.
    pub fn region_meta(&self, store_id: u64) -> RegionMeta {
        RegionMeta {
            region: (**self.region()).clone(),
            raft: self.probe(store_id),
            apply_state: *self.storage().apply_state(),
            applied_term: self.storage().applied_term(),
            approximate_size: self.approximate_size(),
            flows: self.flows(),
            consistency: self.consistency.verdict(),
        }
    }
}
