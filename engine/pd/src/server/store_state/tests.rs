use kvproto::{
    metapb::{Peer, Region, RegionEpoch, Store},
    pdpb::{ErrorType, RegionHeartbeatRequest, StoreStats},
};
use tokio::sync::mpsc;

use super::*;
use crate::server::clock::ManualClock;

fn store(id: u64) -> Store {
    Store { id, address: format!("127.0.0.1:{id}"), version: "8.5.0".to_owned(), ..Default::default() }
}

fn report(cluster: &Cluster, conf_ver: u64, stores: &[u64]) {
    let peers: Vec<Peer> = stores.iter().map(|id| Peer::voter(*id, id + 100)).collect();
    let leader = peers.first().copied();
    let region_epoch = Some(RegionEpoch { conf_ver, version: 1 });
    let region = Some(Region { id: 2, region_epoch, peers, ..Default::default() });
    let report = RegionHeartbeatRequest { region, leader, term: 6, ..Default::default() };
    cluster.region_heartbeat(report, &mpsc::channel(8).0).unwrap();
}

/// Creates a region of three peers on the first of `stores` stores.
fn cluster(dir: &std::path::Path, stores: u64) -> Cluster {
    let cluster = Cluster::open(dir, None, None, ManualClock::at(1_000)).unwrap();
    let region_epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
    let region = Region { id: 2, region_epoch, peers: vec![Peer::voter(1, 101)], ..Default::default() };
    cluster.bootstrap(store(1), region).unwrap();
    (2..=stores).for_each(|id| cluster.put_store(store(id)).unwrap());
    report(&cluster, 3, &[1, 2, 3]);
    cluster
}

fn state(cluster: &Cluster, id: u64) -> StoreState {
    cluster.store(id).unwrap().meta.state()
}

#[test]
fn an_empty_offline_store_becomes_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 4);
    cluster.remove_store(3, false).unwrap();
    cluster.remove_store(3, false).expect("a second call is accepted");
    assert_eq!(state(&cluster, 3), StoreState::Offline);
    let stats = |store_id| StoreStats { store_id, ..Default::default() };
    let status = cluster.store_heartbeat(stats(3)).unwrap();
    assert_eq!(status.state, kvproto::metapb::NodeState::Removing as i32);
    report(&cluster, 4, &[1, 2, 4]);
    assert_eq!(state(&cluster, 3), StoreState::Tombstone);

    assert_eq!(cluster.put_store(store(3)).unwrap_err().kind, ErrorType::StoreTombstone);
    assert_eq!(cluster.store_heartbeat(stats(3)).unwrap_err().kind, ErrorType::StoreTombstone);
    assert_eq!(cluster.remove_store(3, false), Err(StoreStateError::Removed(3)));
    assert_eq!(cluster.up_store(3), Err(StoreStateError::Removed(3)));
    cluster.put_store(Store { address: "127.0.0.1:3".to_owned(), ..store(9) }).expect("the address is free");
    cluster.remove_tombstones().unwrap();
    assert!(cluster.store(3).is_err());
}

#[test]
fn a_needed_store_is_not_taken_out_unless_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    let refused = cluster.remove_store(2, false).unwrap_err().to_string();
    assert_eq!(
        refused,
        "[PD:core:ErrStoresNotEnough]can not remove store 2 since the number of up stores would be 2 while need 3"
    );
    assert_eq!(cluster.remove_store(77, false), Err(StoreStateError::NotFound(77)));
    cluster.remove_store(2, true).unwrap();
    assert_eq!(state(&cluster, 2), StoreState::Offline);
    assert_eq!(cluster.up_store(2), Err(StoreStateError::Destroyed(2)));
    cluster.put_store(Store { address: "127.0.0.1:2".to_owned(), ..store(9) }).expect("the address is free");
}

#[test]
fn a_store_can_come_back_and_its_state_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let first = cluster(dir.path(), 4);
    first.remove_store(3, false).unwrap();
    drop(first);
    let cluster = Cluster::open(dir.path(), None, None, ManualClock::at(2_000)).unwrap();
    assert_eq!(state(&cluster, 3), StoreState::Offline);
    cluster.put_store(store(3)).unwrap();
    assert_eq!(state(&cluster, 3), StoreState::Offline, "a store does not decide its own state");
    cluster.up_store(3).unwrap();
    assert_eq!(state(&cluster, 3), StoreState::Up);
}
