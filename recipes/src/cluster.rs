//! The embedded cluster: a placement driver and a few stores in this process, with separate threads.
mod regions;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use api_version::KvFormat;
use futures::future::BoxFuture;
use kvproto::{
    deadlock::WaitForEntry,
    debugpb,
    kvrpcpb::{self, PrewriteRequest},
};
use pd::{
    client::PdClient,
    server::{PdConfig, PdHandle, PdServer},
};
use raftstore::{RaftRouter, debug::RegionMeta, store::CasualMessage};
use security::{SecurityConfig, SecurityManager};
use server::{
    PluginRegistry, StartOptions, TikvServer,
    config::{ReadableDuration, ReadableSize, TikvConfig},
    net_faults::NetFaults,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracepoints::{Probe, probe::RaftProbe};

use crate::{
    count_keys,
    directive::{Lease, Who},
    rows::Rows,
    rpc::{Replica, mutation},
    temporary,
};

/// Upper bound of every wait, in real time.
const BOUND: Duration = Duration::from_secs(30);
const LEADER_STOPPED: &str =
    "expected the leader's store to run, found it stopped: write `start` before this directive";

/// Properties of an embedded cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Number of stores.
    pub stores: usize,
    /// The leases of the leaders.
    pub lease: Lease,
    /// Whether the stores truncate the Raft log by themselves.
    pub log_gc: bool,
    /// Encoding of the stores' keys and values.
    pub api: KvFormat,
    /// Certificates of PD and the stores; the default: no TLS.
    pub security: SecurityConfig,
    /// Directory of the data; None: a new temporary directory, removed at the end.
    pub data_dir: Option<PathBuf>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            stores: 3,
            lease: Lease::On,
            log_gc: false,
            api: KvFormat::V1,
            security: SecurityConfig::default(),
            data_dir: None,
        }
    }
}

struct Slot {
    config: TikvConfig,
    store_id: u64,
    server: Option<server::ServerHandle>,
}

/// A running cluster. Dropping it stops it.
pub struct Cluster {
    slots: Vec<Slot>,
    faults: NetFaults,
    pd: PdHandle,
    runtime: Runtime,
    api: KvFormat,
    lease: Lease,
    /// Directory of the data.
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts PD and all stores; returns when every peer of the first region is ready.
    ///
    /// # Errors
    /// If the data directory cannot be used, or PD or a store does not start in time.
    pub fn start(config: ClusterConfig) -> Result<Self> {
        let (dir, temporary) = data_dir(config.data_dir.as_deref())?;
        let pd_config = PdConfig {
            data_dir: dir.join("pd"),
            addr: ([127, 0, 0, 1], 0).into(),
            advertise_addr: None,
            cluster_id: None,
            max_replicas: Some(config.stores.min(3) as u32),
            clock: std::sync::Arc::new(pd::server::EngineWallClock),
        };
        let security = SecurityManager::new(config.security.clone())?;
        let pd = PdServer::start_secure(pd_config, &security)
            .context("the embedded placement driver did not start")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cluster")
            .enable_all()
            .build()
            .context("cannot start the cluster's runtime")?;
        let mut cluster = Self {
            slots: Vec::new(),
            faults: NetFaults::default(),
            pd,
            runtime,
            api: config.api,
            lease: config.lease,
            dir,
            _temporary: temporary,
        };
        for n in 1..=config.stores {
            let store = store_config(&config, &cluster.dir, n, &cluster.pd_endpoint());
            cluster.slots.push(Slot { config: store, store_id: 0, server: None });
            cluster.start_slot(n - 1)?;
        }
        cluster.wait_for_replicas(config.stores.min(3))?;
        Ok(cluster)
    }

    /// Address of PD as `HOST:PORT`.
    pub fn pd_endpoint(&self) -> String {
        self.pd.addr().to_string()
    }

    /// Encoding of the stores' keys and values.
    pub fn api(&self) -> KvFormat {
        self.api
    }

    /// Directory of the data; it contains `pd`, `s1`, `s2` ...
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of stores as text, such as `3 stores`.
    pub fn summary(&self) -> String {
        match self.slots.len() {
            1 => "1 store".into(),
            n => format!("{n} stores"),
        }
    }

