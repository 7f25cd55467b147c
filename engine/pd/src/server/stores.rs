//! The stores of the cluster and their last heartbeats (tikv/pd `core.StoresInfo`).
use std::collections::BTreeMap;

use kvproto::{
    metapb::{NodeState, Store, StoreLabel, StoreState},
    pdpb::{ErrorType, StoreStats},
};
use semver::Version;

use super::error::Refusal;

/// A store silent for longer gets no new peers (PD `storeDisconnectDuration`).
const DISCONNECTED_AFTER_MS: u64 = 20_000;
/// Interval at which the time of a store's last heartbeat is written to disk (PD `storePersistInterval`).
const PERSIST_HEARTBEAT_MS: u64 = 300_000;
/// The version of a store that reports none (PD `versioninfo.Base`).
const BASE_VERSION: Version = Version::new(1, 0, 0);

#[derive(Clone, Debug, Default)]
pub struct StoreInfo {
    pub meta: Store,
    pub stats: StoreStats,
    /// In the clock's milliseconds; 0 if PD has had no heartbeat since it started.
    pub heard_ms: u64,
    /// The last heartbeat that is on disk, in milliseconds.
    pub persisted_ms: u64,
}

impl StoreInfo {
    /// Restores a saved store: its last heartbeat is known, but it has sent none since PD started.
    pub fn restored(meta: Store) -> StoreInfo {
        let persisted_ms = last_heartbeat_ms(&meta);
        StoreInfo { meta, persisted_ms, ..Default::default() }
    }

    /// Returns whether the store is Up and sent a heartbeat in the last 20 seconds.
    pub fn is_serving(&self, now_ms: u64) -> bool {
        self.is_up() && !self.is_disconnected(now_ms)
    }

    pub fn is_up(&self) -> bool {
        self.meta.state == StoreState::Up as i32
    }

    pub fn is_offline(&self) -> bool {
        self.meta.state == StoreState::Offline as i32
    }

    pub fn is_tombstone(&self) -> bool {
        self.meta.state == StoreState::Tombstone as i32
    }

    /// Returns whether the store is being taken out or is gone: its peers must move.
    pub fn is_leaving(&self) -> bool {
        !self.is_up()
    }

    pub fn is_disconnected(&self, now_ms: u64) -> bool {
        self.heard_ms == 0 || now_ms.saturating_sub(self.heard_ms) >= DISCONNECTED_AFTER_MS
    }

    /// Returns the milliseconds since the store's last heartbeat, across restarts of PD (PD
    /// `StoreInfo.DownTime`).
    pub fn down_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms.max(last_heartbeat_ms(&self.meta)))
    }

    /// Changes the state, and the node state with it (PD `core.SetStoreState`).
    pub fn set_state(&mut self, state: StoreState) {
        self.meta.state = state as i32;
        self.meta.node_state = match state {
            StoreState::Up => NodeState::Serving,
            StoreState::Offline => NodeState::Removing,
            StoreState::Tombstone => NodeState::Removed,
        } as i32;
    }
}

fn last_heartbeat_ms(meta: &Store) -> u64 {
    u64::try_from(meta.last_heartbeat / 1_000_000).unwrap_or(0)
}

#[derive(Default)]
pub struct Stores(pub BTreeMap<u64, StoreInfo>);

impl Stores {
    /// Adds a store or updates its own description (PD `RaftCluster.PutMetaStore`).
    pub fn put(&mut self, store: Store, now_ms: u64) -> Result<(), Refusal> {
        if store.id == 0 || store.address.is_empty() {
            return Err(Refusal::unknown(format!(
                "invalid put store {store:?}: it needs an id and an address"
            )));
        }
        if self.0.get(&store.id).is_some_and(StoreInfo::is_tombstone) {
            return Err(tombstone());
        }
        self.check_version(&store)?;
        self.check_addresses(&store)?;
        let known = self.0.entry(store.id).or_insert_with(|| {
            let mut new = StoreInfo::default();
            new.set_state(StoreState::Up);
            new
        });
        // PD decides a store's state and the time of its last heartbeat.
        known.meta = Store {
            state: known.meta.state,
            node_state: known.meta.node_state,
            physically_destroyed: known.meta.physically_destroyed,
            last_heartbeat: known.meta.last_heartbeat,
            labels: merge_labels(std::mem::take(&mut known.meta.labels), &store.labels),
            ..store
        };
        known.heard_ms = now_ms;
        Ok(())
    }

