//! Membership changes of one peer, or of several by a joint state. Mirrors `exec_change_peer` and `_v2`.
use kvproto::{
    eraftpb::ConfChangeType,
    metapb::{Peer, PeerRole, Region},
    raft_cmdpb::{AdminCmdType, AdminResponse, ChangePeerRequest, ChangePeerV2Response, RaftCmdResponse},
    raft_serverpb::PeerState,
};
use raft::eraftpb::ConfChangeV2;

use super::{admin::admin_response, context::ApplyContext, delegate::ApplyDelegate, msg::ExecResult};
use crate::{
    Error, Result,
    store::{peer_storage::write_peer_state, util},
};

const ADD_NODE: i32 = ConfChangeType::AddNode as i32;
const REMOVE_NODE: i32 = ConfChangeType::RemoveNode as i32;
const ADD_LEARNER: i32 = ConfChangeType::AddLearnerNode as i32;

impl ApplyDelegate {
    pub(super) fn exec_change_peers(
        &mut self,
        ctx: &mut ApplyContext,
        changes: &[ChangePeerRequest],
        change: ConfChangeV2,
    ) -> Result<RaftCmdResponse> {
        let region = match changes {
            [] => leave_joint(&self.region)?,
            [one] => change_one(&self.region, one)?,
            many => enter_joint(&self.region, many)?,
        };
        let removed = !region.peers.iter().any(|p| util::same_peer(p, &self.peer));
        if removed {
            self.pending_remove = true;
        } else {
            write_peer_state(&mut ctx.wb, &region, PeerState::Normal)?;
        }
        if let Some(me) = region.find_peer_by_id(self.peer.id) {
            self.peer = *me;
        }
        log::info!("region {}: members are now {:?}", region.id, region.peers);
        self.region = region.clone();
        let peers = changes.iter().filter_map(|c| c.peer).collect();
        self.push_result(ExecResult::ChangePeer { change, region: region.clone(), peers });
        Ok(admin_response(AdminResponse {
            cmd_type: AdminCmdType::ChangePeerV2 as i32,
            change_peer_v2: Some(ChangePeerV2Response { region: Some(region) }),
            ..Default::default()
        }))
    }
}

fn peer_of(change: &ChangePeerRequest) -> Result<Peer> {
    change.peer.ok_or_else(|| Error::other("expected a peer in the change, found none"))
}

fn bump_conf_ver(region: &mut Region, by: u64) {
    region.region_epoch.get_or_insert_default().conf_ver += by;
}

/// Adds, promotes or removes one peer in one step.
pub(super) fn change_one(region: &Region, change: &ChangePeerRequest) -> Result<Region> {
    let (mut region, peer) = (region.clone(), peer_of(change)?);
    bump_conf_ver(&mut region, 1);
    let (id, at) = (region.id, region.peers.iter().position(|p| p.store_id == peer.store_id));
    match (change.change_type, at) {
        (ADD_NODE, None) => region.peers.push(Peer { role: PeerRole::Voter as i32, ..peer }),
        (ADD_LEARNER, None) => region.peers.push(Peer { role: PeerRole::Learner as i32, ..peer }),
        (ADD_NODE, Some(at)) if region.peers[at].is_learner() && region.peers[at].id == peer.id => {
            region.peers[at].role = PeerRole::Voter as i32;
        }
        (REMOVE_NODE, Some(at)) if region.peers[at].id == peer.id => {
            region.peers.remove(at);
        }
        (kind, _) => {
            return Err(Error::other(format!(
                "region {id}: change {kind} of peer {peer:?} does not fit its members {:?}",
                region.peers
            )));
        }
    }
    Ok(region)
}

/// Enters a joint state for several changes: voters change in two steps.
pub(super) fn enter_joint(region: &Region, changes: &[ChangePeerRequest]) -> Result<Region> {
    let mut region = region.clone();
    bump_conf_ver(&mut region, changes.len() as u64);
    for change in changes {
        let peer = peer_of(change)?;
        let at = region.peers.iter().position(|p| p.store_id == peer.store_id);
        match (change.change_type, at.map(|at| (at, region.peers[at]))) {
            (ADD_NODE, None) => region.peers.push(Peer { role: PeerRole::IncomingVoter as i32, ..peer }),
            (ADD_LEARNER, None) => region.peers.push(Peer { role: PeerRole::Learner as i32, ..peer }),
            (ADD_NODE, Some((at, old))) if old.id == peer.id && old.is_learner() => {
                region.peers[at].role = PeerRole::IncomingVoter as i32;
            }
            (ADD_LEARNER, Some((at, old))) if old.id == peer.id && old.role() == PeerRole::Voter => {
                region.peers[at].role = PeerRole::DemotingVoter as i32;
            }
            (REMOVE_NODE, Some((at, old))) if old.id == peer.id && old.is_learner() => {
                region.peers.remove(at);
            }
            (kind, _) => {
                return Err(Error::other(format!(
                    "region {}: joint change {kind} of peer {peer:?} does not fit its members {:?}",
                    region.id, region.peers
                )));
            }
        }
    }
    Ok(region)
}

/// Leaves the joint state: incoming voters become voters, demoting voters become learners.
pub(super) fn leave_joint(region: &Region) -> Result<Region> {
    let mut region = region.clone();
    let mut changed = 0;
    for peer in &mut region.peers {
        let role = match peer.role() {
            PeerRole::IncomingVoter => PeerRole::Voter,
            PeerRole::DemotingVoter => PeerRole::Learner,
            _ => continue,
        };
        peer.role = role as i32;
        changed += 1;
    }
    if changed == 0 {
        return Err(Error::other(format!(
            "region {}: expected a joint state to leave, but the region is not in a joint state",
            region.id
        )));
    }
    bump_conf_ver(&mut region, changed);
    Ok(region)
}
