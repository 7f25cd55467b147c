//! Checks of requests against a peer, and conversions of memberships. Mirrors `raftstore::store::util`.
use kvproto::{
    eraftpb as wire,
    metapb::{self, PeerRole, Region, RegionEpoch},
    raft_cmdpb::{AdminCmdType, ChangePeerRequest, CmdType, RaftCmdRequest, RaftRequestHeader},
};
use raft::eraftpb::{self, ConfChangeType, ConfState};

use crate::{Error, Result};

/// A command is stale if its header's term is older than the peer's by more than this.
const TERM_TOLERANCE: u64 = 1;

/// Checks that a command is for this store.
pub fn check_store_id(header: &RaftRequestHeader, store_id: u64) -> Result<()> {
    let to = header.peer.as_ref().map_or(0, |p| p.store_id);
    if to == store_id { Ok(()) } else { Err(Error::StoreNotMatch { to_store_id: to, my_store_id: store_id }) }
}

/// Checks that a command is for this peer.
pub fn check_peer_id(header: &RaftRequestHeader, peer_id: u64) -> Result<()> {
    let to = header.peer.as_ref().map_or(0, |p| p.id);
    if to == peer_id {
        Ok(())
    } else {
        Err(Error::MismatchPeerId { request_peer_id: to, store_peer_id: peer_id })
    }
}

/// Refuses a command of an older term, meant for an earlier leader, and one of a future term, meant for a
/// leader that this peer does not have yet.
pub fn check_term(header: &RaftRequestHeader, term: u64) -> Result<()> {
    let lags = term > header.term.saturating_add(TERM_TOLERANCE);
    if header.term == 0 || (!lags && header.term <= term) { Ok(()) } else { Err(Error::StaleCommand) }
}

/// Returns which parts of the epoch a command depends on: (version, conf_ver).
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
        return Err(Error::other("expected a region epoch in the request's header, found none"));
    };
    let (current, (version, conf_ver)) = (region.epoch(), parts);
    if (version && from.version != current.version) || (conf_ver && from.conf_ver != current.conf_ver) {
        let text = format!("current epoch of region {} is {current:?}, but you sent {from:?}", region.id);
        return Err(Error::EpochNotMatch(text, vec![region.clone()]));
    }
    Ok(())
}

/// Checks the epoch of a read: its version must be the region's.
pub fn check_region_epoch(header: &RaftRequestHeader, region: &Region) -> Result<()> {
    check_epoch_parts(header, region, (true, false))
}

/// Checks the epoch of any command: the parts that it depends on must be the region's.
pub fn check_cmd_epoch(req: &RaftCmdRequest, region: &Region) -> Result<()> {
    let parts = epoch_parts(req);
    match &req.header {
        _ if parts == (false, false) => Ok(()),
        Some(header) => check_epoch_parts(header, region, parts),
        None => Err(Error::other("expected a header in the request, found none")),
    }
}

/// Flag of a read at a past timestamp that any replica may answer. TiKV: `WriteBatchFlags::STALE_READ`.
pub const FLAG_STALE_READ: u64 = 0b0010;
/// Flag of a request that is part of a flashback. TiKV: `WriteBatchFlags::FLASHBACK`.
pub const FLAG_FLASHBACK: u64 = 0b1000;

/// Checks the flashback state: a region in flashback accepts only the flashback's own requests and reads at
/// earlier timestamps; other regions refuse a flashback's requests. TiKV: `check_flashback_state`.
pub fn check_flashback_state(cmd: &RaftCmdRequest, region: &Region) -> Result<()> {
    let switches = |admin: &kvproto::raft_cmdpb::AdminRequest| {
        matches!(admin.cmd_type(), AdminCmdType::PrepareFlashback | AdminCmdType::FinishFlashback)
    };
    match &cmd.header {
        None => Ok(()),
        Some(_) if cmd.admin_request.as_ref().is_some_and(switches) => Ok(()),
        Some(header) => check_flashback_header(header, region),
    }
}

/// Like [`check_flashback_state`], for a request that is no admin command.
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
        (true, true) | (false, false) => Ok(()),
    }
}

/// Safe timestamp of stale reads. Always 0: a replica cannot exclude later commits of old transactions.
const SAFE_TS: u64 = 0;

/// Refuses a stale read above the safe timestamp. TiKV: `ReadDelegate::check_stale_read_safe`. TiKV's leader
/// then reads by its lease; here the client asks the leader again, so that its read raises the leader's
/// max_ts.
pub fn check_stale_read(header: &RaftRequestHeader, region_id: u64, peer_id: u64) -> Result<()> {
    if header.flags & FLAG_STALE_READ == 0 {
        return Ok(());
    }
    Err(Error::DataIsNotReady { region_id, peer_id, safe_ts: SAFE_TS })
}

/// Checks that the region contains an encoded key.
pub fn check_key_in_region(key: &[u8], region: &Region) -> Result<()> {
    if region.contains(key) {
        Ok(())
    } else {
        Err(Error::KeyNotInRegion(key.to_vec(), Box::new(region.clone())))
    }
}

/// Checks the exclusive end of a key range and returns it; an empty end is the region's end.
///
/// TiKV refuses an empty end for a region that has an end; clients mean the rest of the region.
pub fn end_key_in_region<'a>(key: &'a [u8], region: &'a Region) -> Result<&'a [u8]> {
    let end = region.end_key.as_slice();
    match key {
        b"" => Ok(end),
        key if key >= region.start_key.as_slice() && (end.is_empty() || key <= end) => Ok(key),
        key => Err(Error::KeyNotInRegion(key.to_vec(), Box::new(region.clone()))),
    }
}

