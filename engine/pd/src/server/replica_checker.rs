//! Does a region have as many peers as it should, on stores that serve? (tikv/pd `checker.ReplicaChecker`.)

use std::collections::BTreeMap;

use super::{regions::RegionInfo, stores::StoreInfo};

/// What is wrong with a region's replicas, one thing at a time.
#[derive(Debug, PartialEq)]
pub enum Plan {
    AddPeerOn(u64),
    RemovePeerOn(u64),
    TransferLeaderTo(u64),
}

/// What the checker sees besides the region.
pub struct View<'a> {
    pub stores: &'a BTreeMap<u64, StoreInfo>,
    /// Peers per store, to even them out.
    pub peer_counts: &'a BTreeMap<u64, usize>,
    pub max_peer_count: usize,
    pub now_ms: u64,
}

impl View<'_> {
    /// The next plan for `region`, or `None` if it is as it should be or nothing can be done now.
    pub fn check(&self, region: &RegionInfo) -> Option<Plan> {
        // A peer that still catches up counts for nothing in a quorum: one change at a time.
        if !region.pending_peers.is_empty() || region.leader.is_none() {
            return None;
        }
        let staying = region.meta.peers.iter().filter(|peer| !self.is_leaving(peer.store_id)).count();
        if staying < self.max_peer_count {
            return self.best_new_store(region).map(Plan::AddPeerOn);
        }
        if region.meta.peers.len() > self.max_peer_count { self.shrink(region) } else { None }
    }

    fn is_leaving(&self, store_id: u64) -> bool {
        self.stores.get(&store_id).is_none_or(StoreInfo::is_leaving)
    }

    fn count(&self, store_id: u64) -> usize {
        self.peer_counts.get(&store_id).copied().unwrap_or(0)
    }

    /// The serving store without a peer of the region that has the fewest peers.
    fn best_new_store(&self, region: &RegionInfo) -> Option<u64> {
        let free = |id: &u64| region.meta.find_peer(*id).is_none();
        let serving =
            self.stores.iter().filter(|(_, store)| store.is_serving(self.now_ms)).map(|(id, _)| *id);
        serving.filter(free).min_by_key(|id| (self.count(*id), *id))
    }

    /// One peer too many: the one on a leaving store goes first, then one on a silent store, then on the fullest.
    fn shrink(&self, region: &RegionInfo) -> Option<Plan> {
        let leader = region.leader_store()?;
        let silent = |id: u64| self.stores.get(&id).is_none_or(|store| !store.is_serving(self.now_ms));
        let stores = || region.meta.peers.iter().map(|peer| peer.store_id);
        let worst = |id: &u64| (self.is_leaving(*id), silent(*id), self.count(*id), *id);
        if self.is_leaving(leader) {
            return stores().filter(|id| !silent(*id)).min_by_key(worst).map(Plan::TransferLeaderTo);
        }
        stores().filter(|id| *id != leader).max_by_key(worst).map(Plan::RemovePeerOn)
    }
}

#[cfg(test)]
mod tests {
    use kvproto::metapb::{Peer, Region, Store, StoreState};

    use super::*;

    fn stores(ids: &[u64]) -> BTreeMap<u64, StoreInfo> {
        let store = |id: &u64| StoreInfo {
            meta: Store { id: *id, ..Default::default() },
            heard_ms: 1_000,
            ..Default::default()
        };
        ids.iter().map(|id| (*id, store(id))).collect()
    }

    fn region(peers: &[u64]) -> RegionInfo {
        let peers: Vec<Peer> = peers.iter().map(|store| Peer::voter(*store, store + 10)).collect();
        RegionInfo {
            leader: peers.first().copied(),
            meta: Region { peers, ..Default::default() },
            ..Default::default()
        }
    }

    fn check(stores: &BTreeMap<u64, StoreInfo>, region: &RegionInfo) -> Option<Plan> {
        let peer_counts = BTreeMap::from([(2, 5)]);
        View { stores, peer_counts: &peer_counts, max_peer_count: 3, now_ms: 2_000 }.check(region)
    }

    #[test]
    fn a_region_grows_to_three_peers_one_at_a_time() {
        let all = stores(&[1, 2, 3]);
        assert_eq!(check(&all, &region(&[1])), Some(Plan::AddPeerOn(3)), "store 2 has more peers");
        let mut pending = region(&[1, 3]);
        assert_eq!(check(&all, &pending), Some(Plan::AddPeerOn(2)));
        pending.pending_peers = vec![pending.meta.peers[1]];
        assert_eq!(check(&all, &pending), None);
        assert_eq!(check(&all, &region(&[1, 2, 3])), None);
        assert_eq!(check(&stores(&[1]), &region(&[1])), None, "no store is free");
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
        all.get_mut(&1).unwrap().meta.state = StoreState::Offline as i32;
        assert_eq!(check(&all, &region(&[1, 2, 3])), Some(Plan::AddPeerOn(4)));
        assert_eq!(check(&all, &region(&[1, 2, 3, 4])), Some(Plan::TransferLeaderTo(3)));
        assert_eq!(check(&all, &region(&[2, 1, 3, 4])), Some(Plan::RemovePeerOn(1)));
    }
}