    fn check_version(&self, store: &Store) -> Result<(), Refusal> {
        let version = parse_version(&store.version)
            .map_err(|e| Refusal::unknown(format!("invalid put store {store:?}, error: {e}")))?;
        let Some(cluster) = self.lowest_version() else { return Ok(()) };
        if is_compatible(&cluster, &version) {
            return Ok(());
        }
        Err(Refusal::unknown(format!("version should compatible with version  {cluster}, got {version}")))
    }

    /// Checks that no other store, except a removed one, uses the address.
    fn check_addresses(&self, store: &Store) -> Result<(), Refusal> {
        let gone = |other: &&StoreInfo| other.is_tombstone() || other.meta.physically_destroyed;
        for other in self.0.values().filter(|other| other.meta.id != store.id && !gone(other)) {
            let taken = |addr: &str| {
                !addr.is_empty() && (addr == other.meta.address || addr == other.meta.peer_address)
            };
            let what = match (taken(&store.address), taken(&store.peer_address)) {
                (true, _) => "address",
                (_, true) => "peer address",
                _ => continue,
            };
            let message =
                format!("duplicated store {what}: {store:?}, already registered by {:?}", other.meta);
            return Err(Refusal::unknown(message));
        }
        Ok(())
    }

    /// Handles a store heartbeat. Returns `true` if the time of the last one on disk is old.
    pub fn heard(&mut self, stats: StoreStats, now_ms: u64) -> Result<bool, Refusal> {
        let id = stats.store_id;
        let missing = || Refusal::unknown(format!("store {id} not found"));
        let store = self.0.get_mut(&id).ok_or_else(missing)?;
        if store.is_tombstone() {
            return Err(tombstone());
        }
        store.heard_ms = now_ms;
        store.meta.last_heartbeat = i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        store.stats = stats;
        let stale = now_ms.saturating_sub(store.persisted_ms) >= PERSIST_HEARTBEAT_MS;
        if stale {
            store.persisted_ms = now_ms;
        }
        Ok(stale)
    }

    pub fn get(&self, id: u64) -> Result<&StoreInfo, Refusal> {
        self.0.get(&id).ok_or_else(|| Refusal::unknown(format!("invalid store ID {id}, not found")))
    }

    fn lowest_version(&self) -> Option<Version> {
        let stores = self.0.values().filter(|store| !store.is_tombstone());
        stores.filter_map(|store| parse_version(&store.meta.version).ok()).min()
    }

    /// Returns the lowest version of any store, which is the cluster's; 0.0.0 without stores.
    pub fn cluster_version(&self) -> String {
        self.lowest_version().unwrap_or(Version::new(0, 0, 0)).to_string()
    }
}

fn tombstone() -> Refusal {
    Refusal::new(ErrorType::StoreTombstone, "store is tombstone")
}

/// PD `versioninfo.ParseVersion`.
fn parse_version(version: &str) -> Result<Version, semver::Error> {
    match version.strip_prefix('v').unwrap_or(version) {
        "" => Ok(BASE_VERSION),
        version => Version::parse(version),
    }
}

/// Returns whether a store of version `b` may join a cluster of version `a` (PD `versioninfo.IsCompatible`).
fn is_compatible(a: &Version, b: &Version) -> bool {
    a < b || (a.major, a.minor) == (b.major, b.minor)
}