/// Checks a split request. Only the version matters: PD gets the newest membership.
pub fn validate_split_region(
    region: &Region,
    peer_id: u64,
    epoch: &RegionEpoch,
    split_keys: &[Vec<u8>],
) -> Result<()> {
    let (id, current) = (region.id, region.epoch());
    if split_keys.is_empty() {
        return Err(Error::other(format!("[region {id}] {peer_id} no split key is specified.")));
    }
    if current.version != epoch.version {
        let text = format!("[region {id}] {peer_id} epoch changed {current:?} != {epoch:?}, retry later");
        return Err(Error::EpochNotMatch(text, vec![region.clone()]));
    }
    if split_keys.iter().any(Vec::is_empty) {
        return Err(Error::other(format!("[region {id}] {peer_id} split key should not be empty")));
    }
    split_keys.iter().try_for_each(|key| check_key_in_region(key, region))
}

/// Whether a request of this type reads.
pub fn reads(cmd_type: CmdType) -> bool {
    matches!(cmd_type, CmdType::Get | CmdType::Snap | CmdType::ReadIndex)
}

/// Whether a command only reads.
pub fn is_read(req: &RaftCmdRequest) -> bool {
    req.admin_request.is_none()
        && !req.requests.is_empty()
        && req.requests.iter().all(|r| reads(r.cmd_type()))
}

/// Converts a region's membership for the `raft` crate. TiKV: `conf_state_from_region`.
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

/// Converts one change for the `raft` crate.
pub fn change_single(change: &ChangePeerRequest) -> eraftpb::ConfChangeSingle {
    let change_type = match change.change_type() {
        wire::ConfChangeType::RemoveNode => ConfChangeType::RemoveNode,
        wire::ConfChangeType::AddLearnerNode => ConfChangeType::AddLearnerNode,
        wire::ConfChangeType::AddNode => ConfChangeType::AddNode,
    };
    let node_id = change.peer.as_ref().map_or(0, |p| p.id);
    eraftpb::ConfChangeSingle { change_type, node_id, ..Default::default() }
}

/// Converts a single change to the form for several changes.
pub fn conf_change_v2(change: &eraftpb::ConfChange) -> eraftpb::ConfChangeV2 {
    let (change_type, node_id) = (change.change_type, change.node_id);
    let single = eraftpb::ConfChangeSingle { change_type, node_id, ..Default::default() };
    let mut v2 = eraftpb::ConfChangeV2 { context: change.context.clone(), ..Default::default() };
    v2.set_changes(vec![single].into());
    v2
}

/// Whether two regions share a key; an empty end key is unbounded.
pub fn overlaps(a: &Region, b: &Region) -> bool {
    let below = |start: &[u8], end: &[u8]| end.is_empty() || start < end;
    below(&a.start_key, &b.end_key) && below(&b.start_key, &a.end_key)
}

/// Whether two peers are equal except for their role.
pub fn same_peer(a: &metapb::Peer, b: &metapb::Peer) -> bool {
    a.id == b.id && a.store_id == b.store_id
}

#[cfg(test)]
mod tests {
    use kvproto::raft_cmdpb::AdminRequest;

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
    }

    #[test]
    fn an_empty_end_key_means_the_end_of_the_region() {
        let mut region = region();
        assert_eq!(end_key_in_region(b"c", &region).unwrap(), b"c");
        assert_eq!(end_key_in_region(b"d", &region).unwrap(), b"d");
        assert_eq!(end_key_in_region(b"", &region).unwrap(), b"d");
        for outside in [b"a", b"e"] {
            assert!(matches!(end_key_in_region(outside, &region), Err(Error::KeyNotInRegion(..))));
        }
        region.end_key.clear();
        assert_eq!(end_key_in_region(b"", &region).unwrap(), b"");
        assert_eq!(end_key_in_region(b"x", &region).unwrap(), b"x");
    }

    #[test]
    fn a_split_needs_keys_within_the_current_region() {
        let (region, epoch) = (region(), |version| RegionEpoch { conf_ver: 9, version });
        let validate = |version, keys: &[&[u8]]| {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
            validate_split_region(&region, 7, &epoch(version), &keys)
        };
        assert!(validate(3, &[b"c"]).is_ok());
        assert!(matches!(validate(2, &[b"c"]), Err(Error::EpochNotMatch(_, regions)) if regions.len() == 1));
        assert!(matches!(validate(3, &[b"c", b"x"]), Err(Error::KeyNotInRegion(..))));
        assert!(validate(3, &[]).unwrap_err().to_string().contains("no split key"));
        assert!(validate(3, &[b""]).unwrap_err().to_string().contains("should not be empty"));
    }

    #[test]
    fn terms_may_lag_by_one() {
        let header = RaftRequestHeader { term: 6, ..Default::default() };
        assert!(check_term(&header, 7).is_ok());
        assert!(matches!(check_term(&header, 8), Err(Error::StaleCommand)));
        assert!(matches!(check_term(&header, 5), Err(Error::StaleCommand)), "a term of the future");
        let last = RaftRequestHeader { term: u64::MAX, ..Default::default() };
        assert!(matches!(check_term(&last, 7), Err(Error::StaleCommand)));
        assert!(check_term(&last, u64::MAX).is_ok());
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
