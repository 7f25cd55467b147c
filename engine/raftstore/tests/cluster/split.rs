//! One region becomes two.
use kvproto::raft_cmdpb::{AdminCmdType, AdminRequest, BatchSplitRequest, SplitRequest};

use crate::harness::{Cluster, REGION, quick_config};

const NEW_REGION: u64 = 2;

#[test]
fn both_halves_serve_and_survive_a_restart() {
    let mut cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    cluster.must_put(b"z", b"2");
    let stale = cluster.header(cluster.wait_leader(REGION), REGION);
    let split = SplitRequest {
        split_key: b"m".to_vec(),
        new_region_id: NEW_REGION,
        new_peer_ids: vec![101, 102, 103],
        ..Default::default()
    };
    cluster.must_admin(
        REGION,
        AdminRequest {
            cmd_type: AdminCmdType::BatchSplit as i32,
            splits: Some(BatchSplitRequest {
                requests: vec![split],
                right_derive: true,
                ..Default::default()
            }),
            ..Default::default()
        },
    );
    assert_eq!((cluster.region_of(b"a"), cluster.region_of(b"z")), (NEW_REGION, REGION));
    cluster.must_put(b"b", b"3");
    cluster.must_put(b"y", b"4");
    let leader = cluster.wait_leader(REGION);
    let err = cluster.snapshot(
        leader,
        kvproto::raft_cmdpb::RaftRequestHeader { peer: cluster.header(leader, REGION).peer, ..stale },
    );
    assert!(err.err().unwrap().epoch_not_match.is_some());
    for store in 1..=3 {
        cluster.wait_applied(store, b"b", b"3");
        cluster.wait_applied(store, b"y", b"4");
    }
    for store in 1..=3 {
        cluster.stop(store);
    }
    for store in 1..=3 {
        cluster.start(store);
    }
    for (key, value) in [(b"a", b"1"), (b"b", b"3"), (b"y", b"4"), (b"z", b"2")] {
        assert_eq!(cluster.must_read(key).as_deref(), Some(&value[..]));
    }
}