/// New labels win; a label with an empty value is removed (PD `core.MergeLabels`).
fn merge_labels(mut labels: Vec<StoreLabel>, new: &[StoreLabel]) -> Vec<StoreLabel> {
    for label in new {
        match labels.iter_mut().find(|old| old.key.eq_ignore_ascii_case(&label.key)) {
            Some(old) => old.value.clone_from(&label.value),
            None => labels.push(label.clone()),
        }
    }
    labels.retain(|label| !label.value.is_empty());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: u64, address: &str) -> Store {
        Store { id, address: address.to_owned(), version: format!("8.5.{id}"), ..Default::default() }
    }

    #[test]
    fn a_store_serves_while_it_sends_heartbeats() {
        let mut stores = Stores::default();
        stores.put(store(1, "a"), 1_000).unwrap();
        assert!(stores.get(1).unwrap().is_serving(20_999));
        assert!(!stores.get(1).unwrap().is_serving(21_000));
        stores.heard(StoreStats { store_id: 1, ..Default::default() }, 21_000).unwrap();
        assert!(stores.get(1).unwrap().is_serving(40_000));
        assert!(stores.heard(StoreStats { store_id: 2, ..Default::default() }, 0).is_err());
    }

    #[test]
    fn the_time_of_the_last_heartbeat_survives_a_restart() {
        let mut stores = Stores::default();
        stores.put(store(1, "a"), 1_000).unwrap();
        assert_eq!(stores.heard(StoreStats { store_id: 1, ..Default::default() }, 400_000), Ok(true));
        assert_eq!(stores.heard(StoreStats { store_id: 1, ..Default::default() }, 410_000), Ok(false));
        let restored = StoreInfo::restored(stores.get(1).unwrap().meta.clone());
        assert!(!restored.is_serving(410_000), "no heartbeat since the start");
        assert_eq!(restored.down_ms(500_000), 90_000);
    }

    #[test]
    fn a_store_with_an_old_or_no_version_is_refused() {
        let mut stores = Stores::default();
        stores.put(store(5, "a"), 0).unwrap();
        let versioned = |version: &str| Store { version: version.to_owned(), ..store(6, "b") };
        let error = stores.put(versioned("7.5.0"), 0).unwrap_err().message;
        assert!(error.contains("version should compatible with version  8.5.5, got 7.5.0"), "{error}");
        assert!(stores.put(versioned("latest"), 0).unwrap_err().message.contains("invalid put store"));
        stores.put(versioned("v8.5.0"), 0).unwrap();
        stores.put(versioned("9.0.0-beta.2"), 0).unwrap();
        assert_eq!(stores.cluster_version(), "8.5.5");
    }

    #[test]
    fn labels_are_merged_and_the_state_is_kept() {
        let label = |key: &str, value: &str| StoreLabel { key: key.to_owned(), value: value.to_owned() };
        let mut stores = Stores::default();
        stores
            .put(Store { labels: vec![label("zone", "z1"), label("host", "h1")], ..store(1, "a") }, 0)
            .unwrap();
        stores.0.get_mut(&1).unwrap().set_state(StoreState::Offline);
        let again = Store { labels: vec![label("Zone", "z2"), label("host", "")], ..store(1, "a") };
        stores.put(again, 0).unwrap();
        let meta = &stores.get(1).unwrap().meta;
        assert_eq!(meta.labels, [label("zone", "z2")]);
        assert_eq!((meta.state(), meta.node_state()), (StoreState::Offline, NodeState::Removing));
    }

    #[test]
    fn an_address_belongs_to_one_store() {
        let mut stores = Stores::default();
        stores.put(store(1, "a"), 0).unwrap();
        assert!(stores.put(store(2, "a"), 0).is_err());
        stores.put(store(1, "b"), 0).unwrap();
        stores.put(store(2, "a"), 0).unwrap();
        stores.0.get_mut(&1).unwrap().set_state(StoreState::Tombstone);
        assert_eq!(stores.put(store(1, "b"), 0).unwrap_err().kind, ErrorType::StoreTombstone);
        stores.put(store(3, "b"), 0).unwrap();
        assert_eq!(stores.cluster_version(), "8.5.2");
    }
}
