//! A dead store and one that is taken out: PD moves their peers to a fourth store.
mod harness;

use std::time::{Duration, Instant};

use harness::{BOUND, Harness};
use kvproto::metapb::{Peer, StoreState};
use server::config::ReadableDuration;

/// Four stores, three replicas; a silent peer is reported after two seconds.
fn four_stores() -> Harness {
    let tune = |config: &mut server::TikvConfig| {
        config.raft_store.max_peer_down_duration = ReadableDuration::secs(2);
    };
    let mut h = Harness::start_with(3, tune);
    h.region(3);
    h.stores.push(None);
    h.start_store(3);
    h
}

/// Waits until the region's peers are voters on exactly these stores, none of which lacks the data.
fn wait_for(h: &Harness, stores: &[u64]) {
    let deadline = Instant::now() + BOUND;
    let mut wanted = stores.to_vec();
    wanted.sort_unstable();
    loop {
        let found = h.block_on(h.client.scan_regions(b"", b"", 1)).unwrap().remove(0);
        let peers = found.region.unwrap().peers;
        let mut now: Vec<u64> = peers.iter().map(|peer| peer.store_id).collect();
        now.sort_unstable();
        let settled = found.pending_peers.is_empty() && !peers.iter().any(Peer::is_learner);
        if now == wanted && settled {
            return;
        }
        assert!(Instant::now() < deadline, "expected peers on {wanted:?}, found {peers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn peers_of_a_dead_store_are_replaced() {
    let mut h = four_stores();
    h.raw_put(b"k", b"v");
    h.pd.set_max_store_down_time(Duration::from_secs(3)).unwrap();
    let (region, leader) = h.region(3);
    let spare = h.store(3).store_id();
    let dead = (0..3).find(|n| h.store(*n).store_id() != leader.store_id).unwrap();
    let dead_id = h.store(dead).store_id();
    h.stores[dead].take().unwrap().kill();

    let mut expected: Vec<u64> = region.peers.iter().map(|peer| peer.store_id).collect();
    expected.retain(|id| *id != dead_id);
    expected.push(spare);
    wait_for(&h, &expected);
    assert_eq!(h.raw_get(b"k"), Some(b"v".to_vec()));
    h.raw_put(b"k", b"w");
    assert_eq!(h.raw_get(b"k"), Some(b"w".to_vec()));

    // The returning store has no data any more, and PD gives it no peers.
    h.start_store(dead);
    wait_for(&h, &expected);
}

#[test]
fn a_store_taken_out_is_drained_then_refused() {
    let mut h = four_stores();
    h.raw_put(b"k", b"v");
    let (region, leader) = h.region(3);
    let leaving = (0..3).find(|n| h.store(*n).store_id() == leader.store_id).unwrap();
    let leaving_id = leader.store_id;
    h.pd.remove_store(leaving_id).unwrap();

    let mut expected: Vec<u64> = region.peers.iter().map(|peer| peer.store_id).collect();
    expected.retain(|id| *id != leaving_id);
    expected.push(h.store(3).store_id());
    wait_for(&h, &expected);
    let deadline = Instant::now() + BOUND;
    while h.pd.store_state(leaving_id).unwrap() != StoreState::Tombstone {
        assert!(Instant::now() < deadline, "an empty store is buried");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(h.raw_get(b"k"), Some(b"v".to_vec()));

    // Its next start is refused: it is gone for good.
    h.stores[leaving].take().unwrap().shutdown();
    let config = h.config(leaving);
    let refused =
        server::TikvServer::start(config, server::StartOptions::default()).err().expect("it is tombstone");
    assert!(refused.to_string().contains("tombstone"), "{refused}");
}
