//! The storage of one store: the API for gRPC handlers.
use std::{sync::Arc, time::Duration};

use api_version::KvFormat;
use kvproto::{deadlock::WaitForEntry, kvrpcpb};
use tikv_kv::{Engine, MemoryLimits};
use tokio::sync::oneshot;
use tracepoints::{EngineClock, Req, clock::EngineInstant};
use txn_types::TimeStamp;

use crate::{
    causal_ts,
    command_kind::CommandKind,
    concurrency_manager::ConcurrencyManager,
    config::{Config, PessimisticLockMode},
    errors::Result,
    lock_manager::SharedLockManager,
    read_pool::Pool,
    statistics::SchedulerDetails,
    txn::{
        commands::{Command, CommandExt, TypedCommand},
        scheduler::TxnScheduler,
        txn_status_cache::{TxnState, TxnStatusCache},
    },
    types::CommandOutput,
};

/// API of the storage layer. Cheap to clone; `read.rs` has the reads, `raw` the raw keys. TiKV: `Storage`.
#[derive(Clone)]
pub struct Storage<E: Engine> {
    pub(crate) engine: E,
    pub(crate) concurrency_manager: ConcurrencyManager,
    pub(crate) read_pool: Arc<Pool>,
    pub(crate) sched: TxnScheduler<E>,
    pub(crate) config: Config,
}

impl<E: Engine> Storage<E> {
    /// Starts the threads `unified-read-pool-{n}` and `sched-worker-pool-{n}` of one store, with a shared max_ts,
    /// memory lock table and lock manager.
    ///
    /// # Errors
    /// The operating system cannot create the threads.
    pub fn new(
        engine: E,
        concurrency_manager: ConcurrencyManager,
        lock_mgr: SharedLockManager,
        config: Config,
        causal_ts_provider: causal_ts::Provider,
        store_id: u64,
    ) -> Result<Self> {
        let (threads, tasks) = (config.read_pool_threads, config.max_tasks_per_worker);
        let read_pool = Pool::new("unified-read-pool", threads, tasks, store_id)?;
        let manager = concurrency_manager.clone();
        let sched =
            TxnScheduler::new(engine.clone(), manager, lock_mgr, &config, causal_ts_provider, store_id)?;
        Ok(Self { engine, concurrency_manager, read_pool: Arc::new(read_pool), sched, config })
    }

    /// Runs a transaction command; returns the details with any result.
    ///
    /// TiKV: `Storage::sched_txn_command`.
    pub async fn sched_txn_command<T: CommandOutput>(
        &self,
        cmd: impl Into<TypedCommand<T>>,
        req: Req,
    ) -> (Result<T>, SchedulerDetails) {
        let cmd = cmd.into();
        match self.check_version(&cmd.cmd) {
            Ok(()) => self.sched.run_cmd(cmd, req).await,
            Err(e) => (Err(e), SchedulerDetails::default()),
        }
    }

    /// Checks the API version of commands that begin a transaction's writes. Like TiKV, accepts any version for
    /// commands that end a transaction; raw commands are checked before their keys are encoded.
    fn check_version(&self, cmd: &Command) -> Result<()> {
        let kind = match cmd {
            Command::Prewrite(_) | Command::PrewritePessimistic(_) => CommandKind::prewrite,
            Command::Flush(_) => CommandKind::flush,
            Command::AcquirePessimisticLock(_) => CommandKind::acquire_pessimistic_lock,
            _ => return Ok(()),
        };
        let keys = cmd.latch_keys();
        self.check_api_version(cmd.ctx(), kind, keys.into_iter().map(|key| key.as_encoded().as_slice()))
    }

    /// Changes the limit of bytes of running commands above which commands are rejected.
    pub fn set_pending_write_threshold(&self, bytes: usize) {
        self.sched.set_pending_write_threshold(bytes);
    }

