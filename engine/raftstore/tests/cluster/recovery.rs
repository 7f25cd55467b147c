//! Stops, restarts and leader changes: no acknowledged write is lost.
use raftstore::{
    store::{CasualMessage, Config},
    util::ReadableDuration,
};

use crate::harness::{Cluster, REGION, quick_config, until};

#[test]
fn one_store_bootstraps_writes_reads_and_restarts() {
    let mut cluster = Cluster::new(&[1], quick_config());
    cluster.must_put(b"k1", b"v1");
    assert_eq!(cluster.must_read(b"k1").as_deref(), Some(&b"v1"[..]));
    assert_eq!(cluster.must_read(b"k2"), None);
    for n in 0..50_u8 {
        cluster.must_put(&[b'x', n], &[n]);
    }
    let term = cluster.meta(1, REGION).unwrap().raft.term;
    cluster.stop(1);
    cluster.start(1);
    assert_eq!(cluster.must_read(b"k1").as_deref(), Some(&b"v1"[..]));
    for n in 0..50_u8 {
        assert_eq!(cluster.must_read(&[b'x', n]).as_deref(), Some(&[n][..]));
    }
    assert!(cluster.meta(1, REGION).unwrap().raft.term > term);
}

#[test]
fn a_new_leader_has_all_acknowledged_writes() {
    let mut cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k1", b"v1");
    for store in 1..=3 {
        cluster.wait_applied(store, b"k1", b"v1");
    }
    let old = cluster.wait_leader(REGION);
    cluster.must_put(b"k2", b"v2");
    cluster.stop(old);
    assert_eq!(cluster.must_read(b"k2").as_deref(), Some(&b"v2"[..]));
    cluster.must_put(b"k3", b"v3");
    assert_ne!(cluster.wait_leader(REGION), old);
    // The old leader reconnects and catches up by the log.
    cluster.start(old);
    cluster.wait_applied(old, b"k3", b"v3");
    assert_eq!(cluster.meta(old, REGION).unwrap().raft.first_index, 6, "no snapshot was needed");
}

#[test]
fn an_isolated_leader_acknowledges_nothing_and_steps_down() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k1", b"v1");
    let old = cluster.wait_leader(REGION);
    cluster.isolate(old);
    let new = until("another leader", || {
        let others = (1..=3).filter(|s| *s != old);
        others.into_iter().find(|s| cluster.meta(*s, REGION).is_some_and(|m| m.raft.role == "Leader"))
    });
    cluster.must_put(b"k1", b"v2");
    until("the old leader steps down", || (cluster.meta(old, REGION)?.raft.role != "Leader").then_some(()));
    let refused = cluster.snapshot(old, cluster.header(old, REGION)).err().unwrap();
    assert!(refused.not_leader.is_some(), "{refused:?}");
    cluster.heal();
    cluster.wait_applied(old, b"k1", b"v2");
    assert_eq!(cluster.meta(new, REGION).unwrap().raft.role, "Leader", "pre-vote keeps the new leader");
}

#[test]
fn a_follower_whose_log_is_gone_gets_a_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k1", b"old");
    let leader = cluster.wait_leader(REGION);
    let away = (1..=3).find(|s| *s != leader).unwrap();
    cluster.wait_applied(away, b"k1", b"old");
    cluster.stop(away);
    for n in 0..30_u8 {
        cluster.must_put(&[b'a', n], &[n; 100]);
    }
    cluster.must_put(b"k1", b"new");
    let compacted_to = 30;
    until("log compaction", || {
        let leader = cluster.wait_leader(REGION);
        cluster.nodes[&leader].router.send_casual_msg(REGION, CasualMessage::ForceCompactRaftLogs).ok()?;
        (cluster.meta(leader, REGION)?.raft.first_index > compacted_to).then_some(())
    });
    cluster.start(away);
    cluster.wait_applied(away, b"k1", b"new");
    for n in 0..30_u8 {
        cluster.wait_applied(away, &[b'a', n], &[n; 100]);
    }
    until("the follower's log begins after the snapshot", || {
        (cluster.meta(away, REGION)?.raft.first_index > compacted_to).then_some(())
    });
    // The follower continues by the log, and its snapshot survives a restart.
    cluster.must_put(b"k2", b"v2");
    cluster.wait_applied(away, b"k2", b"v2");
    cluster.stop(away);
    cluster.start(away);
    cluster.must_put(b"k3", b"v3");
    cluster.wait_applied(away, b"k3", b"v3");
}

#[test]
fn leadership_moves_on_request() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    cluster.must_put(b"k1", b"v1");
    for store in [2, 3, 1] {
        cluster.must_transfer_leader(store);
        cluster.must_put(b"k1", &[store as u8]);
        assert_eq!(cluster.must_read(b"k1"), Some(vec![store as u8]));
    }
}

#[test]
fn the_log_is_compacted_once_all_peers_have_it() {
    let config = Config {
        raft_log_gc_tick_interval: ReadableDuration::millis(100),
        raft_log_gc_threshold: 10,
        ..quick_config()
    };
    let mut cluster = Cluster::new(&[1, 2, 3], config);
    for n in 0..60_u8 {
        cluster.must_put(&[b'k', n], &[n]);
    }
    for store in 1..=3 {
        until("compaction of the store's log", || {
            (cluster.meta(store, REGION)?.raft.first_index > 40).then_some(())
        });
        until("raft-engine has dropped the entries", || {
            let first = cluster.nodes[&store].engines.raft.first_index(REGION);
            first.is_none_or(|first| first > 40).then_some(())
        });
    }
    for store in 1..=3 {
        cluster.stop(store);
    }
    for store in 1..=3 {
        cluster.start(store);
    }
    for n in 0..60_u8 {
        assert_eq!(cluster.must_read(&[b'k', n]), Some(vec![n]));
    }
}
