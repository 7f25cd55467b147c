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

use super::{
    ConfigFile, TikvConfig, online,
    persist::Prepared,
    rocks_options::{self, RocksOption},
};
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
    file: ConfigFile,
}

/// A name as `tikv.toml` has it.
fn canonical(name: &str) -> String {
    match name.replace('_', "-") {
        level if level == "log-level" => "log.level".to_owned(),
        name => name,
    }
}

impl ConfigController {
    /// `file`: where changes are written, so that they outlive a restart.
    pub fn new(config: TikvConfig, knobs: Knobs, file: ConfigFile) -> Self {
        Self { config: RwLock::new(config), knobs, file }
    }

    pub fn current(&self) -> TikvConfig {
        self.config.read().clone()
    }

    /// Makes these changes, all of them or none, and writes them into the configuration file: dotted names, with `-` or `_`,
    /// and their new values.
    ///
    /// # Errors
    /// The first name or value that cannot be taken, and why; or why the file cannot be written. Nothing is changed then.
    pub fn update(&self, changes: &Map<String, Value>) -> Result<(), String> {
        self.change(changes, true)
    }

    /// As [`ConfigController::update`], until the next start only.
    pub fn update_without_persist(&self, changes: &Map<String, Value>) -> Result<(), String> {
        self.change(changes, false)
    }

    fn change(&self, changes: &Map<String, Value>, persist: bool) -> Result<(), String> {
        let changes: Map<String, Value> =
            changes.iter().map(|(name, value)| (canonical(name), value.clone())).collect();
        let mut config = self.config.write();
        let options = rocks_options::of(&changes)?;
        let changed = online::with(&config, &changes)?;
        let file = match persist && !changes.is_empty() {
            true => Some(self.file.prepare(&online::to_persist(&config, &changes)?)?),
            false => None,
        };
        self.apply(&mut config, changed, &options, || file.map_or(Ok(()), Prepared::commit))
    }

    /// Takes what can be taken of `read`, and tells the names of what cannot.
    pub fn reload(&self, read: TikvConfig) -> Result<Vec<String>, String> {
        let mut config = self.config.write();
        // PD is asked for members; the addresses in the file only say where it was.
        let read = TikvConfig { pd: config.pd.clone(), ..read };
        let (merged, rest) = online::merge(&config, &read)?;
        let differing = rocks_options::differing(&config, &merged)?;
        self.apply(&mut config, merged, &differing, || Ok(()))?;
        Ok(rest)
    }

    /// What can fail comes first, and is taken back when something after it fails; `commit` is the last that can.
    fn apply(
        &self,
        config: &mut TikvConfig,
        changed: TikvConfig,
        options: &[RocksOption],
        commit: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let undo = rocks_options::set_all(&self.knobs.kv, options)?;
        if let Err(e) = self.resize(&changed).and_then(|()| commit()) {
            if let Err(e) = self.resize(config) {
                log::error!("the pools keep sizes that were to be taken back: {e}");
            }
            return Err(e);
        }
        undo.keep();
        self.take(config, &changed);
        *config = changed;
        Ok(())
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
