use kvproto::{
    eraftpb::ConfChangeType,
    metapb::{Peer, RegionEpoch},
};
use tokio::sync::mpsc;

use super::*;
use crate::server::{clock::ManualClock, operator::Step};

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Cluster {
    Cluster::open(dir, None, None, clock.clone()).unwrap()
}

fn store(id: u64) -> Store {
    Store { id, address: format!("127.0.0.1:{id}"), version: "8.5.0".to_owned(), ..Default::default() }
}

fn region(conf_ver: u64, version: u64, stores: &[u64]) -> Region {
    Region {
        id: 2,
        region_epoch: Some(RegionEpoch { conf_ver, version }),
        peers: stores.iter().map(|store| Peer::voter(*store, store + 100)).collect(),
        ..Default::default()
    }
}

fn heartbeat(region: Region, term: u64) -> pdpb::RegionHeartbeatRequest {
    let leader = region.peers.first().copied();
    pdpb::RegionHeartbeatRequest { region: Some(region), leader, term, ..Default::default() }
}

#[test]
fn bootstrap_comes_first_and_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    assert_eq!(cluster.put_store(store(1)).unwrap_err().kind, ErrorType::NotBootstrapped);
    assert_eq!(cluster.region(2).unwrap_err().kind, ErrorType::NotBootstrapped);
    assert!(cluster.bootstrap(store(1), region(1, 1, &[2])).is_err(), "the peer must be on the store");
    assert!(cluster.bootstrap(store(1), region(1, 1, &[1, 2])).is_err(), "one peer");
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let again = cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap_err();
    assert_eq!(again.kind, ErrorType::AlreadyBootstrapped);
}

#[test]
fn a_restart_keeps_the_state_and_allocates_no_id_twice() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let cluster = open(dir.path(), &clock);
    let (id, cluster_id) = (cluster.alloc_id(1).unwrap(), cluster.cluster_id);
    assert_eq!(id, 1);
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    cluster.put_store(store(7)).unwrap();
    let (stream, _responses) = mpsc::channel(8);
    cluster.region_heartbeat(heartbeat(region(1, 5, &[1]), 6), &stream).unwrap();
    cluster.update_gc_safe_point(42).unwrap();
    drop(cluster);

    let cluster = open(dir.path(), &clock);
    assert_eq!(cluster.cluster_id, cluster_id);
    assert!(cluster.alloc_id(1).unwrap() > id);
    assert_eq!(cluster.all_stores(false).unwrap().len(), 2);
    let found = cluster.region_of_key(b"any").unwrap().unwrap();
    assert_eq!(found.meta.epoch().version, 5);
    assert_eq!(found.leader_store(), Some(1));
    assert_eq!(cluster.gc_safe_point().unwrap(), 42);
    cluster.region_heartbeat(heartbeat(region(1, 5, &[1]), 1), &stream).expect("terms start again");
}

#[test]
fn damaged_or_foreign_state_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let cluster = open(dir.path(), &clock);
    cluster.tso.grant(1).unwrap();
    let cluster_id = cluster.cluster_id;
    drop(cluster);
    let refused = |cluster_id| Cluster::open(dir.path(), cluster_id, None, clock.clone()).err().unwrap();

    assert!(matches!(refused(Some(cluster_id + 1)), Error::ClusterId { .. }));
    let state = dir.path().join("cluster.state");
    let good = std::fs::read(&state).unwrap();
    std::fs::write(&state, &good[..good.len() - 1]).unwrap();
    assert!(matches!(refused(None), Error::Corrupt { .. }));
    assert_eq!(std::fs::read(&state).unwrap(), good[..good.len() - 1], "never overwritten");
    std::fs::remove_file(&state).unwrap();
    assert!(matches!(refused(None), Error::Corrupt { .. }));
    assert!(!state.exists());
    std::fs::write(&state, &good).unwrap();
    std::fs::remove_file(dir.path().join("tso.state")).unwrap();
    assert!(matches!(refused(None), Error::Corrupt { .. }));
}

