//! Reads by lease, by read index and on followers, and refused reads.
use kvproto::{metapb::RegionEpoch, raft_cmdpb::RaftRequestHeader};
use raftstore::util::ReadableDuration;
use tracepoints::Req;

use crate::harness::{Cluster, REGION, error_of, quick_config, read, until};

#[test]
fn a_read_index_round_sees_earlier_writes() {
    let config =
        raftstore::store::Config { raft_store_max_leader_lease: ReadableDuration::ZERO, ..quick_config() };
    let cluster = Cluster::new(&[1, 2, 3], config);
    for n in 0..20_u8 {
        cluster.must_put(b"k", &[n]);
        assert_eq!(cluster.must_read(b"k"), Some(vec![n]), "without leases every read asks a quorum");
    }
}

#[test]
fn a_quorum_may_be_forced_and_a_follower_may_read() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    let forced = RaftRequestHeader { read_quorum: true, ..cluster.header(leader, REGION) };
    let snap = until("a forced read", || cluster.snapshot(leader, forced.clone()).ok());
    assert_eq!(read(&snap, b"k").as_deref(), Some(&b"v"[..]));
    let follower = (1..=3).find(|s| *s != leader).unwrap();
    let replica = RaftRequestHeader { replica_read: true, ..cluster.header(follower, REGION) };
    let snap = until("a replica read", || cluster.snapshot(follower, replica.clone()).ok());
    assert_eq!(read(&snap, b"k").as_deref(), Some(&b"v"[..]));
}

#[test]
fn a_snapshot_is_bounded_and_hides_the_prefix() {
    use tikv_kv::{IterOptions, Iterator, Snapshot};
    let cluster = Cluster::new(&[1], quick_config());
    for key in [&b"a"[..], b"b", b"c"] {
        cluster.must_put(key, key);
    }
    let snap = cluster.snapshot(1, cluster.header(1, REGION)).unwrap();
    cluster.must_put(b"d", b"d");
    let mut iter = snap.iter("default", IterOptions::default()).unwrap();
    let mut found = Vec::new();
    let mut valid = iter.seek_to_first().unwrap();
    while valid {
        found.push(iter.key().to_vec());
        valid = iter.next().unwrap();
    }
    assert_eq!(found, [b"a", b"b", b"c"], "the snapshot lacks the later write");
    assert!(iter.seek_for_prev(&txn_types::Key::from_encoded(b"bb".to_vec())).unwrap());
    assert_eq!(iter.key(), b"b");
    assert_eq!(snap.region_id(), REGION);
    assert!(snap.apply_index().unwrap() > 5 && snap.term().unwrap() > 5);
}

#[test]
fn refusals_carry_the_fields_a_client_needs() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    let follower = (1..=3).find(|s| *s != leader).unwrap();
    let put = |store: u64| cluster.put_cmd(store, REGION, b"k", b"x");

    let err = until("the follower names the leader", || {
        let resp = cluster.send(follower, put(follower), Req::NONE);
        error_of(&resp)?.not_leader.filter(|e| e.leader.is_some())
    });
    assert_eq!((err.region_id, err.leader.unwrap().store_id), (REGION, leader));

    let mut cmd = put(leader);
    cmd.header.as_mut().unwrap().region_epoch = Some(RegionEpoch { conf_ver: 1, version: 9 });
    let resp = cluster.send(leader, cmd.clone(), Req::NONE);
    assert_eq!(error_of(&resp).unwrap().epoch_not_match.as_ref().unwrap().current_regions[0].id, REGION);
    let err = cluster.snapshot(leader, cmd.header.unwrap()).err().unwrap();
    assert_eq!(err.epoch_not_match.unwrap().current_regions.len(), 1);

    let mut cmd = put(leader);
    cmd.header.as_mut().unwrap().peer = cluster.header(follower, REGION).peer;
    let resp = cluster.send(leader, cmd, Req::NONE);
    let mismatch = error_of(&resp).unwrap().store_not_match.unwrap();
    assert_eq!((mismatch.request_store_id, mismatch.actual_store_id), (follower, leader));

    let mut cmd = put(leader);
    cmd.header.as_mut().unwrap().region_id = 99;
    let resp = cluster.send(leader, cmd, Req::NONE);
    assert_eq!(error_of(&resp).unwrap().region_not_found.unwrap().region_id, 99);

    let mut cmd = put(leader);
    cmd.header.as_mut().unwrap().term = 1;
    let resp = cluster.send(leader, cmd, Req::NONE);
    assert!(error_of(&resp).unwrap().stale_command.is_some());

    let big = cluster.put_cmd(leader, REGION, b"k", &vec![0; 9 << 20]);
    let resp = cluster.send(leader, big, Req::NONE);
    assert_eq!(error_of(&resp).unwrap().raft_entry_too_large.unwrap().region_id, REGION);
    assert_eq!(cluster.must_read(b"k").as_deref(), Some(&b"v"[..]), "the refused command wrote nothing");
}
