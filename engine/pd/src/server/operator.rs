//! What PD asks a region's leader to do next, until the leader's heartbeats show that it is done (tikv/pd `operator`).

use kvproto::{
    eraftpb::ConfChangeType,
    metapb::Peer,
    pdpb::{self, OperatorStatus},
};

use super::regions::RegionInfo;

/// An operator that did not finish in this long is given up (PD `SlowStepWaitTime`).
const TIMEOUT_MS: u64 = 600_000;

/// One step of scheduling; an operator here has exactly one.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    AddPeer { peer: Peer },
    RemovePeer { store_id: u64 },
    TransferLeader { to_store: u64 },
}

impl Step {
    /// Whether the region shows the step's effect.
    pub fn is_finished(&self, region: &RegionInfo) -> bool {
        match self {
            Step::AddPeer { peer } => region.meta.find_peer_by_id(peer.id).is_some(),
            Step::RemovePeer { store_id } => region.meta.find_peer(*store_id).is_none(),
            Step::TransferLeader { to_store } => region.leader_store() == Some(*to_store),
        }
    }

    fn fill(&self, region: &RegionInfo, response: &mut pdpb::RegionHeartbeatResponse) {
        let change =
            |peer, kind: ConfChangeType| pdpb::ChangePeer { peer: Some(peer), change_type: kind as i32 };
        match self {
            Step::AddPeer { peer } => response.change_peer = Some(change(*peer, ConfChangeType::AddNode)),
            Step::RemovePeer { store_id } => {
                let peer = region.meta.find_peer(*store_id).copied();
                response.change_peer = peer.map(|peer| change(peer, ConfChangeType::RemoveNode));
            }
            Step::TransferLeader { to_store } => {
                let peer = region.meta.find_peer(*to_store).copied();
                response.transfer_leader = Some(pdpb::TransferLeader { peer, peers: Vec::from_iter(peer) });
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Step::AddPeer { .. } => "add-peer",
            Step::RemovePeer { .. } => "remove-peer",
            Step::TransferLeader { .. } => "transfer-leader",
        }
    }
}

/// A step under way or ended, as `GetOperator` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    pub step: Step,
    pub status: OperatorStatus,
    created_ms: u64,
}

impl Operator {
    pub fn new(step: Step, now_ms: u64) -> Operator {
        Operator { step, status: OperatorStatus::Running, created_ms: now_ms }
    }

    pub fn is_running(&self) -> bool {
        self.status == OperatorStatus::Running
    }

    /// Ends the operator if the region shows its effect or its time is over.
    pub fn update(&mut self, region: &RegionInfo, now_ms: u64) {
        if !self.is_running() {
            return;
        }
        if self.step.is_finished(region) {
            self.status = OperatorStatus::Success;
        } else if now_ms.saturating_sub(self.created_ms) >= TIMEOUT_MS {
            self.status = OperatorStatus::Timeout;
        }
    }

    /// What to send to the region's leader.
    pub fn to_response(&self, region: &RegionInfo) -> pdpb::RegionHeartbeatResponse {
        let mut response = pdpb::RegionHeartbeatResponse {
            region_id: region.meta.id,
            region_epoch: region.meta.region_epoch,
            target_peer: region.leader,
            ..Default::default()
        };
        self.step.fill(region, &mut response);
        response
    }

    /// The operator's name and step, for people.
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.step.name(), self.step)
    }

    pub fn kind(&self) -> &'static str {
        match self.step {
            Step::TransferLeader { .. } => "leader",
            Step::AddPeer { .. } | Step::RemovePeer { .. } => "region",
        }
    }
}
