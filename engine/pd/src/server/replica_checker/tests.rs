use kvproto::{
    metapb::{Peer, Region, Store, StoreState},
    pdpb::PeerStats,
};

use super::*;

const NOW_MS: u64 = 10_000_000;
const MAX_DOWN_MS: u64 = 1_800_000;

fn stores(ids: &[u64]) -> BTreeMap<u64, StoreInfo> {
    let store = |id: &u64| StoreInfo {
        meta: Store { id: *id, ..Default::default() },
        heard_ms: NOW_MS - 1_000,
        ..Default::default()
    };
    ids.iter().map(|id| (*id, store(id))).collect()
}

fn learner(store: u64) -> Peer {
    Peer { role: PeerRole::Learner as i32, ..Peer::voter(store, store + 10) }
}

/// The leader is on the first store.
fn region(voters: &[u64]) -> RegionInfo {
    let peers: Vec<Peer> = voters.iter().map(|store| Peer::voter(*store, store + 10)).collect();
    RegionInfo {
        leader: peers.first().copied(),
        meta: Region { peers, ..Default::default() },
        ..Default::default()
    }
}

fn check(stores: &BTreeMap<u64, StoreInfo>, region: &RegionInfo) -> Option<Action> {
    let peer_counts = BTreeMap::from([(2, 5)]);
    let view = View {
        stores,
        peer_counts: &peer_counts,
        max_peer_count: 3,
        max_store_down_ms: MAX_DOWN_MS,
        now_ms: NOW_MS,
    };
    let plan = view.check(region);
    assert!(plan.is_none() || view.needs_check(region), "the patrol would skip it");
    plan.map(|plan| plan.action)
}

fn down(region: &mut RegionInfo, store: u64) {
    let peer = region.meta.find_peer(store).copied();
    region.down_peers.push(PeerStats { peer, down_seconds: 600 });
}

#[test]
fn a_region_grows_without_depending_on_an_empty_peer() {
    let all = stores(&[1, 2, 3]);
    assert_eq!(check(&all, &region(&[1])), Some(Action::AddLearnerOn(3)), "store 2 has more peers");
    let mut grown = region(&[1]);
    grown.meta.peers.push(learner(3));
    grown.pending_peers = vec![learner(3)];
    assert_eq!(check(&all, &grown), Some(Action::AddLearnerOn(2)), "two peers may catch up at once");
    grown.pending_peers.clear();
    assert_eq!(check(&all, &grown), Some(Action::Promote(learner(3))));
    assert_eq!(check(&all, &region(&[1, 3])), Some(Action::AddVoterOn(2)), "two of three are a quorum");
    assert_eq!(check(&all, &region(&[1, 2, 3])), None);
    assert_eq!(check(&stores(&[1]), &region(&[1])), None, "no free store");
}

#[test]
fn a_silent_store_gets_no_peer() {
    let mut all = stores(&[1, 2]);
    all.get_mut(&2).unwrap().heard_ms = 0;
    assert_eq!(check(&all, &region(&[1])), None);
}

#[test]
fn peers_leave_an_offline_store_without_losing_a_replica() {
    let mut all = stores(&[1, 2, 3, 4]);
    all.get_mut(&1).unwrap().set_state(StoreState::Offline);
    assert_eq!(check(&all, &region(&[1, 2, 3])), Some(Action::AddVoterOn(4)));
    assert_eq!(check(&all, &region(&[1, 2, 3, 4])), Some(Action::TransferLeaderTo(3)));
    assert_eq!(check(&all, &region(&[2, 1, 3, 4])), Some(Action::RemovePeerOn(1)));
    assert_eq!(check(&stores(&[2, 3, 4]), &region(&[2, 3, 4])), None);
}

#[test]
fn a_peer_on_a_store_that_is_dead_for_long_is_replaced() {
    let mut all = stores(&[1, 2, 3, 4]);
    let mut region = region(&[1, 2, 3]);
    down(&mut region, 3);
    assert_eq!(check(&all, &region), None, "its store sends heartbeats");
    all.get_mut(&3).unwrap().heard_ms = NOW_MS - MAX_DOWN_MS + 1;
    assert_eq!(check(&all, &region), None, "the store may come back");
    all.get_mut(&3).unwrap().heard_ms = NOW_MS - MAX_DOWN_MS;
    assert_eq!(check(&all, &region), Some(Action::AddLearnerOn(4)), "two of four are no quorum");
    region.meta.peers.push(learner(4));
    region.pending_peers = vec![learner(4)];
    assert_eq!(check(&all, &region), None, "the new one catches up");
    region.pending_peers.clear();
    assert_eq!(check(&all, &region), Some(Action::Promote(learner(4))));
    region.meta.peers[3] = Peer::voter(4, 14);
    assert_eq!(check(&all, &region), Some(Action::RemovePeerOn(3)));
}

#[test]
fn a_dead_peer_that_needs_a_snapshot_blocks_nothing() {
    let mut all = stores(&[1, 2, 3, 4]);
    all.get_mut(&3).unwrap().heard_ms = NOW_MS - MAX_DOWN_MS;
    let mut region = region(&[1, 2, 3]);
    down(&mut region, 3);
    region.pending_peers = vec![Peer::voter(3, 13)];
    assert_eq!(check(&all, &region), Some(Action::AddLearnerOn(4)));
    region.meta.peers.push(Peer::voter(4, 14));
    assert_eq!(check(&all, &region), Some(Action::RemovePeerOn(3)));
}

#[test]
fn a_learner_on_a_dead_store_is_replaced() {
    let mut all = stores(&[1, 2, 3, 4, 5]);
    for dead in [3, 4] {
        all.get_mut(&dead).unwrap().heard_ms = NOW_MS - MAX_DOWN_MS;
    }
    let mut region = region(&[1, 2, 3]);
    region.meta.peers.push(learner(4));
    region.pending_peers = vec![learner(4)];
    down(&mut region, 4);
    down(&mut region, 3);
    assert_eq!(check(&all, &region), Some(Action::RemovePeerOn(4)));
}

#[test]
fn no_peer_is_removed_while_a_live_one_catches_up() {
    let mut all = stores(&[1, 2, 3, 4]);
    let mut region = region(&[1, 2, 3, 4]);
    region.pending_peers = vec![Peer::voter(4, 14)];
    assert_eq!(check(&all, &region), None);
    all.get_mut(&4).unwrap().heard_ms = 0;
    assert_eq!(
        check(&all, &region),
        Some(Action::RemovePeerOn(4)),
        "a silent peer does not delay the removal"
    );
    region.pending_peers.clear();
    all.get_mut(&4).unwrap().heard_ms = NOW_MS;
    assert_eq!(check(&all, &region), Some(Action::RemovePeerOn(2)), "the fullest store");
}
