//! Async commit and 1PC: max_ts covers reads at earlier leaders, and replicas ask before they read.
use kvproto::{
    kvrpcpb::{KeyRange, LockInfo},
    raft_cmdpb::{RaftRequestHeader, ReadIndexRequest},
};
use tikv_kv::{ErrorInner, Snapshot};

use crate::harness::{Cluster, REGION, error_of, quick_config, read, until};

const NEW_REGION: u64 = 2;

fn is_synced(cluster: &Cluster, store: u64, region: u64) -> Option<bool> {
    Some(cluster.snapshot(store, cluster.header(store, region)).ok()?.is_max_ts_synced())
}

fn must_be(cluster: &Cluster, store: u64, region: u64, synced: bool) {
    let found = until("a snapshot", || is_synced(cluster, store, region));
    assert_eq!(found, synced, "region {region} on store {store}");
}

#[test]
fn max_ts_is_synchronised_by_every_new_leader() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    let first = cluster.wait_leader(REGION);
    must_be(&cluster, first, REGION, false);
    let asked = cluster.pd.unsynced.lock().clone();
    cluster.pd.sync_max_ts();
    must_be(&cluster, first, REGION, true);

    let second = (1..=3).find(|s| *s != first).unwrap();
    cluster.must_transfer_leader(second);
    must_be(&cluster, second, REGION, false);
    // The response to the first leader is late: its term is over.
    for (_, status, ext) in asked {
        assert!(!ext.set_max_ts_synced(status));
    }
    cluster.pd.sync_max_ts();
    must_be(&cluster, second, REGION, true);

    cluster.must_transfer_leader(first);
    must_be(&cluster, first, REGION, false);
    cluster.pd.sync_max_ts();
    must_be(&cluster, first, REGION, true);
}

#[test]
fn a_split_makes_the_new_region_synchronise_max_ts() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    cluster.pd.sync_max_ts();
    cluster.must_split(NEW_REGION, vec![101, 102, 103]);
    let leader = cluster.wait_leader(NEW_REGION);
    must_be(&cluster, leader, NEW_REGION, false);
    must_be(&cluster, cluster.wait_leader(REGION), REGION, true);
    cluster.pd.sync_max_ts();
    must_be(&cluster, leader, NEW_REGION, true);
}

/// The synchronisation of a later term does not apply to an earlier snapshot.
#[test]
fn a_snapshot_keeps_its_term() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    cluster.pd.sync_max_ts();
    let first = cluster.wait_leader(REGION);
    let snap = until("a snapshot", || cluster.snapshot(first, cluster.header(first, REGION)).ok());
    assert!(snap.is_max_ts_synced());
    let second = (1..=3).find(|s| *s != first).unwrap();
    cluster.must_transfer_leader(second);
    cluster.must_transfer_leader(first);
    cluster.pd.sync_max_ts();
    must_be(&cluster, first, REGION, true);
    assert!(!snap.is_max_ts_synced());
}

/// A write decided on a snapshot is proposed after its leader lost and regained leadership: another leader
/// may have written in between.
#[test]
fn a_write_of_an_earlier_term_is_stale() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v1");
    let first = cluster.wait_leader(REGION);
    let snap = until("a snapshot", || cluster.snapshot(first, cluster.header(first, REGION)).ok());
    let mut late = cluster.put_cmd(first, REGION, b"k", b"lost update");
    late.header.as_mut().unwrap().term = snap.term().unwrap();
    let second = (1..=3).find(|s| *s != first).unwrap();
    cluster.must_transfer_leader(second);
    cluster.must_put(b"k", b"v2");
    cluster.must_transfer_leader(first);
    let refused = cluster.send(first, late, tracepoints::Req::NONE);
    assert!(error_of(&refused).unwrap().stale_command.is_some(), "{refused:?}");
    assert_eq!(cluster.must_read(b"k").as_deref(), Some(&b"v2"[..]));
}

fn request() -> ReadIndexRequest {
    let range = KeyRange { start_key: b"k".to_vec(), end_key: b"l".to_vec() };
    ReadIndexRequest { start_ts: 77, key_ranges: vec![range] }
}

#[test]
fn a_replica_read_finds_the_locks_in_its_leaders_memory() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k", b"v");
    let leader = cluster.wait_leader(REGION);
    let follower = (1..=3).find(|s| *s != leader).unwrap();
    let header = RaftRequestHeader { replica_read: true, ..cluster.header(follower, REGION) };
    let attempt = || match cluster.snapshot_of(follower, header.clone(), Some(request())) {
        // The follower has no leader yet.
        Err(e) if matches!(&*e.0, ErrorInner::Request(_)) => None,
        other => Some(other),
    };
    let snap = until("a replica read", attempt).unwrap();
    assert_eq!(read(&snap, b"k").as_deref(), Some(&b"v"[..]));
    let seen = std::mem::take(&mut cluster.memory_locks.lock().reads);
    assert!(!seen.is_empty() && seen.iter().all(|r| *r == request()), "{seen:?}");

    let lock = LockInfo { key: b"k".to_vec(), lock_version: 70, ..Default::default() };
    cluster.memory_locks.lock().lock = Some(lock.clone());
    let refused = until("a replica read", attempt).err().unwrap();
    assert!(matches!(&*refused.0, ErrorInner::KeyIsLocked(found) if **found == lock), "{refused}");

    // Without ranges no lock is checked, as for reads at other isolation levels.
    cluster.memory_locks.lock().reads.clear();
    until("a replica read", || cluster.snapshot_of(follower, header.clone(), None).ok());
    assert!(cluster.memory_locks.lock().reads.is_empty());
}
