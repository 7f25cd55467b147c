//! Checks that a region has the right number of peers, on serving stores (tikv/pd `checker.ReplicaChecker`
//! and `checker.LearnerChecker`).
//!
//! If the region would need the new peer's vote before the peer has the data, the peer joins as a learner and
//! is promoted when it has caught up. So the region never loses its quorum.
use std::collections::BTreeMap;

use kvproto::metapb::{Peer, PeerRole};

use super::{regions::RegionInfo, stores::StoreInfo};

/// One change of a region's replicas.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// PD's name of the change, e.g. `replace-down-replica`.
    pub desc: &'static str,
    pub action: Action,
}

#[derive(Debug, PartialEq)]
pub enum Action {
    AddVoterOn(u64),
    AddLearnerOn(u64),
    Promote(Peer),
    RemovePeerOn(u64),
    TransferLeaderTo(u64),
}

impl Action {
    fn into_plan(self, desc: &'static str) -> Plan {
        Plan { desc, action: self }
    }
}

/// The checker's view of the cluster.
pub struct View<'a> {
    pub stores: &'a BTreeMap<u64, StoreInfo>,
    /// Number of peers per store, for even distribution.
    pub peer_counts: &'a BTreeMap<u64, usize>,
    pub max_peer_count: usize,
    /// Time in milliseconds without heartbeats after which a store's peers are replaced (PD
    /// `max-store-down-time`).
    pub max_store_down_ms: u64,
    pub now_ms: u64,
}

