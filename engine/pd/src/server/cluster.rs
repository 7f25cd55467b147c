//! PD's state of the cluster: stores, regions, ids and safe points under one lock.
//! A change is on disk before its reply.
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kvproto::{
    metapb::{self, Region, Store},
    pdpb::{self, ErrorType, StoreStats},
};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;

use super::{
    clock::PdClock,
    error::{Error, Refusal, Result},
    heartbeat_streams::HeartbeatStreams,
    keyspace::Keyspaces,
    keyspace_watch::KeyspaceChanges,
    operator::Operator,
    pairs::{PairError, Pairs},
    regions::{RegionInfo, RegionTable},
    safe_point::{SafePoints, ServiceSafePoint},
    saved::{SavedRegion, SavedState},
    scatter_groups::ScatterGroups,
    state_file::{CLUSTER_STATE, DirLock, StateFile},
    stores::{StoreInfo, Stores},
    tso::TimestampOracle,
};

/// Ids are reserved on disk in windows of this size (PD `allocStep`).
const ID_WINDOW: u64 = 1000;
/// PD's default `max-replicas`.
const DEFAULT_MAX_PEERS: u32 = 3;
/// PD's `max-store-down-time`, 30 minutes.
const DEFAULT_MAX_STORE_DOWN: Duration = Duration::from_secs(1800);

pub type Answer<T> = std::result::Result<T, Refusal>;

pub struct Cluster {
    pub cluster_id: u64,
    pub tso: TimestampOracle,
    pub(super) clock: Arc<dyn PdClock>,
    file: StateFile,
    inner: Mutex<Inner>,
    _lock: DirLock,
}

/// The answer to a store heartbeat.
#[derive(Debug, Default)]
pub struct StoreStatus {
    pub cluster_version: String,
    /// `metapb::NodeState`
    pub state: i32,
}

#[derive(Default)]
pub struct Inner {
    cluster_id: u64,
    bootstrapped: bool,
    pub max_peer_count: u32,
    pub max_store_down_ms: u64,
    snapshot_recovering: bool,
    last_id: u64,
    id_bound: u64,
    pub stores: Stores,
    pub regions: RegionTable,
    pub operators: HashMap<u64, Operator>,
    pub streams: HeartbeatStreams,
    pub scattered: ScatterGroups,
    safe_points: SafePoints,
    pairs: Pairs,
    pub keyspaces: Keyspaces,
    pub keyspace_changes: KeyspaceChanges,
}

/// The answer to a query for several regions.
#[derive(Default)]
pub struct RegionsFound {
    /// For each key the id of its region.
    pub of_keys: Vec<u64>,
    /// For each key the id of the region before that of the key.
    pub before_keys: Vec<u64>,
    /// Each region that was found, once.
    pub by_id: BTreeMap<u64, RegionInfo>,
}

