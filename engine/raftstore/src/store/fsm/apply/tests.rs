use kvproto::{
    metapb::{Peer, PeerRole, Region, RegionEpoch},
    raft_cmdpb::{BatchSplitRequest, ChangePeerRequest, SplitRequest},
};

use super::{
    conf_change::{change_one, enter_joint, leave_joint},
    split::split_region,
};

fn region() -> Region {
    Region {
        id: 1,
        end_key: b"z".to_vec(),
        region_epoch: Some(RegionEpoch { conf_ver: 1, version: 1 }),
        peers: vec![Peer::voter(1, 11), Peer::voter(2, 12)],
        ..Default::default()
    }
}

fn change(change_type: i32, peer: Peer) -> ChangePeerRequest {
    ChangePeerRequest { change_type, peer: Some(peer) }
}

#[test]
fn one_peer_is_added_promoted_and_removed() {
    let with_learner = change_one(&region(), &change(2, Peer::learner(3, 13))).unwrap();
    assert_eq!(with_learner.epoch().conf_ver, 2);
    assert!(with_learner.find_peer(3).unwrap().is_learner());
    let promoted = change_one(&with_learner, &change(0, Peer::voter(3, 13))).unwrap();
    assert_eq!(promoted.find_peer(3).unwrap().role(), PeerRole::Voter);
    let removed = change_one(&promoted, &change(1, Peer::voter(1, 11))).unwrap();
    assert!(removed.find_peer(1).is_none());
    assert_eq!(removed.epoch().conf_ver, 4);
    for (kind, peer) in [(0, Peer::voter(1, 99)), (1, Peer::voter(1, 99)), (1, Peer::voter(9, 9))] {
        assert!(change_one(&region(), &change(kind, peer)).is_err());
    }
}

#[test]
fn a_joint_state_is_entered_and_left() {
    let with_learner = change_one(&region(), &change(2, Peer::learner(3, 13))).unwrap();
    let changes = [change(0, Peer::voter(3, 13)), change(2, Peer::learner(2, 12))];
    let joint = enter_joint(&with_learner, &changes).unwrap();
    let role = |r: &Region, store| r.find_peer(store).unwrap().role();
    assert_eq!((role(&joint, 3), role(&joint, 2)), (PeerRole::IncomingVoter, PeerRole::DemotingVoter));
    assert_eq!(joint.epoch().conf_ver, 4);
    let left = leave_joint(&joint).unwrap();
    assert_eq!((role(&left, 3), role(&left, 2)), (PeerRole::Voter, PeerRole::Learner));
    assert_eq!(left.epoch().conf_ver, 6);
    assert!(leave_joint(&left).unwrap_err().to_string().contains("not in a joint state"));
    assert!(enter_joint(&region(), &[change(1, Peer::voter(2, 12)), changes[1]]).is_err());
}

fn split(keys: &[&[u8]], right_derive: bool) -> BatchSplitRequest {
    let requests = keys.iter().enumerate().map(|(n, key)| SplitRequest {
        split_key: key.to_vec(),
        new_region_id: 100 + n as u64,
        new_peer_ids: vec![200 + n as u64, 300 + n as u64],
        ..Default::default()
    });
    BatchSplitRequest { requests: requests.collect(), right_derive, ..Default::default() }
}

#[test]
fn a_split_covers_the_old_range_without_holes() {
    for right_derive in [true, false] {
        let (regions, derived) = split_region(&region(), &split(&[b"b", b"m"], right_derive)).unwrap();
        let bounds: Vec<_> = regions.iter().map(|r| (r.start_key.as_slice(), r.end_key.as_slice())).collect();
        assert_eq!(bounds, [(&b""[..], &b"b"[..]), (b"b", b"m"), (b"m", b"z")]);
        let ids: Vec<_> = regions.iter().map(|r| r.id).collect();
        assert_eq!(ids, if right_derive { [100, 101, 1] } else { [1, 100, 101] });
        assert!(regions.iter().all(|r| r.epoch() == RegionEpoch { conf_ver: 1, version: 3 }));
        assert_eq!(derived.id, 1);
        let new = regions.iter().find(|r| r.id == 100).unwrap();
        assert_eq!(new.peers, [Peer::voter(1, 200), Peer::voter(2, 300)]);
    }
}

#[test]
fn bad_splits_are_refused() {
    let mut few_peers = split(&[b"b"], true);
    few_peers.requests[0].new_peer_ids.pop();
    for bad in
        [split(&[], true), split(&[b"m", b"b"], true), split(&[b"zz"], true), split(&[b""], true), few_peers]
    {
        assert!(split_region(&region(), &bad).is_err());
    }
}
