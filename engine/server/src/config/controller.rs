//! Changes the configuration while the store runs (TiKV `ConfigController`). `POST /config`, `PUT
//! /config/reload` and `ModifyTikvConfig` share it.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use engine_rocks::RocksEngine;
use parking_lot::RwLock;
use raftstore::store::ConfigTracker;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tracepoints::collector;

use super::{
    TikvConfig, online,
    persist::{ConfigFile, Prepared},
    rocks_options::{self, RocksOption},
};
use crate::{Storage, limit::ResizableSemaphore, lock_manager::LockManager, logger};

/// The components that accept changes while the store runs.
pub struct OnlineTargets {
    /// RocksDB.
    pub kv: RocksEngine,
    /// Configuration of the RaftStore.
    pub raft_store: ConfigTracker,
    /// The transaction layer.
    pub storage: Storage,
    /// Watches waiting requests.
    pub lock_mgr: Arc<LockManager>,
    /// Limits the snapshots sent at once.
    pub send_snaps: ResizableSemaphore,
    /// Limits the snapshots received at once.
    pub recv_snaps: ResizableSemaphore,
    /// Number of Raft messages in one batch.
    pub raft_batch: Arc<AtomicUsize>,
    /// Interval of the TTL checker, if the store has API V1TTL.
    pub ttl_interval: watch::Sender<Duration>,
}

/// Holds the configuration in effect and changes it.
pub struct ConfigController {
    config: RwLock<TikvConfig>,
    targets: OnlineTargets,
    file: ConfigFile,
}

/// Returns a name as `tikv.toml` spells it.
fn canonical(name: &str) -> String {
    match name.replace('_', "-") {
        level if level == "log-level" => "log.level".to_owned(),
        name => name,
    }
}

impl ConfigController {
    /// `file` receives the changes, so that they survive a restart.
    pub fn new(config: TikvConfig, targets: OnlineTargets, file: ConfigFile) -> Self {
        Self { config: RwLock::new(config), targets, file }
    }

    /// Returns the configuration in effect.
    pub fn current(&self) -> TikvConfig {
        self.config.read().clone()
    }

    /// Applies all of these changes or none, and writes them into the configuration file. Names are dotted,
    /// with `-` or `_`.
    ///
    /// # Errors
    /// The first name or value that is not accepted, or the reason why the file cannot
    /// be written. Nothing is changed then.
    pub fn update(&self, changes: &Map<String, Value>) -> Result<(), String> {
        self.change(changes, true)
    }

    /// As [`ConfigController::update`], but only until the next start.
    pub fn update_without_persist(&self, changes: &Map<String, Value>) -> Result<(), String> {
        self.change(changes, false)
    }

    fn change(&self, changes: &Map<String, Value>, persist: bool) -> Result<(), String> {
        let changes: Map<String, Value> =
            changes.iter().map(|(name, value)| (canonical(name), value.clone())).collect();
        let mut config = self.config.write();
        let options = rocks_options::parse_all(&changes)?;
        let changed = online::with(&config, &changes)?;
        let file = match persist && !changes.is_empty() {
            true => Some(self.file.prepare(&online::to_persist(&config, &changes)?)?),
            false => None,
        };
        self.apply(&mut config, changed, &options, || file.map_or(Ok(()), Prepared::commit))
    }

    /// Applies those settings of `read` that can change online, and returns the names of the others.
    pub fn reload(&self, read: TikvConfig) -> Result<Vec<String>, String> {
        let mut config = self.config.write();
        // PD itself is asked for its members; the addresses in the file are only the first contact.
        let read = TikvConfig { pd: config.pd.clone(), ..read };
        let (merged, rest) = online::merge(&config, &read)?;
        let differing = rocks_options::differing(&config, &merged)?;
        self.apply(&mut config, merged, &differing, || Ok(()))?;
        Ok(rest)
    }

    /// Steps that can fail run first and are undone if a later one fails; `commit` is the last of them.
    fn apply(
        &self,
        config: &mut TikvConfig,
        changed: TikvConfig,
        options: &[RocksOption],
        commit: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let stalls = rocks_options::differing_stalls(config, &changed)?;
        let undo = rocks_options::set_all(&self.targets.kv, &[&stalls, options].concat())?;
        if let Err(e) = self.resize(&changed).and_then(|()| commit()) {
            if let Err(e) = self.resize(config) {
                log::error!("cannot restore the sizes of the pools: {e}");
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
        let resized = self.targets.storage.set_threads(new.read_pool_threads, new.scheduler_worker_pool_size);
        resized.map_err(|e| e.to_string())
    }

    /// The collector belongs to the process: of several stores in one, the last change applies.
    fn take(&self, old: &TikvConfig, new: &TikvConfig) {
        if let Ok(level) = logger::parse_level(&new.log.level) {
            logger::init(level);
        }
        if let Some(collector) = collector::current() {
            collector.sample(&new.build_tail_config());
        }
        let OnlineTargets {
            kv,
            raft_store,
            storage,
            lock_mgr,
            send_snaps,
            recv_snaps,
            raft_batch,
            ttl_interval,
        } = &self.targets;
        if old.storage.block_cache != new.storage.block_cache {
            kv.set_block_cache_capacity(new.storage.block_cache.capacity.0 as usize);
        }
        if old.raft_store != new.raft_store {
            raft_store.set(new.raft_store.clone());
        }
        storage.set_pending_write_threshold(new.storage.scheduler_pending_write_threshold.0 as usize);
        storage.get_scheduler().flow_controller().set_config(new.storage.flow_control.build());
        storage.set_memory_quota(new.storage.memory_quota.0 as usize);
        let max_ts = &new.storage.max_ts;
        storage.get_concurrency_manager().bound().configure(max_ts.max_drift.0, max_ts.action());
        if old.pessimistic_txn != new.pessimistic_txn {
            lock_mgr.set_wait_for_lock_timeout(new.pessimistic_txn.wait_for_lock_timeout.0);
            storage.set_pessimistic_lock_mode(
                new.pessimistic_txn.lock_mode(),
                new.pessimistic_txn.memory_limits(),
            );
            storage.set_wake_up_delay(new.pessimistic_txn.wake_up_delay_duration.0);
        }
        storage.set_max_tasks_per_worker(new.read_pool.unified.max_tasks_per_worker);
        send_snaps.set(new.server.concurrent_send_snap_limit);
        recv_snaps.set(new.server.concurrent_recv_snap_limit);
        raft_batch.store(new.server.raft_msg_max_batch_size, Relaxed);
        if old.storage.ttl_check_poll_interval != new.storage.ttl_check_poll_interval {
            ttl_interval.send_replace(new.storage.ttl_check_poll_interval.0);
        }
    }
}