impl Cluster {
    /// Opens the state in `dir`, or creates a new cluster there. `cluster_id` must match an existing state.
    pub fn open(
        dir: &Path,
        cluster_id: Option<u64>,
        max_peers: Option<u32>,
        clock: Arc<dyn PdClock>,
    ) -> Result<Cluster> {
        let lock = DirLock::take(dir)?;
        let file = StateFile::new(dir, CLUSTER_STATE);
        let tso_file = StateFile::new(dir, "tso.state");
        let tso_exists = tso_file.path().exists();
        let tso = TimestampOracle::open(tso_file, clock.clone())?;
        let mut inner = match file.load()? {
            Some(_) if !tso_exists => return Err(file.corrupt("tso.state in the same directory is missing")),
            Some(payload) => Inner::restore(decode(&file, &payload)?),
            None if tso.was_used() => {
                return Err(file.corrupt("it is missing, but tso.state in the same directory was used"));
            }
            None => Inner::restore(SavedState {
                cluster_id: cluster_id.unwrap_or_else(new_cluster_id),
                ..Default::default()
            }),
        };
        if let Some(wanted) = cluster_id.filter(|wanted| *wanted != inner.cluster_id) {
            return Err(Error::ClusterId { path: dir.to_owned(), found: inner.cluster_id, wanted });
        }
        if let Some(max_peers) = max_peers {
            check_max_replicas(max_peers).map_err(|refusal| Error::Config(refusal.message))?;
            inner.max_peer_count = max_peers;
        } else if inner.max_peer_count == 0 {
            inner.max_peer_count = DEFAULT_MAX_PEERS;
        }
        if !tso_exists {
            tso.create()?;
        }
        file.save(&inner.save().encode_to_vec())?;
        Ok(Cluster { cluster_id: inner.cluster_id, tso, clock, file, inner: Mutex::new(inner), _lock: lock })
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    pub(super) fn save(&self, inner: &Inner) -> Result<()> {
        self.file.save(&inner.save().encode_to_vec())
    }

    /// Locks the state, also before the cluster is bootstrapped.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Locks the state of a bootstrapped cluster (before, PD answers NOT_BOOTSTRAPPED).
    pub(super) fn running(&self) -> Answer<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        if inner.bootstrapped {
            Ok(inner)
        } else {
            Err(Refusal::new(ErrorType::NotBootstrapped, "cluster is not bootstrapped"))
        }
    }

    pub fn is_bootstrapped(&self) -> bool {
        self.lock().bootstrapped
    }

    /// Adds the first store and the first region (PD `GrpcServer.Bootstrap`).
    pub fn bootstrap(&self, store: Store, region: Region) -> Answer<()> {
        check_first_region(&store, &region)?;
        let mut inner = self.lock();
        if inner.bootstrapped {
            return Err(Refusal::new(ErrorType::AlreadyBootstrapped, "cluster is already bootstrapped"));
        }
        inner.stores.put(store, self.now_ms())?;
        inner.put_region(RegionInfo { meta: region, ..Default::default() })?;
        inner.bootstrapped = true;
        Ok(self.save(&inner)?)
    }

    /// Allocates `count` ids; returns the last of them.
    pub fn alloc_id(&self, count: u32) -> Answer<u64> {
        self.alloc_ids(&mut self.lock(), u64::from(count.max(1)))
    }

    pub(super) fn alloc_ids(&self, inner: &mut Inner, count: u64) -> Answer<u64> {
        let last = inner.last_id + count;
        if last > inner.id_bound {
            let before = std::mem::replace(&mut inner.id_bound, last + ID_WINDOW);
            if let Err(e) = self.save(inner) {
                inner.id_bound = before;
                return Err(e.into());
            }
        }
        inner.last_id = last;
        Ok(last)
    }

    pub fn put_store(&self, store: Store) -> Answer<()> {
        let mut inner = self.running()?;
        inner.stores.put(store, self.now_ms())?;
        self.save(&inner)?;
        self.patrol(&mut inner)
    }

    pub fn store(&self, id: u64) -> Answer<StoreInfo> {
        self.running()?.stores.get(id).cloned()
    }

    pub fn all_stores(&self, exclude_tombstone: bool) -> Answer<Vec<Store>> {
        let inner = self.running()?;
        let wanted = |store: &&StoreInfo| {
            !exclude_tombstone || store.meta.state != metapb::StoreState::Tombstone as i32
        };
        Ok(inner.stores.0.values().filter(wanted).map(|store| store.meta.clone()).collect())
    }

    /// Handles a store heartbeat; returns PD's answer.
    pub fn store_heartbeat(&self, stats: StoreStats) -> Answer<StoreStatus> {
        let mut inner = self.running()?;
        let id = stats.store_id;
        if inner.stores.heard(stats, self.now_ms())? {
            self.save(&inner)?;
        }
        self.patrol(&mut inner)?;
        Ok(StoreStatus {
            cluster_version: inner.stores.cluster_version(),
            state: inner.stores.get(id)?.meta.node_state,
        })
    }

    pub fn region(&self, id: u64) -> Answer<Option<RegionInfo>> {
        Ok(self.running()?.regions.get(id).cloned())
    }

