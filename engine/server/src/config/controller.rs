//! Changes of the configuration while the store runs (TiKV `ConfigController`): what `POST /config`, `PUT /config/reload` and
//! `ModifyTikvConfig` share.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use engine_rocks::RocksEngine;
use parking_lot::RwLock;
use raftstore::store::ConfigTracker;
use serde_json::{Map, Value};
use tracepoints::collector;

use super::{TikvConfig, online, rocks_options};
use crate::{Storage, limit::Limit, logger};

/// What takes the changes.
pub struct Knobs {
    pub kv: RocksEngine,
    pub raft_store: ConfigTracker,
    pub storage: Storage,
    /// Snapshots sent and received at once.
    pub send_snaps: Limit,
    pub recv_snaps: Limit,
    /// Raft messages in one batch.
    pub raft_batch: Arc<AtomicUsize>,
}

/// The configuration in effect, and the way to change it.
pub struct ConfigController {
    config: RwLock<TikvConfig>,
    knobs: Knobs,
}

/// A name as `tikv.toml` has it.
fn canonical(name: &str) -> String {
    match name.replace('_', "-") {
        level if level == "log-level" => "log.level".to_owned(),
        name => name,
    }
}

impl ConfigController {
    pub fn new(config: TikvConfig, knobs: Knobs) -> Self {
        Self { config: RwLock::new(config), knobs }
    }

    pub fn current(&self) -> TikvConfig {
        self.config.read().clone()
    }

    /// Makes these changes, all of them or, if a name or value is not valid, none: dotted names, with `-` or `_`, and their new
    /// values. Should RocksDB refuse a valid one, its options before that one are set.
    ///
    /// # Errors
    /// The first name or value that cannot be taken, and why.
    pub fn update(&self, changes: &Map<String, Value>) -> Result<(), String> {
        let changes: Map<String, Value> =
            changes.iter().map(|(name, value)| (canonical(name), value.clone())).collect();
        let mut config = self.config.write();
        let options = rocks_options::of(&changes)?;
        let known = online::known(&config)?;
        let others = changes.into_iter().filter(|(name, _)| {
            // Options that have no key of their own in the configuration are RocksDB's alone.
            !rocks_options::is_option(name) || online::has(&known, name)
        });
        let changed = online::with(&config, &others.collect())?;
        options.iter().try_for_each(|option| option.set(&self.knobs.kv))?;
        self.resize(&changed)?;
        self.take(&config, &changed);
        *config = changed;
        Ok(())
    }

    /// Takes what can be taken of `read`, and tells the names of what cannot.
    pub fn reload(&self, read: TikvConfig) -> Result<Vec<String>, String> {
        let mut config = self.config.write();
        // PD is asked for members; the addresses in the file only say where it was.
        let read = TikvConfig { pd: config.pd.clone(), ..read };
        let (merged, rest) = online::merge(&config, &read)?;
        let differing = rocks_options::differing(&config, &merged)?;
        differing.iter().try_for_each(|option| option.set(&self.knobs.kv))?;
        self.resize(&merged)?;
        self.take(&config, &merged);
        *config = merged;
        Ok(rest)
    }

    fn resize(&self, new: &TikvConfig) -> Result<(), String> {
        let new = new.build_storage_config();
        let resized = self.knobs.storage.set_threads(new.read_pool_threads, new.scheduler_worker_pool_size);
        resized.map_err(|e| e.to_string())
    }

    /// The collector is the process's: of several stores in one, the last that was changed counts.
    fn take(&self, old: &TikvConfig, new: &TikvConfig) {
        if let Ok(level) = logger::parse_level(&new.log.level) {
            logger::init(level);
        }
        if let Some(collector) = collector::current() {
            collector.sample(&new.build_tail_config());
        }
        let Knobs { kv, raft_store, storage, send_snaps, recv_snaps, raft_batch } = &self.knobs;
        if old.storage.block_cache != new.storage.block_cache {
            kv.set_block_cache_capacity(new.storage.block_cache.capacity.0 as usize);
        }
        if old.raft_store != new.raft_store {
            raft_store.set(new.raft_store.clone());
        }
        storage.set_pending_write_threshold(new.storage.scheduler_pending_write_threshold.0 as usize);
        let max_ts = &new.storage.max_ts;
        storage.get_concurrency_manager().bound().configure(max_ts.max_drift.0, max_ts.action());
        storage.set_max_tasks_per_worker(new.read_pool.unified.max_tasks_per_worker);
        send_snaps.set(new.server.concurrent_send_snap_limit);
        recv_snaps.set(new.server.concurrent_recv_snap_limit);
        raft_batch.store(new.server.raft_msg_max_batch_size, Relaxed);
    }
}