impl View<'_> {
    /// Returns the next plan for `region`, or `None` if nothing is wrong or nothing can be done now.
    pub fn check(&self, region: &RegionInfo) -> Option<Plan> {
        region.leader?;
        if let Some(learner) = self.promotable(region) {
            return Some(Action::Promote(learner).into_plan("promote-learner"));
        }
        if let Some(down) = self.down_store(region) {
            return self.replace(region, down, "remove-extra-down-replica", "replace-down-replica");
        }
        if let Some(leaving) = self.leaving_store(region) {
            return self.replace(region, leaving, "remove-extra-offline-replica", "replace-offline-replica");
        }
        if region.meta.peers.len() < self.max_peer_count {
            return Some(self.add(region)?.into_plan("make-up-replica"));
        }
        if voters(region).count() > self.max_peer_count { self.shrink(region) } else { None }
    }

    /// Returns whether a check of the region may find anything, judged only by the
    /// region and the states of its stores.
    pub fn needs_check(&self, region: &RegionInfo) -> bool {
        region.meta.peers.len() != self.max_peer_count
            || region.meta.peers.iter().any(Peer::is_learner)
            || self.down_store(region).is_some()
            || self.leaving_store(region).is_some()
    }

    /// Returns a learner with the data. Real PDs do not touch foreign learners; here there are none.
    fn promotable(&self, region: &RegionInfo) -> Option<Peer> {
        let learners = region.meta.peers.iter().filter(|peer| peer.is_learner());
        learners.copied().find(|peer| region.has_caught_up(peer) && !self.is_dead(region, peer))
    }

    /// Returns the store of a peer that the leader reports as down, if PD has not
    /// heard from that store for long either.
    fn down_store(&self, region: &RegionInfo) -> Option<u64> {
        let peers = region.down_peers.iter().filter_map(|stats| stats.peer);
        let stores = peers.map(|peer| peer.store_id).filter(|id| region.meta.find_peer(*id).is_some());
        stores.into_iter().find(|id| {
            self.stores.get(id).is_some_and(|store| store.down_ms(self.now_ms) >= self.max_store_down_ms)
        })
    }

    fn leaving_store(&self, region: &RegionInfo) -> Option<u64> {
        region.meta.peers.iter().map(|peer| peer.store_id).find(|id| self.is_leaving(*id))
    }

    /// Removes the peer on `store` if enough others remain, otherwise adds its replacement.
    fn replace(
        &self,
        region: &RegionInfo,
        store: u64,
        remove: &'static str,
        replace: &'static str,
    ) -> Option<Plan> {
        let is_learner = region.meta.find_peer(store).is_some_and(Peer::is_learner);
        if is_learner {
            return Some(Action::RemovePeerOn(store).into_plan(remove));
        }
        if voters(region).count() <= self.max_peer_count {
            // Waits for a new peer that has not caught up yet.
            let coming =
                region.meta.peers.iter().any(|peer| peer.is_learner() && !self.is_dead(region, peer));
            return if coming { None } else { Some(self.add(region)?.into_plan(replace)) };
        }
        if region.leader_store() == Some(store) {
            return Some(Action::TransferLeaderTo(self.best_leader(region)?).into_plan(remove));
        }
        Some(Action::RemovePeerOn(store).into_plan(remove))
    }

    /// Adds a peer on the best store.
    fn add(&self, region: &RegionInfo) -> Option<Action> {
        Some(self.addition(region, self.best_new_store(region)?))
    }

    /// Adds a peer on `store`: as a voter only if the region has a quorum without its vote.
    pub fn addition(&self, region: &RegionInfo, store: u64) -> Action {
        let live =
            voters(region).filter(|peer| !self.is_dead(region, peer) && region.has_caught_up(peer)).count();
        let quorum = voters(region).count().div_ceil(2) + 1;
        if live >= quorum { Action::AddVoterOn(store) } else { Action::AddLearnerOn(store) }
    }

    fn is_leaving(&self, store_id: u64) -> bool {
        self.stores.get(&store_id).is_none_or(StoreInfo::is_leaving)
    }

    /// Returns whether the peer's leader or PD has lost contact with it.
    fn is_dead(&self, region: &RegionInfo, peer: &Peer) -> bool {
        let is_down = region.down_peers.iter().any(|stats| stats.peer.is_some_and(|down| down.id == peer.id));
        is_down || self.stores.get(&peer.store_id).is_none_or(|store| store.is_disconnected(self.now_ms))
    }

    fn count(&self, store_id: u64) -> usize {
        self.peer_counts.get(&store_id).copied().unwrap_or(0)
    }

    /// Returns the serving store with the fewest peers among those without a peer of the region.
    fn best_new_store(&self, region: &RegionInfo) -> Option<u64> {
        let free = |id: &u64| region.meta.find_peer(*id).is_none();
        let serving =
            self.stores.iter().filter(|(_, store)| store.is_serving(self.now_ms)).map(|(id, _)| *id);
        serving.filter(free).min_by_key(|id| (self.count(*id), *id))
    }

    /// Returns a voter with the data on a store that serves and stays.
    fn best_leader(&self, region: &RegionInfo) -> Option<u64> {
        let able = voters(region).filter(|peer| region.has_caught_up(peer)).map(|peer| peer.store_id);
        let staying =
            able.filter(|id| self.stores.get(id).is_some_and(|store| store.is_serving(self.now_ms)));
        staying.min_by_key(|id| (self.count(*id), *id))
    }

    /// Removes one voter if there are too many: first one on a silent store, then one on the fullest.
    fn shrink(&self, region: &RegionInfo) -> Option<Plan> {
        // While a live peer catches up, a peer with the data must not be removed.
        let catching_up = |peer: &Peer| !region.has_caught_up(peer) && !self.is_dead(region, peer);
        if region.meta.peers.iter().any(catching_up) {
            return None;
        }
        let leader = region.leader_store()?;
        let others = voters(region).filter(|peer| peer.store_id != leader);
        let worst = others
            .max_by_key(|peer| (self.is_dead(region, peer), self.count(peer.store_id), peer.store_id))?;
        let worst = worst.store_id;
        Some(Action::RemovePeerOn(worst).into_plan("remove-extra-replica"))
    }
}

fn voters(region: &RegionInfo) -> impl Iterator<Item = &Peer> {
    region.meta.peers.iter().filter(|peer| peer.role() != PeerRole::Learner)
}

#[cfg(test)]
mod tests;