    /// Looks up regions by key, by a key in the next region, and by id. A key without a region gets id 0.
    pub fn query_regions(&self, request: &pdpb::QueryRegionRequest) -> Answer<RegionsFound> {
        let inner = self.running()?;
        let mut by_id = BTreeMap::new();
        let mut keep = |info: Option<&RegionInfo>| {
            info.map_or(0, |info| {
                by_id.insert(info.meta.id, info.clone());
                info.meta.id
            })
        };
        let of_keys = request.keys.iter().map(|key| keep(inner.regions.by_key(key))).collect();
        let before_keys = request.prev_keys.iter().map(|key| keep(inner.regions.previous(key))).collect();
        for id in &request.ids {
            keep(inner.regions.get(*id));
        }
        Ok(RegionsFound { of_keys, before_keys, by_id })
    }

    pub fn region_of_key(&self, key: &[u8]) -> Answer<Option<RegionInfo>> {
        Ok(self.running()?.regions.by_key(key).cloned())
    }

    pub fn region_before_key(&self, key: &[u8]) -> Answer<Option<RegionInfo>> {
        Ok(self.running()?.regions.previous(key).cloned())
    }

    /// Returns up to `limit` (<= 0: all) regions of `[start, end)` in key order.
    pub fn scan_regions(&self, start: &[u8], end: &[u8], limit: i32) -> Answer<Vec<pdpb::Region>> {
        let inner = self.running()?;
        Ok(inner.regions.scan(start, end, limit_of(limit)).into_iter().map(RegionInfo::to_pb).collect())
    }

    /// As [`Cluster::scan_regions`] for sorted ranges that do not overlap; returns no region twice.
    pub fn batch_scan_regions(&self, request: &pdpb::BatchScanRegionsRequest) -> Answer<Vec<pdpb::Region>> {
        check_ranges(&request.ranges)?;
        let inner = self.running()?;
        let mut found: Vec<&RegionInfo> = Vec::new();
        for range in &request.ranges {
            let regions = inner.regions.scan(&range.start_key, &range.end_key, usize::MAX);
            if request.contain_all_key_range {
                check_covered(range, &regions)?;
            }
            let last = found.last().map(|info| info.meta.id);
            found.extend(regions.into_iter().filter(|info| Some(info.meta.id) != last));
        }
        Ok(found.into_iter().take(limit_of(request.limit)).map(RegionInfo::to_pb).collect())
    }

    pub fn config(&self) -> Answer<metapb::Cluster> {
        Ok(metapb::Cluster { id: self.cluster_id, max_peer_count: self.running()?.max_peer_count })
    }

    pub fn put_config(&self, config: metapb::Cluster) -> Answer<()> {
        if config.id != self.cluster_id {
            return Err(Refusal::unknown(format!(
                "invalid cluster id {}, mismatch {}",
                config.id, self.cluster_id
            )));
        }
        self.set_max_replicas(config.max_peer_count)
    }

    pub fn set_max_replicas(&self, max_replicas: u32) -> Answer<()> {
        drop(self.running()?);
        self.configure(Some(max_replicas), None)
    }

    /// Sets the time without heartbeats after which a store's peers are
    /// replaced; works before bootstrap, too.
    pub fn set_max_store_down_time(&self, time: Duration) -> Answer<()> {
        self.configure(None, Some(time))
    }

    /// Changes the given settings, all or none.
    pub fn configure(&self, max_replicas: Option<u32>, max_store_down: Option<Duration>) -> Answer<()> {
        max_replicas.map_or(Ok(()), check_max_replicas)?;
        let down_ms = max_store_down.map(check_max_store_down).transpose()?;
        let mut inner = self.lock();
        let before = (inner.max_peer_count, inner.max_store_down_ms);
        inner.max_peer_count = max_replicas.unwrap_or(before.0);
        inner.max_store_down_ms = down_ms.unwrap_or(before.1);
        if let Err(e) = self.save(&inner) {
            (inner.max_peer_count, inner.max_store_down_ms) = before;
            return Err(e.into());
        }
        if inner.bootstrapped { self.patrol(&mut inner) } else { Ok(()) }
    }

