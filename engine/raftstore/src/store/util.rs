//! Checks of requests against a peer, and conversions of memberships. Mirrors `raftstore::store::util`.
use kvproto::{
    metapb::{self, PeerRole, Region},
    raft_cmdpb::{AdminCmdType, ChangePeerRequest, CmdType, RaftCmdRequest, RaftRequestHeader},
};
use raft::eraftpb::{self, ConfChangeType, ConfState};

use crate::{Error, Result};

/// Index and term at which every region begins; its first own entry is the one after.
pub const RAFT_INIT_LOG_TERM: u64 = 5;
pub const RAFT_INIT_LOG_INDEX: u64 = 5;
/// A header's term may lag by one before the command is stale.
const TERM_TOLERANCE: u64 = 1;

pub fn check_store_id(header: &RaftRequestHeader, store_id: u64) -> Result<()> {
    let to = header.peer.as_ref().map_or(0, |p| p.store_id);
    if to == store_id { Ok(()) } else { Err(Error::StoreNotMatch { to_store_id: to, my_store_id: store_id }) }
}

pub fn check_peer_id(header: &RaftRequestHeader, peer_id: u64) -> Result<()> {
    let to = header.peer.as_ref().map_or(0, |p| p.id);
    if to == peer_id {
        Ok(())
    } else {
        Err(Error::MismatchPeerId { request_peer_id: to, store_peer_id: peer_id })
    }
}

/// A command of an older term was meant for a leader that is gone.
pub fn check_term(header: &RaftRequestHeader, term: u64) -> Result<()> {
    if header.term == 0 || term <= header.term + TERM_TOLERANCE { Ok(()) } else { Err(Error::StaleCommand) }
}

/// Which parts of the epoch a command depends on: (version, conf_ver).
fn epoch_parts(req: &RaftCmdRequest) -> (bool, bool) {
    let Some(admin) = &req.admin_request else { return (true, false) };
    match admin.cmd_type() {
        AdminCmdType::CompactLog
        | AdminCmdType::InvalidAdmin
        | AdminCmdType::ComputeHash
        | AdminCmdType::VerifyHash => (false, false),
        AdminCmdType::ChangePeer | AdminCmdType::ChangePeerV2 => (false, true),
        _ => (true, true),
    }
}

fn check_epoch_parts(header: &RaftRequestHeader, region: &Region, parts: (bool, bool)) -> Result<()> {
    let Some(from) = &header.region_epoch else {
        return Err(Error::other("expected a region epoch in the request's header, met none"));
    };
    let (current, (version, conf_ver)) = (region.epoch(), parts);
    if (version && from.version != current.version) || (conf_ver && from.conf_ver != current.conf_ver) {
        let text = format!("current epoch of region {} is {current:?}, but you sent {from:?}", region.id);
        return Err(Error::EpochNotMatch(text, vec![region.clone()]));
    }
    Ok(())
}

/// For a read: the version must be the region's.
pub fn check_region_epoch(header: &RaftRequestHeader, region: &Region) -> Result<()> {
    check_epoch_parts(header, region, (true, false))
}

/// For any command: the parts of the epoch that it depends on must be the region's.
pub fn check_cmd_epoch(req: &RaftCmdRequest, region: &Region) -> Result<()> {
    let parts = epoch_parts(req);
    match &req.header {
        _ if parts == (false, false) => Ok(()),
        Some(header) => check_epoch_parts(header, region, parts),
        None => Err(Error::other("expected a header in the request, met none")),
    }
}

/// A request that is part of a flashback. TiKV: `WriteBatchFlags::FLASHBACK`.
pub const FLAG_FLASHBACK: u64 = 0b1000;

/// A region that is flashed back takes nothing but what does that, and reads of a time before it; others take nothing of a
/// flashback. TiKV: `check_flashback_state`.
pub fn check_flashback_state(cmd: &RaftCmdRequest, region: &Region) -> Result<()> {
    let switches = |admin: &kvproto::raft_cmdpb::AdminRequest| {
        matches!(admin.cmd_type(), AdminCmdType::PrepareFlashback | AdminCmdType::FinishFlashback)
    };
    match &cmd.header {
        Some(header) if !cmd.admin_request.as_ref().is_some_and(switches) => {
            check_flashback_header(header, region)
        }
        _ => Ok(()),
    }
}

/// As [`check_flashback_state`], for a request that is no admin command.
pub fn check_flashback_header(header: &RaftRequestHeader, region: &Region) -> Result<()> {
    match (region.is_in_flashback, header.flags & FLAG_FLASHBACK != 0) {
        (true, false) => {
            let began = region.flashback_start_ts;
            let read_ts = header.flag_data.first_chunk().map_or(0, |ts| u64::from_be_bytes(*ts));
            if read_ts != 0 && read_ts < began {
                return Ok(());
            }
            Err(Error::FlashbackInProgress(region.id, began))
        }
        (false, true) => Err(Error::FlashbackNotPrepared(region.id)),
        _ => Ok(()),
    }
}

pub fn check_key_in_region(key: &[u8], region: &Region) -> Result<()> {
    if region.contains(key) {
        Ok(())
    } else {
        Err(Error::KeyNotInRegion(key.to_vec(), Box::new(region.clone())))
    }
}

/// An end key may be the region's own.
pub fn check_end_key_in_region(key: &[u8], region: &Region) -> Result<()> {
    let inside = key >= region.start_key.as_slice()
        && (region.end_key.is_empty() || (!key.is_empty() && key <= region.end_key.as_slice()));
    if inside { Ok(()) } else { Err(Error::KeyNotInRegion(key.to_vec(), Box::new(region.clone()))) }
}

