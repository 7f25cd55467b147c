use std::sync::Arc;

use kvproto::{
    metapb::{Peer, Region, RegionEpoch, Store},
    pdpb::{CheckPolicy, RegionHeartbeatRequest},
};
use tokio::sync::mpsc;

use super::*;
use crate::server::{clock::ManualClock, heartbeat_streams::ResponseSender};

/// Time limit of every wait.
const BOUND: Duration = Duration::from_secs(60);

fn report(cluster: &Cluster, stream: &ResponseSender, id: u64, version: u64, start: &str, end: &str) {
    let peers = vec![Peer::voter(1, id + 100)];
    let region = Region {
        id,
        start_key: start.into(),
        end_key: end.into(),
        region_epoch: Some(RegionEpoch { conf_ver: 1, version }),
        peers,
        ..Default::default()
    };
    let leader = region.peers.first().copied();
    let report = RegionHeartbeatRequest { region: Some(region), leader, term: 6, ..Default::default() };
    cluster.region_heartbeat(report, stream).unwrap();
}

/// A cluster of one store, whose region 2 has all keys.
fn cluster(dir: &std::path::Path, clock: Arc<ManualClock>, stream: &ResponseSender) -> Arc<Cluster> {
    let cluster = Cluster::open(dir, None, Some(1), clock).unwrap();
    let region = Region { id: 2, peers: vec![Peer::voter(1, 102)], ..Default::default() };
    cluster.bootstrap(Store { id: 1, address: "a".to_owned(), ..Default::default() }, region).unwrap();
    report(&cluster, stream, 2, 1, "", "");
    Arc::new(cluster)
}

fn keys(keys: &[&str]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn the_leader_is_asked_and_new_regions_are_counted() {
    let (dir, (stream, mut sent)) = (tempfile::tempdir().unwrap(), mpsc::channel(8));
    let cluster = cluster(dir.path(), ManualClock::at(1_000), &stream);
    let running = cluster.clone();
    let split = tokio::spawn(async move { split_regions(&running, keys(&["b", "d"]), 0).await });
    let asked = tokio::time::timeout(BOUND, sent.recv()).await.unwrap().unwrap().unwrap();
    let wanted = asked.split_region.unwrap();
    assert_eq!((wanted.policy(), wanted.keys), (CheckPolicy::Usekey, keys(&["b", "d"])));
    assert_eq!((asked.region_id, cluster.operator(2).unwrap().kind()), (2, "split"));
    assert!(cluster.operator(2).unwrap().is_running());
    report(&cluster, &stream, 5, 3, "b", "d");
    report(&cluster, &stream, 6, 3, "d", "");
    report(&cluster, &stream, 2, 3, "", "b");
    let split = tokio::time::timeout(BOUND, split).await.unwrap().unwrap();
    assert_eq!(split, Ok((100, vec![5, 6])));
    assert!(!cluster.operator(2).unwrap().is_running(), "the heartbeats show the split");
}

#[tokio::test]
async fn keys_that_cannot_split_are_not_counted() {
    let (dir, (stream, _sent)) = (tempfile::tempdir().unwrap(), mpsc::channel(8));
    let cluster = cluster(dir.path(), ManualClock::at(1_000), &stream);
    assert_eq!(split_regions(&cluster, vec![], 3).await, Ok((0, vec![])));
    report(&cluster, &stream, 5, 3, "b", "");
    report(&cluster, &stream, 2, 3, "", "b");
    assert_eq!(split_regions(&cluster, keys(&["b"]), 1).await, Ok((0, vec![])), "a region begins there");
    let fresh = tempfile::tempdir().unwrap();
    let fresh = Cluster::open(fresh.path(), None, None, ManualClock::at(1_000)).unwrap();
    let refusal = split_regions(&fresh, keys(&["b"]), 0).await.unwrap_err();
    assert_eq!(refusal.kind, kvproto::pdpb::ErrorType::NotBootstrapped);
}

#[tokio::test]
async fn an_attempt_ends_by_the_clock_of_pd() {
    let (dir, (stream, mut sent)) = (tempfile::tempdir().unwrap(), mpsc::channel(8));
    let clock = ManualClock::at(1_000);
    let cluster = cluster(dir.path(), clock.clone(), &stream);
    let split = tokio::spawn(async move { split_regions(&cluster, keys(&["b"]), 0).await });
    tokio::time::timeout(BOUND, sent.recv()).await.unwrap().unwrap().unwrap();
    clock.set(1_000 + ATTEMPT.as_millis() as u64);
    // Half of the attempt in real time: the clock of PD has ended it.
    let split = tokio::time::timeout(ATTEMPT / 2, split).await.unwrap().unwrap();
    assert_eq!(split, Ok((0, vec![])), "the leader does not split the region");
}