    /// Returns whether a backup is being restored into the cluster (PD `IsSnapshotRecovering`).
    pub fn is_snapshot_recovering(&self) -> bool {
        self.lock().snapshot_recovering
    }

    pub fn mark_snapshot_recovering(&self, marked: bool) -> Answer<()> {
        let mut inner = self.lock();
        inner.snapshot_recovering = marked;
        Ok(self.save(&inner)?)
    }

    pub fn gc_safe_point(&self) -> Answer<u64> {
        Ok(self.running()?.safe_points.gc)
    }

    pub fn update_gc_safe_point(&self, safe_point: u64) -> Answer<u64> {
        let mut inner = self.running()?;
        let now = inner.safe_points.advance(safe_point);
        self.save(&inner)?;
        Ok(now)
    }

    /// Returns the lowest service safe point, and the time in seconds of this reading.
    pub fn update_service_safe_point(
        &self,
        id: &str,
        ttl_s: i64,
        safe_point: u64,
    ) -> Answer<(ServiceSafePoint, i64)> {
        let mut inner = self.running()?;
        let now_s = (self.now_ms() / 1000) as i64;
        let lowest = inner.safe_points.update_service(id, ttl_s, safe_point, now_s)?;
        self.save(&inner)?;
        Ok((lowest, now_s))
    }

    /// Returns all safe points, and the time in seconds of this reading.
    pub fn safe_points(&self) -> Answer<(SafePoints, i64)> {
        let safe_points = self.running()?.safe_points.clone();
        Ok((safe_points, (self.now_ms() / 1000) as i64))
    }

    /// Reads the pairs that clients keep in etcd, also before the cluster is bootstrapped.
    pub fn read_pairs<T>(&self, read: impl FnOnce(&Pairs) -> T) -> T {
        read(&self.lock().pairs)
    }

    /// Changes the pairs that clients keep in etcd, and saves them unless `change` refuses.
    pub fn change_pairs<T>(
        &self,
        change: impl FnOnce(&mut Pairs) -> std::result::Result<T, PairError>,
    ) -> Result<std::result::Result<T, PairError>> {
        let mut inner = self.lock();
        let changed = change(&mut inner.pairs);
        if changed.is_ok() {
            self.save(&inner)?;
        }
        Ok(changed)
    }
}

impl Inner {
    fn restore(saved: SavedState) -> Inner {
        let mut inner = Inner {
            cluster_id: saved.cluster_id,
            bootstrapped: saved.bootstrapped,
            max_peer_count: saved.max_peer_count,
            last_id: saved.id_bound,
            id_bound: saved.id_bound,
            safe_points: saved.safe_points.unwrap_or_default(),
            pairs: saved.pairs.unwrap_or_default(),
            keyspaces: Keyspaces::restore(saved.keyspaces, saved.last_keyspace_id),
            max_store_down_ms: match saved.max_store_down_ms {
                0 => DEFAULT_MAX_STORE_DOWN.as_millis() as u64,
                ms => ms,
            },
            snapshot_recovering: saved.snapshot_recovering,
            ..Default::default()
        };
        let store = |meta: Store| (meta.id, StoreInfo::restored(meta));
        inner.stores = Stores(saved.stores.into_iter().map(store).collect());
        for SavedRegion { meta, leader } in saved.regions {
            // The regions were saved together, so none is stale.
            let _ = inner.regions.put(RegionInfo {
                meta: meta.unwrap_or_default(),
                leader,
                ..Default::default()
            });
        }
        inner
    }

