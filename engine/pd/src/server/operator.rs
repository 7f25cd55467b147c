//! Operators: PD's next steps for a region, until the leader's heartbeats show
//! that they are done (tikv/pd `operator`).
use kvproto::{
    eraftpb::ConfChangeType,
    metapb::{Peer, PeerRole},
    pdpb::{self, OperatorStatus},
};

use super::regions::RegionInfo;

/// An operator that takes longer is cancelled (PD `SlowStepWaitTime`).
const TIMEOUT_MS: u64 = 600_000;

/// One step of scheduling.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Adds a voter, or a learner if that is the peer's role.
    AddPeer {
        /// The peer.
        peer: Peer,
    },
    /// Turns a learner into a voter.
    Promote {
        /// The peer.
        peer: Peer,
    },
    /// Removes the peer of a store.
    RemovePeer {
        /// Id of the store.
        store_id: u64,
    },
    /// Makes the peer of another store the leader.
    TransferLeader {
        /// Id of the store.
        to_store: u64,
    },
    /// Splits the region.
    Split {
        /// The keys at which new regions begin, encoded.
        keys: Vec<Vec<u8>>,
    },
}

impl Step {
    /// Returns whether the region shows the step's effect.
    pub fn is_finished(&self, region: &RegionInfo) -> bool {
        let known = |peer: &Peer| region.meta.find_peer_by_id(peer.id);
        match self {
            // No other change starts until the new peer has the data.
            Step::AddPeer { peer } => known(peer).is_some() && region.has_caught_up(peer),
            Step::Promote { peer } => known(peer).is_some_and(|peer| !peer.is_learner()),
            Step::RemovePeer { store_id } => region.meta.find_peer(*store_id).is_none(),
            Step::TransferLeader { to_store } => region.leader_store() == Some(*to_store),
            Step::Split { keys } => {
                keys.iter().all(|key| *key == region.meta.start_key || !region.meta.contains(key))
            }
        }
    }

    /// Returns the store that must live for this step to finish.
    pub fn target_store(&self) -> Option<u64> {
        match self {
            Step::AddPeer { peer } | Step::Promote { peer } => Some(peer.store_id),
            Step::TransferLeader { to_store } => Some(*to_store),
            Step::RemovePeer { .. } | Step::Split { .. } => None,
        }
    }

    fn fill(&self, region: &RegionInfo, response: &mut pdpb::RegionHeartbeatResponse) {
        let change =
            |peer, kind: ConfChangeType| pdpb::ChangePeer { peer: Some(peer), change_type: kind as i32 };
        match self {
            // The peer is already a member and is catching up.
            Step::AddPeer { peer } if region.meta.find_peer_by_id(peer.id).is_some() => {}
            Step::AddPeer { peer } if peer.is_learner() => {
                response.change_peer = Some(change(*peer, ConfChangeType::AddLearnerNode));
            }
            Step::AddPeer { peer } => response.change_peer = Some(change(*peer, ConfChangeType::AddNode)),
            Step::Promote { peer } => {
                let voter = Peer { role: PeerRole::Voter as i32, ..*peer };
                response.change_peer = Some(change(voter, ConfChangeType::AddNode));
            }
            Step::RemovePeer { store_id } => {
                let peer = region.meta.find_peer(*store_id).copied();
                response.change_peer = peer.map(|peer| change(peer, ConfChangeType::RemoveNode));
            }
            Step::TransferLeader { to_store } => {
                let peer = region.meta.find_peer(*to_store).copied();
                response.transfer_leader = Some(pdpb::TransferLeader { peer, peers: Vec::from_iter(peer) });
            }
            Step::Split { keys } => {
                let policy = pdpb::CheckPolicy::Usekey as i32;
                response.split_region = Some(pdpb::SplitRegion { policy, keys: keys.clone() });
            }
        }
    }
}

/// A list of steps, running or ended, as `GetOperator` reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// PD's name of the reason, e.g. `make-up-replica`.
    pub desc: &'static str,
    /// Progress of the steps.
    pub status: OperatorStatus,
    /// Group of the regions that are scattered together; empty for other operators.
    pub group: String,
    steps: Vec<Step>,
    /// The index of the current step.
    at: usize,
    step_began_ms: u64,
}

impl Operator {
    /// Creates a running operator at its first step.
    pub fn new(desc: &'static str, steps: Vec<Step>, now_ms: u64) -> Operator {
        let (status, group) = (OperatorStatus::Running, String::new());
        Operator { desc, status, group, steps, at: 0, step_began_ms: now_ms }
    }

    /// Sets the group of the regions that are scattered together.
    #[must_use]
    pub fn with_group(self, group: &str) -> Operator {
        Operator { group: group.to_owned(), ..self }
    }

    /// Returns the store that must live for the current step to finish.
    pub fn target_store(&self) -> Option<u64> {
        self.steps.get(self.at)?.target_store()
    }

    /// Whether steps are left.
    pub fn is_running(&self) -> bool {
        self.status == OperatorStatus::Running
    }

    /// Moves to the next step if the region shows the effect of the current one. Ends the operator after the
    /// last step, if its target is lost, or if the step takes too long.
    pub fn update(&mut self, region: &RegionInfo, target_is_lost: bool, now_ms: u64) {
        if !self.is_running() {
            return;
        }
        let before = self.at;
        while self.steps.get(self.at).is_some_and(|step| step.is_finished(region)) {
            self.at += 1;
            self.step_began_ms = now_ms;
        }
        if self.at == self.steps.len() {
            self.status = OperatorStatus::Success;
        } else if target_is_lost && self.at == before {
            self.status = OperatorStatus::Cancel;
        } else if now_ms.saturating_sub(self.step_began_ms) >= TIMEOUT_MS {
            self.status = OperatorStatus::Timeout;
        }
    }

    /// Returns the message for the region's leader; `None` if the leader must only wait.
    pub fn to_response(&self, region: &RegionInfo) -> Option<pdpb::RegionHeartbeatResponse> {
        let mut response = pdpb::RegionHeartbeatResponse {
            region_id: region.meta.id,
            region_epoch: region.meta.region_epoch,
            target_peer: region.leader,
            ..Default::default()
        };
        self.steps.get(self.at)?.fill(region, &mut response);
        let asks = response.change_peer.is_some()
            || response.transfer_leader.is_some()
            || response.split_region.is_some();
        asks.then_some(response)
    }

    /// The names of PD's flags (tikv/pd `operator.OpKind`).
    pub fn kind(&self) -> &'static str {
        let moves_leader = matches!(self.steps.as_slice(), [Step::TransferLeader { .. }]);
        match (self.desc, moves_leader) {
            ("region-splitter", _) => "split",
            ("scatter-region", true) => "leader",
            ("scatter-region", false) => "region",
            (desc, true) if desc.starts_with("admin") => "admin,leader",
            (desc, false) if desc.starts_with("admin") => "admin,region",
            (_, true) => "replica,leader",
            (_, false) => "replica,region",
        }
    }
}
