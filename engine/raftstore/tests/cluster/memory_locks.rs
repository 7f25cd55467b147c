//! Pessimistic locks in the leader's memory survive a transfer of the leadership.
use std::{sync::mpsc, time::Duration};

use kvproto::{metapb::Peer, raft_cmdpb::RaftCmdRequest};
use raftstore::store::Callback;
use tikv_kv::{LocksStatus, MemoryLimits, Modify, Snapshot, TableAt, WriteData};
use tracepoints::Req;
use txn_types::{Key, PessimisticLock};

use crate::harness::{Cluster, REGION, error_of, quick_config, split_at_m, until};

const NEW_REGION: u64 = 2;

/// Puts a lock into the memory of the leader.
fn with_lock(cluster: &Cluster, leader: u64, key: &Key) -> TableAt {
    let snapshot = cluster.snapshot(leader, cluster.header(leader, REGION)).unwrap();
    let table = TableAt::of_snapshot(&snapshot).expect("a leader has a table");
    let lock = PessimisticLock {
        primary: b"z".to_vec().into(),
        start_ts: 10.into(),
        ttl: 3000,
        for_update_ts: 10.into(),
        min_commit_ts: 11.into(),
        ..Default::default()
    };
    let limits = MemoryLimits { peer: 1 << 20, instance: 1 << 30 };
    assert!(table.try_insert(&[(key.clone(), lock)], limits).is_some());
    table
}

fn other_peer(cluster: &Cluster, leader: u64) -> Peer {
    let region = cluster.meta(leader, REGION).unwrap().region;
    *region.peers.iter().find(|peer| peer.store_id != leader).unwrap()
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
    let key = Key::from_raw(b"z");
    let TableAt { table, .. } = with_lock(&cluster, leader, &key);
    let to = other_peer(&cluster, leader);
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

/// The transfer finds the mark of a write that the mailbox has after it, and that the peer then refuses. The lock is
/// valid again, and the new leader must have it.
#[test]
fn a_write_refused_during_a_transfer_leaves_its_lock() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"a", b"1");
    let leader = cluster.wait_leader(REGION);
    let key = Key::from_raw(b"z");
    let table = with_lock(&cluster, leader, &key);
    let to = other_peer(&cluster, leader);
    let router = &cluster.nodes[&leader].router;
    let mut refused = cluster.put_cmd(leader, REGION, b"z", b"1");
    refused.header.as_mut().unwrap().region_epoch.as_mut().unwrap().version += 1;
    let removal = WriteData::from_modifies(vec![Modify::Delete("lock", key.clone())]);
    // The transfer cannot look at the table before the closure has returned.
    let answer = table.send(removal, |data| {
        let removed = data.removed_locks.expect("the table has the lock");
        router.transfer_leader(REGION, to).unwrap();
        let (answered, answer) = mpsc::channel();
        let callback = Callback::write(Box::new(move |response| {
            drop(removed);
            // The test may have failed.
            let _ = answered.send(response);
        }));
        let _ = router.send_write(refused, callback, Req::NONE, None);
        answer
    });
    let answer = answer.recv_timeout(Duration::from_secs(60)).unwrap().response;
    assert!(error_of(&answer).unwrap().epoch_not_match.is_some(), "{answer:?}");
    until("another leader", || (cluster.wait_leader(REGION) != leader).then_some(()));
    assert!(has_lock(&cluster, &key));
}