#[test]
fn heartbeats_add_peers_until_there_are_three() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let (stream, mut responses) = mpsc::channel(8);
    let mut beat = |region: &Region| {
        cluster.region_heartbeat(heartbeat(region.clone(), 6), &stream).unwrap();
        std::iter::from_fn(|| responses.try_recv().ok()).last().map(|response| response.unwrap())
    };

    let mut now = region(1, 1, &[1]);
    assert_eq!(beat(&now), None, "no other store exists");
    cluster.put_store(store(2)).unwrap();
    cluster.put_store(store(3)).unwrap();
    for (store, kinds) in [
        (2, vec![ConfChangeType::AddLearnerNode, ConfChangeType::AddNode]),
        (3, vec![ConfChangeType::AddNode]),
    ] {
        for kind in kinds {
            let response = beat(&now).expect("a conf change");
            assert_eq!((response.region_id, response.target_peer), (2, now.peers.first().copied()));
            let change = response.change_peer.expect("a conf change");
            assert_eq!(change.change_type, kind as i32);
            let peer = change.peer.unwrap();
            assert_eq!(peer.store_id, store);
            assert_eq!(beat(&now), Some(response), "the same heartbeat gets the same peer");
            now.peers.retain(|known| known.id != peer.id);
            now.peers.push(peer);
            now.region_epoch.as_mut().unwrap().conf_ver += 1;
        }
    }
    assert_eq!(beat(&now), None);
    assert_eq!(cluster.operator(2).unwrap().status, pdpb::OperatorStatus::Success);
    assert!(now.peers.iter().all(|peer| !peer.is_learner()));
}

#[test]
fn a_dead_stores_peer_is_replaced_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let cluster = open(dir.path(), &clock);
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    (2..=4).for_each(|id| cluster.put_store(store(id)).unwrap());
    let (stream, mut responses) = mpsc::channel(8);
    let mut report = heartbeat(region(3, 1, &[1, 2, 3]), 6);
    let peer = |store: u64| Peer::voter(store, store + 100);
    report.down_peers = vec![pdpb::PeerStats { peer: Some(peer(3)), down_seconds: 600 }];
    report.pending_peers = vec![peer(3)];
    cluster.region_heartbeat(report, &stream).unwrap();
    assert!(responses.try_recv().is_err(), "the store may come back");

    cluster.set_max_store_down_time(Duration::from_secs(60)).unwrap();
    clock.set(61_000);
    for id in [1, 2, 4] {
        cluster.store_heartbeat(pdpb::StoreStats { store_id: id, ..Default::default() }).unwrap();
    }
    let change = responses.try_recv().expect("sent at once").unwrap().change_peer.unwrap();
    assert_eq!(change.change_type, ConfChangeType::AddLearnerNode as i32);
    assert_eq!(change.peer.map(|peer| peer.store_id), Some(4));
    assert_eq!(cluster.operator(2).unwrap().desc, "replace-down-replica");
}

#[test]
fn a_new_store_gets_a_peer_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let cluster = open(dir.path(), &clock);
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let (stream, mut responses) = mpsc::channel(8);
    cluster.region_heartbeat(heartbeat(region(1, 1, &[1]), 6), &stream).unwrap();
    let mut asked = || {
        let response = responses.try_recv().ok()?.unwrap();
        Some(response.change_peer?.peer?.store_id)
    };
    assert_eq!(asked(), None, "no other store exists");
    cluster.put_store(store(2)).unwrap();
    assert_eq!(asked(), Some(2));
    cluster.put_store(store(3)).unwrap();
    assert_eq!(asked(), None, "one change at a time");

    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &clock);
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    cluster.put_store(store(2)).unwrap();
    clock.set(61_000);
    let (stream, mut responses) = mpsc::channel(8);
    cluster.region_heartbeat(heartbeat(region(1, 1, &[1]), 6), &stream).unwrap();
    assert!(responses.try_recv().is_err(), "store 2 was silent for too long");
    cluster.store_heartbeat(pdpb::StoreStats { store_id: 2, ..Default::default() }).unwrap();
    assert!(responses.try_recv().is_ok(), "store 2 is back");
}

#[test]
fn impossible_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    for wrong in [0, 100, u32::MAX] {
        let error = Cluster::open(dir.path(), None, Some(wrong), clock.clone()).err().unwrap().to_string();
        assert!(error.contains(&format!("max-replicas: expected 1 to 99, found {wrong}")), "{error}");
    }
    let cluster = open(dir.path(), &clock);
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    assert_eq!(cluster.set_max_replicas(0).unwrap_err().kind, ErrorType::InvalidValue);
    let config = metapb::Cluster { id: cluster.cluster_id, max_peer_count: 0 };
    assert!(cluster.put_config(config).is_err());
    assert!(cluster.set_max_store_down_time(Duration::ZERO).is_err());
    assert_eq!(cluster.config().unwrap().max_peer_count, 3);
}