    /// Changes the limit of the memory of unfinished commands.
    pub fn set_memory_quota(&self, bytes: usize) {
        self.sched.set_memory_quota(bytes);
    }

    /// Changes the delay after which a released lock wakes all requests that wait for it.
    pub fn set_wake_up_delay(&self, delay: Duration) {
        self.sched.set_wake_up_delay(delay);
    }

    /// Changes how pessimistic locks are written.
    pub fn set_pessimistic_lock_mode(&self, mode: PessimisticLockMode, limits: MemoryLimits) {
        self.sched.pessimistic_lock_mode().set(mode, limits);
    }

    /// Returns all waits for locks of this store; empty if the lock manager has stopped.
    /// TiKV: `Storage::dump_wait_for_entries`.
    pub async fn dump_wait_for_entries(&self) -> Vec<WaitForEntry> {
        let (cb, entries) = oneshot::channel();
        self.sched.get_lock_wait_queues().get_lock_mgr().dump_wait_for_entries(cb);
        entries.await.unwrap_or_default()
    }

    /// Adds the status of transactions that a client knows. A status that contradicts itself or a known one is ignored:
    /// the reply has no field for an error. TiKV: `Storage::update_txn_status_cache`.
    ///
    /// # Errors
    /// `Closed` if the storage is shutting down.
    pub async fn update_txn_status_cache(&self, statuses: Vec<kvrpcpb::TxnStatus>, req: Req) -> Result<()> {
        let cache = self.sched.get_txn_status_cache().clone();
        let task = async move {
            tracepoints::step!(TXN_STATUS_CACHE_UPDATE, req, txns = statuses.len());
            let now = EngineClock::now();
            for status in statuses {
                upsert_status(&cache, &status, now);
            }
            Ok(())
        };
        self.sched.pool_of(kvrpcpb::CommandPri::Normal).spawn_handle(task)?.await
    }

    /// Changes the limit of reads per thread above which reads are rejected.
    pub fn set_max_tasks_per_worker(&self, tasks: usize) {
        self.read_pool.set_tasks_per_thread(tasks);
    }

    /// Changes the number of threads of both pools. Running tasks finish on the old threads.
    ///
    /// # Errors
    /// The operating system cannot create the threads.
    pub fn set_threads(&self, read_pool: usize, scheduler: usize) -> Result<()> {
        self.read_pool.resize(read_pool)?;
        self.sched.resize(scheduler)
    }

    /// Returns the memory locks and max_ts of the store.
    pub fn get_concurrency_manager(&self) -> &ConcurrencyManager {
        &self.concurrency_manager
    }

    /// Returns the encoding of raw keys and values.
    pub fn api_version(&self) -> KvFormat {
        self.config.api_version
    }

    /// Returns the scheduler.
    pub fn get_scheduler(&self) -> &TxnScheduler<E> {
        &self.sched
    }

    /// Returns the engine.
    pub fn get_engine(&self) -> &E {
        &self.engine
    }

    /// Drops all reads and commands at their next await point; their callers get `Closed`.
    pub fn stop(&self) {
        self.read_pool.shutdown();
        self.sched.stop();
    }
}

/// Adds one status. TiKV ends its process if an ongoing transaction is marked as completed.
fn upsert_status(cache: &TxnStatusCache, status: &kvrpcpb::TxnStatus, now: EngineInstant) {
    let start_ts = TimeStamp::new(status.start_ts);
    let state =
        TxnState::from_ts(start_ts, status.min_commit_ts.into(), status.commit_ts.into(), status.rolled_back);
    match (status.is_completed, state) {
        (true, TxnState::Ongoing { .. }) => {
            return log::warn!(
                "ignored the status of {start_ts}: expected the commit or rollback of a completed transaction, \
                 found neither"
            );
        }
        (true, _) => cache.remove_large_txn(start_ts),
        (false, _) => {}
    }
    cache.upsert(start_ts, state, now);
}
