//! Adds and removes peers.
use kvproto::{
    metapb::{Peer, PeerRole},
    raft_cmdpb::{AdminCmdType, AdminRequest, ChangePeerRequest, ChangePeerV2Request},
    raft_serverpb::PeerState,
};
use raftstore::debug;

use crate::harness::{Cluster, REGION, quick_config, until};

const ADD_NODE: i32 = 0;
const REMOVE_NODE: i32 = 1;
const ADD_LEARNER: i32 = 2;

/// Creates store 1 with the region, stores 2 and 3 empty.
fn one_and_two_empty() -> Cluster {
    let mut cluster = Cluster::new(&[1], quick_config());
    cluster.start(2);
    cluster.start(3);
    cluster
}

#[test]
fn a_new_peer_gets_a_snapshot_and_counts_for_the_quorum() {
    let cluster = one_and_two_empty();
    for n in 0..20_u8 {
        cluster.must_put(&[b'k', n], &[n; 300]);
    }
    cluster.change_peer(ADD_NODE, Peer::voter(2, 22));
    cluster.change_peer(ADD_LEARNER, Peer::learner(3, 33));
    for store in [2, 3] {
        for n in 0..20_u8 {
            cluster.wait_applied(store, &[b'k', n], &[n; 300]);
        }
    }
    cluster.must_put(b"after", b"v");
    cluster.wait_applied(2, b"after", b"v");
    cluster.wait_applied(3, b"after", b"v");
    let region = cluster.meta(3, REGION).unwrap().region;
    assert_eq!(region.region_epoch.unwrap().conf_ver, 3);
    assert_eq!(region.find_peer(3).unwrap().role(), PeerRole::Learner);
    cluster.change_peer(ADD_NODE, Peer::voter(3, 33));
    cluster.must_transfer_leader(3);
    cluster.must_put(b"led by 3", b"v");
    cluster.wait_applied(1, b"led by 3", b"v");
}

#[test]
fn a_new_peer_may_replace_a_removed_one() {
    let cluster = one_and_two_empty();
    cluster.must_put(b"k", b"v");
    cluster.change_peer(ADD_NODE, Peer::voter(2, 22));
    cluster.change_peer(ADD_NODE, Peer::voter(3, 33));
    for store in [2, 3] {
        cluster.wait_applied(store, b"k", b"v");
    }
    cluster.must_transfer_leader(1);
    cluster.change_peer(REMOVE_NODE, Peer::voter(3, 33));
    until("the peer's tombstone", || {
        let state = debug::region_info(&cluster.nodes[&3].engines, REGION).ok()?.region_local_state?;
        (state.state() == PeerState::Tombstone).then_some(())
    });
    until("its data is gone", || {
        let kv = &cluster.nodes[&3].engines.kv;
        kv.get_value_cf("default", &keys::data_key(b"k")).unwrap().is_none().then_some(())
    });
    cluster.must_put(b"k", b"v2");
    cluster.change_peer(ADD_NODE, Peer::voter(3, 44));
    cluster.wait_applied(3, b"k", b"v2");
}

#[test]
fn several_peers_change_through_a_joint_state() {
    let cluster = one_and_two_empty();
    cluster.must_put(b"k", b"v");
    let v2 = |changes: Vec<(i32, Peer)>| AdminRequest {
        cmd_type: AdminCmdType::ChangePeerV2 as i32,
        change_peer_v2: Some(ChangePeerV2Request {
            changes: changes
                .into_iter()
                .map(|(change_type, peer)| ChangePeerRequest { change_type, peer: Some(peer) })
                .collect(),
        }),
        ..Default::default()
    };
    cluster.must_admin(REGION, v2(vec![(ADD_LEARNER, Peer::learner(2, 22))]));
    cluster.must_admin(REGION, v2(vec![(ADD_LEARNER, Peer::learner(3, 33))]));
    for store in [2, 3] {
        cluster.wait_applied(store, b"k", b"v");
    }
    cluster.must_admin(REGION, v2(vec![(ADD_NODE, Peer::voter(2, 22)), (ADD_NODE, Peer::voter(3, 33))]));
    let joint = cluster.meta(1, REGION).unwrap().region;
    assert_eq!(joint.find_peer(2).unwrap().role(), PeerRole::IncomingVoter);
    cluster.must_admin(REGION, v2(Vec::new()));
    let left = cluster.meta(1, REGION).unwrap().region;
    assert!(left.peers.iter().all(|p| p.role() == PeerRole::Voter));
    cluster.must_put(b"k", b"v2");
    cluster.wait_applied(3, b"k", b"v2");
}
