//! Splits a region in two.
use crate::harness::{Cluster, REGION, quick_config, until};

const NEW_REGION: u64 = 2;

#[test]
fn both_halves_serve_and_survive_a_restart() {
    let mut cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    cluster.must_put(b"z", b"2");
    let stale = cluster.header(cluster.wait_leader(REGION), REGION);
    cluster.must_split(NEW_REGION, vec![101, 102, 103]);
    assert_eq!((cluster.region_of(b"a"), cluster.region_of(b"z")), (NEW_REGION, REGION));
    cluster.must_put(b"b", b"3");
    cluster.must_put(b"y", b"4");
    let leader = cluster.wait_leader(REGION);
    let err = cluster.snapshot(
        leader,
        kvproto::raft_cmdpb::RaftRequestHeader { peer: cluster.header(leader, REGION).peer, ..stale },
    );
    let known = err.err().unwrap().epoch_not_match.unwrap().current_regions;
    let ids: Vec<u64> = known.iter().map(|r| r.id).collect();
    assert_eq!(ids, [REGION, NEW_REGION], "a client with the old range gets both regions");
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

/// Without the parent's report, PD would have no region for the new keys until the new leader's first report.
#[test]
fn the_parents_leader_reports_the_new_region_at_once() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    let leader = cluster.wait_leader(REGION);
    cluster.must_split(NEW_REGION, vec![101, 102, 103]);
    let heartbeats = until("a report of the new region", || {
        let heartbeats = cluster.pd.heartbeats.lock().clone();
        heartbeats.iter().any(|h| h.region.id == NEW_REGION).then_some(heartbeats)
    });
    let first = heartbeats.iter().find(|h| h.region.id == NEW_REGION).unwrap();
    assert_eq!(first.peer.store_id, leader, "by the store that is likely to lead it");
    assert!(first.pending_peers.is_empty() && first.down_peers.is_empty(), "{first:?}");
    // No other peer can have voted by then.
    assert!(first.term <= 6, "{first:?}");
    let parent = heartbeats.iter().position(|h| h.region.id == REGION && h.region.end_key.is_empty());
    assert!(parent.is_some());
    assert_eq!(cluster.wait_leader(NEW_REGION), leader);
}

/// The parent's leader is lost right after the split: its next leader makes the new region elect one.
#[test]
fn a_new_region_replaces_its_lost_first_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    let leader = cluster.wait_leader(REGION);
    cluster.must_split(NEW_REGION, vec![101, 102, 103]);
    cluster.stop(leader);
    cluster.must_put(b"z", b"2");
    cluster.must_put(b"b", b"3");
    assert_eq!(cluster.must_read(b"a").as_deref(), Some(&b"1"[..]));
}
