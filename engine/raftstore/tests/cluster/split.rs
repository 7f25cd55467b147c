//! Splits a region in two.
use kvproto::raft_cmdpb::RaftCmdRequest;
use raftstore::store::Callback;
use tikv_kv::{LocksStatus, MemoryLimits, Snapshot};
use tracepoints::Req;
use txn_types::{Key, PessimisticLock};

use crate::harness::{Cluster, REGION, quick_config, split_at_m, until};

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

/// Returns whether the leader has the lock of a key, in memory or stored.
fn has_lock(cluster: &Cluster, key: &Key) -> bool {
    until("a snapshot of the leader", || {
        let leader = cluster.wait_leader(REGION);
        let snap = cluster.snapshot(leader, cluster.header(leader, REGION)).ok()?;
        let in_memory = snap.read_pessimistic_locks(|locks| locks.get(key).is_some()).ok()?;
        Some(in_memory == Some(true) || snap.get_cf("lock", key).ok()?.is_some())
    })
}

/// The split is in the log, but not applied, when the transfer proposes the lock: it is refused, and the leader must
/// not transfer without it.
#[test]
fn a_transfer_right_after_a_split_loses_no_lock_in_memory() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    let leader = cluster.wait_leader(REGION);
    let header = cluster.header(leader, REGION);
    let table = cluster.snapshot(leader, header.clone()).unwrap().pessimistic_locks().unwrap().clone();
    let key = Key::from_raw(b"z");
    let lock = PessimisticLock {
        primary: b"z".to_vec().into(),
        start_ts: 10.into(),
        ttl: 3000,
        for_update_ts: 10.into(),
        min_commit_ts: 11.into(),
        ..Default::default()
    };
    let limits = MemoryLimits { peer: 1 << 20, instance: 1 << 30 };
    assert!(table.write().insert(&[(key.clone(), lock)], limits));
    let region = cluster.meta(leader, REGION).unwrap().region;
    let to = *region.peers.iter().find(|peer| peer.store_id != leader).unwrap();
    let router = &cluster.nodes[&leader].router;
    let split = RaftCmdRequest {
        header: Some(header),
        admin_request: Some(split_at_m(NEW_REGION, vec![101, 102, 103])),
        ..Default::default()
    };
    router.send_command(split, Callback::None, Req::NONE).unwrap();
    router.transfer_leader(REGION, to).unwrap();
    // Answered after the transfer has begun.
    cluster.meta(leader, REGION).unwrap();
    until("the end of the transfer", || {
        (table.read().status != LocksStatus::TransferringLeader).then_some(())
    });
    assert!(has_lock(&cluster, &key));
}