#[test]
fn settings_and_marks_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let cluster = open(dir.path(), &clock);
    cluster.set_max_store_down_time(Duration::from_secs(7)).unwrap();
    cluster.mark_snapshot_recovering(true).unwrap();
    drop(cluster);
    let cluster = open(dir.path(), &clock);
    assert_eq!(cluster.lock().max_store_down_ms, 7_000);
    assert!(cluster.is_snapshot_recovering());
}

#[test]
fn stale_heartbeats_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let (stream, _responses) = mpsc::channel(8);
    cluster.region_heartbeat(heartbeat(region(2, 3, &[1]), 6), &stream).unwrap();
    for stale in
        [heartbeat(region(1, 3, &[1]), 6), heartbeat(region(2, 2, &[1]), 6), heartbeat(region(2, 3, &[1]), 5)]
    {
        let refusal = cluster.region_heartbeat(stale, &stream).unwrap_err();
        assert!(refusal.message.contains("region is stale"), "{refusal}");
    }
    let mut leaderless = heartbeat(region(2, 3, &[1]), 7);
    leaderless.leader = None;
    assert!(cluster.region_heartbeat(leaderless, &stream).is_err());
}

#[test]
fn a_leader_transfer_ends_when_the_leader_changed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    cluster.put_store(store(2)).unwrap();
    let (stream, mut responses) = mpsc::channel(8);
    let both = region(2, 1, &[1, 2]);
    cluster.region_heartbeat(heartbeat(both.clone(), 6), &stream).unwrap();
    assert!(responses.try_recv().is_err());

    assert!(cluster.add_operator(2, "admin-transfer-leader", Step::TransferLeader { to_store: 3 }).is_err());
    cluster.add_operator(2, "admin-transfer-leader", Step::TransferLeader { to_store: 2 }).unwrap();
    let response = responses.try_recv().expect("sent without a heartbeat").unwrap();
    assert_eq!(response.transfer_leader.unwrap().peer, Some(Peer::voter(2, 102)));

    let mut changed = heartbeat(both, 7);
    changed.leader = Some(Peer::voter(2, 102));
    cluster.region_heartbeat(changed, &stream).unwrap();
    assert!(responses.try_recv().is_err());
    assert!(!cluster.operator(2).unwrap().is_running());
}

#[test]
fn a_split_gets_new_ids_for_regions_and_peers() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let ids = cluster.ask_split(&region(1, 1, &[1, 2, 3]), 2).unwrap();
    let split = |new_region_id, new_peer_ids: [u64; 3]| pdpb::SplitId {
        new_region_id,
        new_peer_ids: new_peer_ids.into(),
    };
    assert_eq!(ids, [split(1, [2, 3, 4]), split(5, [6, 7, 8])]);
    assert!(cluster.ask_split(&region(1, 0, &[1]), 1).is_err(), "a stale region may not split");
    let half = |start: &str, end: &str| Region {
        start_key: start.into(),
        end_key: end.into(),
        ..region(1, 2, &[1])
    };
    cluster.report_split(&[half("", "m"), half("m", "")]).unwrap();
    assert!(cluster.report_split(&[half("", "m"), half("n", "")]).is_err());
}

#[test]
fn range_scans_are_ordered_and_report_holes() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path(), &ManualClock::at(1_000));
    cluster.bootstrap(store(1), region(1, 1, &[1])).unwrap();
    let (stream, _responses) = mpsc::channel(8);
    let part = |id, start: &str, end: &str| {
        let region = Region { id, start_key: start.into(), end_key: end.into(), ..region(1, 2, &[1]) };
        heartbeat(region, 6)
    };
    for part in [part(3, "", "d"), part(2, "d", "m")] {
        cluster.region_heartbeat(part, &stream).unwrap();
    }
    let range = |start: &str, end: &str| pdpb::KeyRange { start_key: start.into(), end_key: end.into() };
    let scan = |ranges: Vec<pdpb::KeyRange>, contain_all_key_range| {
        let request = pdpb::BatchScanRegionsRequest { ranges, contain_all_key_range, ..Default::default() };
        let regions = cluster.batch_scan_regions(&request)?;
        Answer::Ok(regions.into_iter().filter_map(|found| Some(found.region?.id)).collect::<Vec<_>>())
    };
    assert_eq!(scan(vec![range("a", "b"), range("c", "e"), range("f", "g")], true), Ok(vec![3, 2]));
    assert_eq!(scan(vec![range("e", "z")], false), Ok(vec![2]));
    let hole = scan(vec![range("e", "z")], true).unwrap_err();
    assert_eq!(hole.kind, ErrorType::RegionsNotContainAllKeyRange);
    assert!(scan(vec![range("c", "e"), range("a", "b")], false).is_err());
}