    /// Handles of the running stores.
    pub fn servers(&self) -> impl Iterator<Item = &server::ServerHandle> {
        self.slots.iter().filter_map(|s| s.server.as_ref())
    }

    fn start_slot(&mut self, i: usize) -> Result<()> {
        let mut plugins = PluginRegistry::default();
        plugins.register(count_keys::declared_plugin()).context("cannot register the plugin count_keys")?;
        let options = StartOptions { faults: self.faults.clone(), plugins, ..StartOptions::default() };
        let handle = TikvServer::start(self.slots[i].config.clone(), options)
            .with_context(|| format!("store {} did not start", i + 1))?;
        self.slots[i].store_id = handle.store_id();
        self.slots[i].server = Some(handle);
        Ok(())
    }

    fn routers(&self) -> Vec<RaftRouter> {
        self.servers().map(|s| s.router().clone()).collect()
    }

    /// The state that each running store's peer of the region reports.
    fn metas(&self, region_id: u64) -> Vec<RegionMeta> {
        let routers = self.routers();
        let ask = |router: RaftRouter| async move {
            // A peer that is held at a gate does not answer.
            tokio::time::timeout(Duration::from_millis(500), router.query_region_meta(region_id))
                .await
                .ok()
                .flatten()
        };
        let all = routers.into_iter().map(ask);
        self.runtime.block_on(futures::future::join_all(all)).into_iter().flatten().collect()
    }

    /// The region of a user key, transactional or raw: scenarios have one region per key range.
    fn region_of(&self, key: &[u8]) -> Result<u64> {
        let routers = self.routers();
        let ids: Vec<u64> = routers.first().map(RaftRouter::region_ids).unwrap_or_default();
        let encoded = txn_types::Key::from_raw(key).into_encoded();
        for id in ids {
            if let Some(meta) = self.metas(id).into_iter().next() {
                let (start, end) = (&meta.region.start_key, &meta.region.end_key);
                if *start <= encoded && (end.is_empty() || encoded < *end) {
                    return Ok(id);
                }
            }
        }
        bail!("no store has a region that contains the key {}", keys::escape(key))
    }

    /// The store that leads the key's region: of the peers that claim to lead, the one of the highest term.
    pub fn leader_of(&self, key: &[u8]) -> Result<u64> {
        Ok(self.leader_meta_of(key)?.raft.store)
    }

    /// The state of the peer that leads the key's region.
    fn leader_meta_of(&self, key: &[u8]) -> Result<RegionMeta> {
        let region = self.region_of(key)?;
        self.wait("no store leads the region", |c| c.leader_meta(region))
    }

    /// As [`Cluster::leader_of`], but asks PD if the leader does not answer because it is held at a gate.
    fn last_leader(&self, region: u64) -> Result<u64> {
        let known = || self.pd.region_leader(region).map(|p| p.store_id);
        self.leader(region).or_else(known).context("no store leads the region")
    }

    fn leader(&self, region: u64) -> Option<u64> {
        self.leader_meta(region).map(|m| m.raft.store)
    }

    fn leader_meta(&self, region: u64) -> Option<RegionMeta> {
        newest_leader(&self.metas(region)).cloned()
    }