    fn save(&self) -> SavedState {
        let (keyspaces, last_keyspace_id) = self.keyspaces.save();
        let region = |info: &RegionInfo| SavedRegion { meta: Some(info.meta.clone()), leader: info.leader };
        SavedState {
            cluster_id: self.cluster_id,
            bootstrapped: self.bootstrapped,
            max_peer_count: self.max_peer_count,
            id_bound: self.id_bound,
            stores: self.stores.0.values().map(|store| store.meta.clone()).collect(),
            regions: self.regions.iter().map(region).collect(),
            safe_points: Some(self.safe_points.clone()),
            max_store_down_ms: self.max_store_down_ms,
            snapshot_recovering: self.snapshot_recovering,
            pairs: Some(self.pairs.clone()),
            keyspaces,
            last_keyspace_id,
        }
    }

    pub fn put_region(&mut self, info: RegionInfo) -> Answer<bool> {
        self.regions.put(info).map_err(|stale| Refusal::unknown(stale.to_string()))
    }

    pub fn peer_counts(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for peer in self.regions.iter().flat_map(|info| &info.meta.peers) {
            *counts.entry(peer.store_id).or_default() += 1;
        }
        counts
    }
}

/// Refuses 0, and more replicas than a cluster can have stores. PD accepts any number.
fn check_max_replicas(max_replicas: u32) -> Answer<()> {
    const MAX: u32 = 99;
    if (1..=MAX).contains(&max_replicas) {
        return Ok(());
    }
    let message = format!("max-replicas: expected 1 to {MAX}, found {max_replicas}; give e.g. 3");
    Err(Refusal::new(ErrorType::InvalidValue, message))
}

fn check_max_store_down(time: Duration) -> Answer<u64> {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if ms > 0 {
        return Ok(ms);
    }
    let message = "max-store-down-time: expected a time above 0, found 0; give e.g. 30m";
    Err(Refusal::new(ErrorType::InvalidValue, message))
}

fn decode(file: &StateFile, payload: &[u8]) -> Result<SavedState> {
    SavedState::decode(payload).map_err(|e| file.corrupt(format!("its payload cannot be decoded: {e}")))
}

/// Builds an id from seconds and random bits, as tikv/pd `server.initOrGetClusterID`.
fn new_cluster_id() -> u64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    (seconds << 32) + u64::from(rand::random::<u32>())
}

fn limit_of(limit: i32) -> usize {
    usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)
}

fn check_first_region(store: &Store, region: &Region) -> Answer<()> {
    let whole = region.start_key.is_empty() && region.end_key.is_empty();
    let peer_ok = matches!(region.peers.as_slice(), [peer] if peer.store_id == store.id && peer.id != 0);
    if region.id == 0 || !whole || !peer_ok {
        let message = format!(
            "invalid bootstrap: the first region must have an id, cover all keys, and have one peer on store {}; got {region:?}",
            store.id
        );
        return Err(Refusal::unknown(message));
    }
    Ok(())
}

fn check_ranges(ranges: &[pdpb::KeyRange]) -> Answer<()> {
    let apart =
        |pair: &[pdpb::KeyRange]| matches!(pair, [a, b] if !a.end_key.is_empty() && a.end_key <= b.start_key);
    let sorted = ranges.windows(2).all(apart);
    let right_way = ranges.iter().all(|range| range.end_key.is_empty() || range.start_key < range.end_key);
    if sorted && right_way {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorType::InvalidValue,
        "ranges must be sorted and not overlap, each start below its end",
    ))
}

/// Checks that every key of the range has a region.
fn check_covered(range: &pdpb::KeyRange, regions: &[&RegionInfo]) -> Answer<()> {
    let mut next: Option<&[u8]> = Some(&range.start_key);
    for info in regions {
        match next {
            Some(from) if info.meta.start_key.as_slice() <= from => {}
            _ => break,
        }
        next = Some(&info.meta.end_key).filter(|end| !end.is_empty()).map(Vec::as_slice);
    }
    let reached = next.is_none_or(|from| !range.end_key.is_empty() && from >= range.end_key.as_slice());
    if reached && !regions.is_empty() {
        return Ok(());
    }
    let message = "found regions do not contain all the key range";
    Err(Refusal::new(ErrorType::RegionsNotContainAllKeyRange, message))
}

#[cfg(test)]
mod tests;
