//! The storage of one store: everything that gRPC handlers call.
use std::sync::Arc;

use tikv_kv::Engine;
use tracepoints::Req;
use txn_types::TimeStamp;

use crate::{
    api_version::{CommandKind, check_api_version},
    concurrency_manager::ConcurrencyManager,
    config::Config,
    errors::Result,
    read_pool::Pool,
    statistics::SchedulerDetails,
    txn::{
        commands::{Command, CommandExt, TypedCommand},
        scheduler::TxnScheduler,
    },
    types::CommandOutput,
};

/// TiKV checks the commands that begin a transaction's writes, and raw ones; any client may end a transaction.
fn check_version(cmd: &Command) -> Result<()> {
    let kind = match cmd {
        Command::Prewrite(_) | Command::PrewritePessimistic(_) => CommandKind::prewrite,
        Command::AcquirePessimisticLock(_) => CommandKind::acquire_pessimistic_lock,
        Command::RawAtomicStore(_) => CommandKind::raw_atomic_store,
        Command::RawCompareAndSwap(_) => CommandKind::raw_compare_and_swap,
        _ => return Ok(()),
    };
    let keys = cmd.latch_keys();
    check_api_version(cmd.ctx(), kind, keys.into_iter().map(|key| key.as_encoded().as_slice()))
}

/// TiKV: `src/storage/mod.rs` `Storage`. Cheap to clone; reads are in `read.rs`, raw keys in `raw`.
#[derive(Clone)]
pub struct Storage<E: Engine> {
    pub(crate) engine: E,
    pub(crate) concurrency_manager: ConcurrencyManager,
    pub(crate) read_pool: Arc<Pool>,
    pub(crate) sched: TxnScheduler<E>,
    pub(crate) config: Config,
}

impl<E: Engine> Storage<E> {
    /// Starts the threads `unified-read-pool-{n}` and `sched-worker-pool-{n}` of one store.
    ///
    /// # Errors
    /// Where the operating system gives no threads.
    pub fn new(engine: E, config: Config, store_id: u64) -> Result<Self> {
        Self::with_concurrency_manager(engine, ConcurrencyManager::new(TimeStamp::zero()), config, store_id)
    }

    /// As [`Storage::new`], with a max_ts and memory locks that others see, too.
    ///
    /// # Errors
    /// As [`Storage::new`].
    pub fn with_concurrency_manager(
        engine: E,
        concurrency_manager: ConcurrencyManager,
        config: Config,
        store_id: u64,
    ) -> Result<Self> {
        let (threads, tasks) = (config.read_pool_threads, config.max_tasks_per_worker);
        let read_pool = Pool::new("unified-read-pool", threads, tasks, store_id)?;
        let sched = TxnScheduler::new(engine.clone(), concurrency_manager.clone(), &config, store_id)?;
        Ok(Self { engine, concurrency_manager, read_pool: Arc::new(read_pool), sched, config })
    }

    /// Runs a transaction command; the details hold whatever the result.
    ///
    /// TiKV: `Storage::sched_txn_command`.
    pub async fn sched_txn_command<T: CommandOutput>(
        &self,
        cmd: impl Into<TypedCommand<T>>,
        req: Req,
    ) -> (Result<T>, SchedulerDetails) {
        let cmd = cmd.into();
        match check_version(&cmd.cmd) {
            Ok(()) => self.sched.run_cmd(cmd, req).await,
            Err(e) => (Err(e), SchedulerDetails::default()),
        }
    }

    /// Bytes of running commands above which more are turned away, from now on.
    pub fn set_pending_write_threshold(&self, bytes: usize) {
        self.sched.set_pending_write_threshold(bytes);
    }

    /// Reads for each thread of the pool above which more are turned away, from now on.
    pub fn set_max_tasks_per_worker(&self, tasks: usize) {
        self.read_pool.set_tasks_per_thread(tasks);
    }

    /// Has so many threads for reads and for commands from now on; what runs ends on those before.
    ///
    /// # Errors
    /// Where the operating system gives no threads.
    pub fn set_threads(&self, read_pool: usize, scheduler: usize) -> Result<()> {
        self.read_pool.resize(read_pool)?;
        self.sched.pool().resize(scheduler)
    }

    pub fn get_concurrency_manager(&self) -> &ConcurrencyManager {
        &self.concurrency_manager
    }

    pub fn get_scheduler(&self) -> &TxnScheduler<E> {
        &self.sched
    }

    pub fn get_engine(&self) -> &E {
        &self.engine
    }

    /// Drops all reads and commands at their next wait; their callers get `Closed`.
    pub fn stop(&self) {
        self.read_pool.shutdown();
        self.sched.stop();
    }
}
