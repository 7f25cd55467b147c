use kvproto::{
    metapb::{Region, Store},
    pdpb::{OperatorStatus, RegionHeartbeatRequest, ScatterRegionRequest},
};
use tokio::sync::mpsc;

use super::*;
use crate::server::clock::ManualClock;

fn region(id: u64, stores: &[u64]) -> Region {
    let key = |n: u64| if n == 0 { Vec::new() } else { vec![n as u8] };
    Region {
        id,
        start_key: key(id - 2),
        end_key: key(id - 1),
        region_epoch: Some(kvproto::metapb::RegionEpoch { conf_ver: 3, version: 9 }),
        peers: stores.iter().map(|store| Peer::voter(*store, id * 100 + store)).collect(),
        ..Default::default()
    }
}

/// Creates regions 2 to 5 with their peers and leaders on the first stores of `stores`.
fn cluster(dir: &std::path::Path, stores: u64) -> Cluster {
    let cluster = Cluster::open(dir, None, None, ManualClock::at(1_000)).unwrap();
    let store = |id: u64| Store { id, address: format!("127.0.0.1:{id}"), ..Default::default() };
    let first = Region { end_key: Vec::new(), peers: vec![Peer::voter(1, 1)], ..region(2, &[1]) };
    cluster.bootstrap(store(1), first).unwrap();
    (2..=stores).for_each(|id| cluster.put_store(store(id)).unwrap());
    let (stream, _) = mpsc::channel(64);
    for id in 2..=5 {
        let region = region(id, &[1, 2, 3]);
        let leader = region.peers.first().copied();
        let report = RegionHeartbeatRequest { region: Some(region), leader, term: 6, ..Default::default() };
        cluster.region_heartbeat(report, &stream).unwrap();
    }
    cluster
}

fn scatter(cluster: &Cluster, ids: &[u64]) -> (u64, Vec<u64>) {
    scatter_group(cluster, "g", ids)
}

fn scatter_group(cluster: &Cluster, group: &str, ids: &[u64]) -> (u64, Vec<u64>) {
    let request =
        ScatterRegionRequest { regions_id: ids.to_vec(), group: group.to_owned(), ..Default::default() };
    cluster.scatter(&request).unwrap()
}

#[test]
fn peers_go_to_stores_that_have_fewer_of_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 4);
    assert_eq!(scatter(&cluster, &[2]), (100, vec![]), "the first of a group need not move");
    assert!(cluster.operator(2).is_err());
    assert_eq!(scatter(&cluster, &[3]), (100, vec![]));
    let operator = cluster.operator(3).unwrap();
    assert_eq!((operator.desc, operator.status, operator.kind()), (DESC, OperatorStatus::Running, "region"));
    assert_eq!(operator.target_store(), Some(4));
    assert_eq!(scatter(&cluster, &[3, 99]), (50, vec![99]), "one is being scattered, the other is unknown");
    assert_eq!(cluster.operator(3).unwrap(), operator, "it stays");
    assert_eq!(scatter_group(&cluster, "other", &[3]), (0, vec![3]), "the operator is of another group");
}

#[test]
fn leaders_are_spread_if_no_peer_can_move() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 3);
    assert_eq!(scatter(&cluster, &[2, 3, 4]), (100, vec![]));
    let to = |id| cluster.operator(id).map(|operator| (operator.kind(), operator.target_store())).ok();
    assert_eq!([to(2), to(3), to(4)], [None, Some(("leader", Some(2))), Some(("leader", Some(3)))]);
}

#[test]
fn a_region_that_lacks_a_peer_is_not_scattered() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path(), 4);
    let (stream, _) = mpsc::channel(64);
    let mut short = region(2, &[1, 2]);
    short.region_epoch.as_mut().unwrap().conf_ver = 4;
    let leader = short.peers.first().copied();
    let report = RegionHeartbeatRequest { region: Some(short), leader, term: 6, ..Default::default() };
    cluster.region_heartbeat(report, &stream).unwrap();
    #[allow(deprecated)]
    let request = ScatterRegionRequest { region_id: 2, ..Default::default() };
    assert!(cluster.scatter(&request).unwrap_err().message.contains("not fully replicated"));
    #[allow(deprecated)]
    let request = ScatterRegionRequest { region_id: 77, ..Default::default() };
    assert_eq!(cluster.scatter(&request).unwrap_err().kind, ErrorType::RegionNotFound);
}

#[tokio::test]
async fn a_region_that_failed_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = std::sync::Arc::new(cluster(dir.path(), 3));
    let (stream, _) = mpsc::channel(64);
    let report = |pending: &[u64]| {
        let region = region(2, &[1, 2, 3]);
        let pending_peers = region.peers.iter().filter(|p| pending.contains(&p.store_id)).copied().collect();
        let leader = region.peers.first().copied();
        let report = RegionHeartbeatRequest {
            region: Some(region),
            leader,
            pending_peers,
            term: 6,
            ..Default::default()
        };
        cluster.region_heartbeat(report, &stream).unwrap();
    };
    report(&[3]);
    let request = |retry_limit| ScatterRegionRequest {
        regions_id: vec![2, 3, 99],
        group: "g".to_owned(),
        retry_limit,
        ..Default::default()
    };
    assert_eq!(scatter_regions(&cluster, &request(0)).await, Ok((34, vec![2, 99])));
    let (running, retried) = (cluster.clone(), request(5));
    let scattered = tokio::spawn(async move { scatter_regions(&running, &retried).await });
    // The task runs until its first pause.
    tokio::task::yield_now().await;
    report(&[]);
    let scattered = tokio::time::timeout(Duration::from_secs(60), scattered).await.unwrap().unwrap();
    assert_eq!(scattered, Ok((67, vec![99])), "PD does not know region 99");
}
