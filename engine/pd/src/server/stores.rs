//! The stores of the cluster and when each was last heard of (tikv/pd `core.StoresInfo`).

use std::collections::BTreeMap;

use kvproto::{
    metapb::{NodeState, Store, StoreState},
    pdpb::{ErrorType, StoreStats},
};

use super::error::Refusal;

/// A store not heard of for this long gets no new peers (PD `storeDisconnectDuration`).
const DISCONNECTED_AFTER_MS: u64 = 20_000;

#[derive(Clone, Debug, Default)]
pub struct StoreInfo {
    pub meta: Store,
    pub stats: StoreStats,
    /// In the clock's milliseconds; 0 if not heard of since PD started.
    pub heard_ms: u64,
}

impl StoreInfo {
    /// Up, and heard of lately.
    pub fn is_serving(&self, now_ms: u64) -> bool {
        self.meta.state == StoreState::Up as i32
            && self.heard_ms > 0
            && now_ms.saturating_sub(self.heard_ms) < DISCONNECTED_AFTER_MS
    }

    /// The store is being taken out, or is gone: its peers must move.
    pub fn is_leaving(&self) -> bool {
        self.meta.state != StoreState::Up as i32
    }

    fn is_tombstone(&self) -> bool {
        self.meta.state == StoreState::Tombstone as i32
    }
}

#[derive(Default)]
pub struct Stores(pub BTreeMap<u64, StoreInfo>);

impl Stores {
    /// Adds a store or updates what it says of itself (PD `RaftCluster.PutMetaStore`).
    pub fn put(&mut self, mut store: Store, now_ms: u64) -> Result<(), Refusal> {
        if store.id == 0 || store.address.is_empty() {
            return Err(Refusal::unknown(format!(
                "invalid put store {store:?}: it needs an id and an address"
            )));
        }
        let same_address = |other: &&StoreInfo| {
            other.meta.id != store.id && !other.is_tombstone() && other.meta.address == store.address
        };
        if let Some(other) = self.0.values().find(same_address) {
            let message =
                format!("duplicated store address: {store:?}, already registered by {:?}", other.meta);
            return Err(Refusal::unknown(message));
        }
        let known = self.0.entry(store.id).or_default();
        if known.is_tombstone() {
            return Err(Refusal::new(ErrorType::StoreTombstone, format!("store {} is tombstone", store.id)));
        }
        // A store's state is PD's to decide, whatever the store says.
        store.state = known.meta.state;
        store.node_state = NodeState::Serving as i32;
        known.meta = store;
        known.heard_ms = now_ms;
        Ok(())
    }

    /// Takes a store heartbeat in.
    pub fn heard(&mut self, stats: StoreStats, now_ms: u64) -> Result<&StoreInfo, Refusal> {
        let id = stats.store_id;
        let store = self.0.get_mut(&id).ok_or_else(|| not_found(id))?;
        if store.is_tombstone() {
            return Err(Refusal::new(ErrorType::StoreTombstone, format!("store {id} is tombstone")));
        }
        store.heard_ms = now_ms;
        store.meta.last_heartbeat = now_ms as i64 * 1_000_000;
        store.stats = stats;
        Ok(store)
    }

    pub fn get(&self, id: u64) -> Result<&StoreInfo, Refusal> {
        self.0.get(&id).ok_or_else(|| not_found(id))
    }

    /// The lowest version any store runs, which is the cluster's; empty if none tells a version `a.b.c`.
    pub fn cluster_version(&self) -> String {
        let versions =
            self.0.values().filter(|store| !store.is_tombstone()).map(|store| store.meta.version.as_str());
        versions
            .filter_map(|v| Some((parse_version(v)?, v)))
            .min()
            .map_or_else(String::new, |(_, v)| v.to_owned())
    }
}

fn not_found(id: u64) -> Refusal {
    Refusal::unknown(format!("invalid store ID {id}, not found"))
}

fn parse_version(version: &str) -> Option<[u64; 3]> {
    let core = version.trim_start_matches('v').split(['-', '+']).next()?;
    let parts: Vec<u64> = core.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: u64, address: &str) -> Store {
        Store { id, address: address.to_owned(), version: format!("8.5.{id}"), ..Default::default() }
    }

    #[test]
    fn a_store_serves_while_it_is_heard_of() {
        let mut stores = Stores::default();
        stores.put(store(1, "a"), 1_000).unwrap();
        assert!(stores.get(1).unwrap().is_serving(20_999));
        assert!(!stores.get(1).unwrap().is_serving(21_000));
        stores.heard(StoreStats { store_id: 1, ..Default::default() }, 21_000).unwrap();
        assert!(stores.get(1).unwrap().is_serving(40_000));
        assert!(stores.heard(StoreStats { store_id: 2, ..Default::default() }, 0).is_err());
    }

    #[test]
    fn an_address_belongs_to_one_store_and_a_tombstone_stays_one() {
        let mut stores = Stores::default();
        stores.put(store(1, "a"), 0).unwrap();
        assert!(stores.put(store(2, "a"), 0).is_err());
        stores.put(store(1, "b"), 0).unwrap();
        stores.put(store(2, "a"), 0).unwrap();
        stores.0.get_mut(&1).unwrap().meta.state = StoreState::Tombstone as i32;
        assert_eq!(stores.put(store(1, "b"), 0).unwrap_err().kind, ErrorType::StoreTombstone);
        stores.put(store(3, "b"), 0).unwrap();
        assert_eq!(stores.cluster_version(), "8.5.2");
    }
}