/// Whether a command only reads.
pub fn is_read(req: &RaftCmdRequest) -> bool {
    let reads = |t| matches!(t, CmdType::Get | CmdType::Snap | CmdType::ReadIndex);
    req.admin_request.is_none()
        && !req.requests.is_empty()
        && req.requests.iter().all(|r| reads(r.cmd_type()))
}

/// The membership as the `raft` crate takes it. TiKV: `conf_state_from_region`.
pub fn conf_state_from_region(region: &Region) -> ConfState {
    let mut state = ConfState::default();
    let mut joint = false;
    for peer in &region.peers {
        match peer.role() {
            PeerRole::Voter => {
                state.voters.push(peer.id);
                state.voters_outgoing.push(peer.id);
            }
            PeerRole::Learner => state.learners.push(peer.id),
            PeerRole::IncomingVoter => {
                state.voters.push(peer.id);
                joint = true;
            }
            PeerRole::DemotingVoter => {
                state.voters_outgoing.push(peer.id);
                state.learners_next.push(peer.id);
                joint = true;
            }
        }
    }
    if !joint {
        state.voters_outgoing.clear();
    }
    state
}

/// One change as the `raft` crate takes it.
pub fn change_single(change: &ChangePeerRequest) -> eraftpb::ConfChangeSingle {
    let change_type = match change.change_type {
        1 => ConfChangeType::RemoveNode,
        2 => ConfChangeType::AddLearnerNode,
        _ => ConfChangeType::AddNode,
    };
    let node_id = change.peer.as_ref().map_or(0, |p| p.id);
    eraftpb::ConfChangeSingle { change_type, node_id, ..Default::default() }
}

/// A change of one peer in the form of many.
pub fn conf_change_v2(change: &eraftpb::ConfChange) -> eraftpb::ConfChangeV2 {
    let (change_type, node_id) = (change.change_type, change.node_id);
    let single = eraftpb::ConfChangeSingle { change_type, node_id, ..Default::default() };
    let mut v2 = eraftpb::ConfChangeV2 { context: change.context.clone(), ..Default::default() };
    v2.set_changes(vec![single].into());
    v2
}

/// Peers equal but for their role.
pub fn same_peer(a: &metapb::Peer, b: &metapb::Peer) -> bool {
    a.id == b.id && a.store_id == b.store_id
}

#[cfg(test)]
mod tests {
    use kvproto::{metapb::RegionEpoch, raft_cmdpb::AdminRequest};

    use super::*;

    fn region() -> Region {
        Region {
            id: 2,
            start_key: b"b".to_vec(),
            end_key: b"d".to_vec(),
            region_epoch: Some(RegionEpoch { conf_ver: 2, version: 3 }),
            ..Default::default()
        }
    }

    fn cmd(conf_ver: u64, version: u64, admin: Option<AdminCmdType>) -> RaftCmdRequest {
        RaftCmdRequest {
            header: Some(RaftRequestHeader {
                region_epoch: Some(RegionEpoch { conf_ver, version }),
                ..Default::default()
            }),
            admin_request: admin.map(|t| AdminRequest { cmd_type: t as i32, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_command_depends_on_its_part_of_the_epoch() {
        assert!(check_cmd_epoch(&cmd(1, 3, None), &region()).is_ok());
        assert!(
            matches!(check_cmd_epoch(&cmd(2, 2, None), &region()), Err(Error::EpochNotMatch(_, r)) if r.len() == 1)
        );
        assert!(check_cmd_epoch(&cmd(1, 3, Some(AdminCmdType::ChangePeer)), &region()).is_err());
        assert!(check_cmd_epoch(&cmd(2, 1, Some(AdminCmdType::ChangePeer)), &region()).is_ok());
        assert!(check_cmd_epoch(&cmd(0, 0, Some(AdminCmdType::CompactLog)), &region()).is_ok());
        assert!(check_cmd_epoch(&RaftCmdRequest::default(), &region()).is_err());
    }

    #[test]
    fn keys_are_checked_against_the_bounds() {
        assert!(check_key_in_region(b"b", &region()).is_ok());
        assert!(matches!(check_key_in_region(b"d", &region()), Err(Error::KeyNotInRegion(..))));
        assert!(check_end_key_in_region(b"d", &region()).is_ok());
        assert!(check_end_key_in_region(b"", &region()).is_err());
    }

    #[test]
    fn terms_may_lag_by_one() {
        let header = RaftRequestHeader { term: 6, ..Default::default() };
        assert!(check_term(&header, 7).is_ok());
        assert!(matches!(check_term(&header, 8), Err(Error::StaleCommand)));
        assert!(check_term(&RaftRequestHeader::default(), 100).is_ok());
    }

    #[test]
    fn a_joint_membership_keeps_both_halves() {
        let mut region = region();
        region.peers = vec![metapb::Peer::voter(1, 1), metapb::Peer::learner(2, 2)];
        let state = conf_state_from_region(&region);
        assert_eq!((state.voters, state.learners, state.voters_outgoing), (vec![1], vec![2], vec![]));
        region.peers[1].role = PeerRole::IncomingVoter as i32;
        let state = conf_state_from_region(&region);
        assert_eq!((state.voters, state.voters_outgoing), (vec![1, 2], vec![1]));
    }
}