    /// Polls `done` until it returns a value. After [`BOUND`], fails with `failure` as the error's begin.
    pub(crate) fn wait<T>(&self, failure: &str, done: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(found) = done(self) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{failure} within {BOUND:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_replicas(&self, replicas: usize) -> Result<()> {
        let region = self.region_of(b"")?;
        self.wait("the first region did not get all of its peers", |c| {
            let metas = c.metas(region);
            let leader = metas.iter().find(|m| m.raft.role == "Leader")?;
            let all = leader.region.peers.len() == replicas && metas.len() >= replicas;
            let level = metas
                .iter()
                .all(|m| m.raft.applied == leader.raft.applied && m.raft.leader == leader.raft.peer);
            (all && level).then_some(())
        })
    }

    /// Asks every peer to publish its Raft state, so that a session shows all stores from its first step.
    pub fn publish_raft_state(&self) {
        for router in self.routers() {
            for region in router.region_ids() {
                tracepoints::session::watch_region(region);
                // A store that shuts down does not take messages.
                let _ = router.send_casual_msg(region, CasualMessage::PublishProbe);
            }
        }
        // A peer handles messages in order: after its answer the state is published.
        if let Some(router) = self.routers().first() {
            router.region_ids().into_iter().for_each(|region| drop(self.metas(region)));
        }
    }

    /// Terms of all peers, to detect an election.
    pub fn terms(&self) -> Vec<u64> {
        self.region_of(b"").map(|r| self.metas(r).iter().map(|m| m.raft.term).collect()).unwrap_or_default()
    }

    fn slot_of(&self, who: Who) -> Result<usize> {
        let region = self.region_of(b"")?;
        let store = match who {
            Who::Store(id) => id,
            Who::Leader => self.last_leader(region)?,
            Who::Follower => {
                let leader = self.leader(region);
                let running = self.slots.iter().filter(|s| s.server.is_some() && Some(s.store_id) != leader);
                match running.map(|s| s.store_id).min() {
                    Some(id) => id,
                    None => self.slots.iter().find(|s| s.server.is_none()).map_or(0, |s| s.store_id),
                }
            }
        };
        let found = self.slots.iter().position(|s| s.store_id == store);
        found.with_context(|| {
            format!("there is no store s{store}; the stores are s1 to s{}", self.slots.len())
        })
    }

    /// Stops a store as a crash does: nothing is flushed.
    pub fn stop(&mut self, who: Who) -> Result<String> {
        let i = self.slot_of(who)?;
        let Some(handle) = self.slots[i].server.take() else {
            bail!("expected a running store, found it stopped: write `start` before this directive")
        };
        let (store, regions) = (handle.store_id(), handle.router().region_ids());
        handle.kill();
        // A stopped store cannot publish that its peers have stopped.
        for region in regions {
            tracepoints::probe_region!(region, || Probe::Raft(RaftProbe::stopped(store, region)));
        }
        Ok("stopped".into())
    }

    /// Starts the stopped store; `follower` and `leader` mean the one that was stopped.
    pub fn start_store(&mut self, who: Who) -> Result<String> {
        let i = match who {
            Who::Store(_) => self.slot_of(who)?,
            _ => self
                .slots
                .iter()
                .position(|s| s.server.is_none())
                .context("expected a stopped store, found none: write `stop` before this directive")?,
        };
        if self.slots[i].server.is_some() {
            bail!("expected a stopped store, found it running: write `stop` before this directive");
        }
        self.start_slot(i)?;
        Ok("started".into())
    }

    /// Moves the leadership of the region to a store, and waits until it leads.
    pub fn transfer_leader(&mut self, who: Who) -> Result<String> {
        let to = self.slots[self.slot_of(who)?].store_id;
        let meta = self.leader_meta_of(b"")?;
        let (region, from) = (meta.region.id, meta.raft.store);
        let peer = meta
            .region
            .peers
            .iter()
            .find(|p| p.store_id == to)
            .cloned()
            .context("the store has no peer of the region")?;
        let router = self.routers().into_iter().find(|r| r.store_id() == from).context(LEADER_STOPPED)?;
        router.transfer_leader(region, peer)?;
        self.wait("the leadership did not move", |c| (c.leader(region) == Some(to)).then_some(()))?;
        Ok("transferred".into())
    }

    /// Cuts a store off from all others.
    pub fn partition(&mut self, who: Who) -> Result<String> {
        let store = self.slots[self.slot_of(who)?].store_id;
        let others: Vec<u64> = self.slots.iter().map(|s| s.store_id).collect();
        self.faults.isolate(store, &others);
        Ok("cut off".into())
    }

    /// Ends all partitions.
    pub fn heal(&mut self) -> Result<String> {
        self.faults.heal_all();
        Ok("healed".into())
    }

    /// Waits until a store other than `old` leads the region.
    pub fn wait_for_leader_other_than(&mut self, old: u64) -> Result<String> {
        let region = self.region_of(b"")?;
        self.wait("no other store became leader", |c| c.leader(region).filter(|l| *l != old))?;
        Ok("another store leads".into())
    }

    /// Waits until every running store has applied all of its leader's entries.
    pub fn caught_up(&mut self) -> Result<String> {
        self.settle()?;
        Ok("all stores have applied what the leader has".into())
    }

    /// Waits until every running store has persisted and applied the last entry of each region's leader.
    pub fn settle(&self) -> Result<()> {
        let mut regions: Vec<u64> = self.routers().iter().flat_map(RaftRouter::region_ids).collect();
        regions.sort_unstable();
        regions.dedup();
        self.wait("the stores did not catch up with the leader", |c| {
            regions.iter().all(|region| c.is_settled(*region)).then_some(())
        })
    }

    fn is_settled(&self, region: u64) -> bool {
        let metas = self.metas(region);
        let Some(last) = newest_leader(&metas).map(|m| m.raft.last_index) else { return false };
        metas.iter().all(|m| m.raft.applied == last && m.raft.persisted == last)
    }

    /// Makes the leader truncate its log, and waits until it has.
    pub fn compact_log(&mut self) -> Result<String> {
        let region = self.region_of(b"")?;
        let leader = self.leader_of(b"")?;
        let router = self.routers().into_iter().find(|r| r.store_id() == leader).context(LEADER_STOPPED)?;
        let first =
            |c: &Self| c.metas(region).iter().find(|m| m.raft.store == leader).map(|m| m.raft.first_index);
        let before = first(self);
        router.send_casual_msg(region, CasualMessage::ForceCompactRaftLogs)?;
        self.wait("the leader did not truncate its log", |c| (first(c) > before).then_some(()))?;
        Ok("cut".into())
    }

    /// Moves PD's GC safe point, and compacts the commit records of all running stores once they have it.
    ///
    /// # Errors
    /// If PD or a store does not answer in time.
    pub fn collect_garbage(&mut self, safe_point: u64) -> Result<()> {
        self.move_safe_point(safe_point)?;
        // The first compaction leaves a delete that has older versions, the second finds it alone.
        for _ in 0..2 {
            for server in self.servers() {
                let engines = server.engines().context("the store is stopped")?;
                engines.kv.compact_range_cf(engine_rocks::CF_WRITE, None, None)?;
            }
            self.wait("the GC worker did not end", |c| {
                c.servers().all(|s| s.gc_state().is_none_or(|(_, pending)| pending == 0)).then_some(())
            })?;
        }
        Ok(())
    }

    /// Moves PD's GC safe point, and waits until all running stores have it.
    fn move_safe_point(&self, safe_point: u64) -> Result<()> {
        let pd = self.pd_endpoint();
        self.runtime
            .block_on(async { PdClient::connect(&[pd]).await?.update_gc_safe_point(safe_point).await })?;
        self.wait("a store did not get the safe point", |c| {
            c.servers().all(|s| s.gc_state().is_none_or(|(ts, _)| ts >= safe_point)).then_some(())
        })
    }

    /// Moves PD's GC safe point, and returns the call that compacts the commit records of the store that leads the
    /// key's region.
    ///
    /// # Errors
    /// If PD or a store does not answer in time, or if the store is stopped.
    pub fn collect_at_leader(
        &self,
        key: &[u8],
        safe_point: u64,
    ) -> Result<BoxFuture<'static, Result<String>>> {
        self.move_safe_point(safe_point)?;
        let leader = self.leader_of(key)?;
        let server = self.servers().find(|s| s.store_id() == leader).context("the store is stopped")?;
        let kv = server.engines().context("the store is stopped")?.kv.clone();
        let pending = server.gc_pending().context("the store is stopped")?;
        Ok(Box::pin(async move {
            // The first compaction leaves a delete that has older versions, the second finds it alone.
            for _ in 0..2 {
                let kv = kv.clone();
                let compact = move || kv.compact_range_cf(engine_rocks::CF_WRITE, None, None);
                tokio::task::spawn_blocking(compact).await??;
                // Without a bound of its own: a person may hold the worker. The runner bounds the operation.
                while pending() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Ok("collected".into())
        }))
    }

    /// Reads the key's rows with the debug service of `store`, or of the key's leader if None. The service
    /// reads a snapshot of RocksDB and asks no peer, so the rows can be read while the peer is held.
    pub fn rows(&self, key: &[u8], store: Option<u64>) -> Result<Rows> {
        let store = store.map_or_else(|| self.leader_of(key), Ok)?;
        let addr = self.addr(store)?;
        let from = keys::data_key(txn_types::Key::from_raw(key).as_encoded());
        let mut to = from.clone();
        to.push(0xff);
        self.runtime.block_on(async move {
            let mut client = debugpb::debug_client::DebugClient::connect(format!("http://{addr}")).await?;
            let request = debugpb::ScanMvccRequest { from_key: from, to_key: to, limit: 1 };
            let mut replies = client.scan_mvcc(request).await?.into_inner();
            Ok(replies.message().await?.map(Rows::from).unwrap_or_default())
        })
    }

    /// Returns the leader of the key's region.
    ///
    /// # Errors
    /// If no store leads the region.
    pub fn leader_replica(&self, key: &[u8]) -> Result<Replica> {
        let meta = self.leader_meta_of(key)?;
        self.replica(&meta, meta.raft.store)
    }

    fn replica(&self, meta: &RegionMeta, store: u64) -> Result<Replica> {
        let context = kvrpcpb::Context {
            region_id: meta.region.id,
            region_epoch: meta.region.region_epoch,
            peer: meta.region.peers.iter().find(|p| p.store_id == store).cloned(),
            ..Default::default()
        };
        Ok(Replica { addr: self.addr(store)?, context })
    }

    /// Returns the waits for locks on all running stores.
    pub fn lock_waits(&self) -> Vec<WaitForEntry> {
        let storages = self.slots.iter().filter_map(|slot| slot.server.as_ref()?.storage());
        self.runtime.block_on(async {
            let mut waits = Vec::new();
            for storage in storages {
                waits.extend(storage.dump_wait_for_entries().await);
            }
            waits
        })
    }

    fn addr(&self, store: u64) -> Result<String> {
        let slot = self.slots.iter().find(|s| s.store_id == store);
        let Some(server) = slot.and_then(|s| s.server.as_ref()) else {
            bail!("expected store s{store} to run, found it stopped: write `start` before this directive")
        };
        Ok(server.addr().to_string())
    }

    /// Builds the context that a client sends with a request for this key: region, epoch and leader.
    pub fn context(&self, key: &[u8]) -> Result<kvrpcpb::Context> {
        Ok(self.leader_replica(key)?.context)
    }

    /// Finds the running follower of the key's region with the smallest store id.
    pub fn follower_of(&self, key: &[u8]) -> Result<Replica> {
        let meta = self.leader_meta_of(key)?;
        let others = meta.region.peers.iter().map(|p| p.store_id).filter(|store| *store != meta.raft.store);
        let running = others.filter(|store| self.addr(*store).is_ok());
        let follower = running
            .min()
            .context("expected a running follower, found none: write `start` before this directive")?;
        self.replica(&meta, follower)
    }

    /// Commits one key of a transaction.
    pub fn commit(&self, key: &[u8], start_ts: u64, commit_ts: u64) -> Result<()> {
        let leader = self.leader_replica(key)?;
        self.runtime.block_on(leader.commit(vec![key.to_vec()], start_ts, commit_ts))
    }

    /// Writes locks, as a client does that stops between prewrite and commit. The first key is the primary.
    /// `async_commit`: the lock of the primary lists the other keys, and the prewrite has committed the transaction.
    pub fn prewrite(
        &self,
        pairs: &[(Vec<u8>, Vec<u8>)],
        start_ts: u64,
        ttl_ms: u64,
        async_commit: bool,
    ) -> Result<()> {
        let (primary, _) = pairs.first().context("expected a key to lock, found none")?;
        let leader = self.leader_replica(primary)?;
        let mutations = pairs.iter().map(|(key, value)| mutation(kvrpcpb::Op::Put, key, value));
        let others = pairs.iter().skip(1).filter(|_| async_commit);
        self.runtime.block_on(leader.prewrite(PrewriteRequest {
            mutations: mutations.collect(),
            primary_lock: primary.clone(),
            start_version: start_ts,
            lock_ttl: ttl_ms,
            txn_size: pairs.len() as u64,
            use_async_commit: async_commit,
            secondaries: others.map(|(key, _)| key.clone()).collect(),
            ..Default::default()
        }))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(handle) = slot.server.take() {
                handle.shutdown();
            }
        }
    }
}

fn data_dir(wanted: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    match wanted {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
            refuse_foreign(dir)?;
            Ok((dir.to_owned(), None))
        }
        None => {
            let temporary = temporary::make().context("cannot create a temporary data directory")?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

/// Refuses a directory with files that no cluster wrote.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let entries = std::fs::read_dir(dir)
        .with_context(|| format!("cannot read the data directory {}", dir.display()))?;
    let mut names: Vec<_> = entries.filter_map(|e| Some(e.ok()?.file_name())).collect();
    names.sort();
    if let (false, Some(first)) = (names.iter().any(|n| n == "pd"), names.first()) {
        bail!(
            "expected an empty directory or one of an embedded cluster, found {} with {}; choose another directory",
            dir.display(),
            first.display()
        );
    }
    Ok(())
}

/// Finds the leader among the replicas of a region: of the peers that claim to lead, the one of the highest term.
fn newest_leader(metas: &[RegionMeta]) -> Option<&RegionMeta> {
    metas.iter().filter(|m| m.raft.role == "Leader").max_by_key(|m| m.raft.term)
}

/// Configures a small, quick store: elections take 1 s, not 10 s. Most other values are TiKV's defaults.
fn store_config(cluster: &ClusterConfig, dir: &Path, n: usize, pd: &str) -> TikvConfig {
    let mut config = TikvConfig { security: cluster.security.clone(), ..Default::default() };
    config.server.addr = "127.0.0.1:0".into();
    config.server.status_addr = String::new();
    config.server.grpc_concurrency = 2;
    config.storage.data_dir = dir.join(format!("s{n}"));
    config.storage.scheduler_concurrency = 2048;
    config.storage.scheduler_worker_pool_size = 1;
    config.storage.api_version = if cluster.api == KvFormat::V2 { 2 } else { 1 };
    config.storage.enable_ttl = cluster.api.is_ttl_enabled();
    config.gc.poll_safe_point_interval = Some(Duration::from_millis(500));
    config.pd.endpoints = vec![pd.into()];
    // The slow log would report a held request and write over the screen.
    config.slow_log_threshold = ReadableDuration::hours(24 * 30);
    // A slow machine must not end the waits of a recipe.
    config.pessimistic_txn.wait_for_lock_timeout = ReadableDuration::hours(1);
    config.raft_engine.target_file_size = ReadableSize::mb(4);
    let raft = &mut config.raft_store;
    // A lease that only requests renew must outlast the time between two of them on a slow machine.
    let (tick, lease) = match cluster.lease {
        Lease::On => (100, 900),
        Lease::OnDemand => (300, 2700),
        Lease::Off => (100, 0),
    };
    raft.raft_base_tick_interval = ReadableDuration::millis(tick);
    raft.pd_heartbeat_tick_interval = ReadableDuration::secs(1);
    raft.pd_store_heartbeat_tick_interval = ReadableDuration::secs(1);
    raft.raft_store_max_leader_lease = ReadableDuration::millis(lease);
    if cluster.lease == Lease::OnDemand {
        raft.check_leader_lease_interval = ReadableDuration::hours(24);
    }
    raft.store_pool_size = 1;
    raft.apply_pool_size = 1;
    if !cluster.log_gc {
        raft.raft_log_gc_tick_interval = ReadableDuration::hours(24);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_foreign_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        refuse_foreign(dir.path()).unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let why = data_dir(Some(dir.path())).unwrap_err().to_string();
        assert!(why.contains("thesis.tex") && why.contains("expected an empty directory"), "{why}");
        std::fs::create_dir(dir.path().join("pd")).unwrap();
        data_dir(Some(dir.path())).unwrap();
    }
}
