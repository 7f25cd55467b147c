//! The transaction scheduler: acquires the latches of a command, then executes it.
//!
//! Mirrors `src/storage/txn/scheduler.rs`.
mod execute;
mod flow_control;
mod lock_wait;
mod memory_quota;
mod pessimistic_lock_mode;
mod wait_slot;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use kvproto::kvrpcpb::CommandPri;
use parking_lot::Mutex;
use tikv_kv::Engine;
use tokio::sync::oneshot;
use tracepoints::{EngineClock, Probe, Req, clock::EngineInstant, ending::Wait};
use txn_types::Key;

use self::{
    memory_quota::{MemoryQuota, OwnedMemory},
    pessimistic_lock_mode::LockMode,
    wait_slot::{Abandon, WaitSlot},
};
use super::{
    commands::{Command, CommandExt, TypedCommand},
    flow_controller::FlowController,
    latch::{Latches, Lock},
    txn_status_cache::TxnStatusCache,
};
use crate::{
    causal_ts,
    concurrency_manager::ConcurrencyManager,
    config::Config,
    deadline::Deadline,
    errors::{ErrorInner, Result},
    lock_manager::{LockWaitToken, SharedLockManager, lock_waiting_queue::LockWaitQueues},
    read_pool::Pool,
    statistics::SchedulerDetails,
    types::{Answer, CommandOutput},
};

/// The request of a command, which may continue as another command.
struct Caller {
    req: Req,
    deadline: Deadline,
    details: SchedulerDetails,
    /// `None` after the response was sent early.
    answer: Option<oneshot::Sender<Answer>>,
    slot: WaitSlot,
}

/// Command in the scheduler.
struct Task {
    cid: u64,
    cmd: Command,
    lock: Lock,
    received: EngineInstant,
    caller: Caller,
    /// Token of a request that has waited for a lock.
    lock_wait_token: Option<LockWaitToken>,
    bytes: RunningBytes,
    memory: OwnedMemory,
}

/// Counts the bytes of unfinished commands.
struct RunningBytes {
    total: Arc<AtomicUsize>,
    own: usize,
}

impl RunningBytes {
    fn add(total: &Arc<AtomicUsize>, own: usize) -> Self {
        total.fetch_add(own, Ordering::Relaxed);
        Self { total: total.clone(), own }
    }
}

impl Drop for RunningBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.own, Ordering::Relaxed);
    }
}

struct Inner<E: Engine> {
    engine: E,
    latches: Latches,
    /// Commands that wait for latches, by id.
    waiting: Mutex<HashMap<u64, Task>>,
    next_id: AtomicU64,
    running_write_bytes: Arc<AtomicUsize>,
    memory_quota: MemoryQuota,
    flow_controller: FlowController,
    /// Held by the write that waits for flow control: the next write waits by the speed limit that holds then.
    control_mutex: tokio::sync::Mutex<()>,
    concurrency_manager: ConcurrencyManager,
    config: Config,
    causal_ts_provider: causal_ts::Provider,
    /// Bytes of running commands above which the scheduler rejects commands.
    pending_write_threshold: AtomicUsize,
    lock_wait_queues: LockWaitQueues,
    txn_status_cache: Arc<TxnStatusCache>,
    wake_up_delay_nanos: AtomicU64,
    pessimistic_lock_mode: LockMode,
    pool: Pool,
    /// Runs commands of high priority. TiKV: `VanillaQueue::high_worker_pool`.
    high_pool: Pool,
    stopped: AtomicBool,
}

/// Load of the scheduler, and its current limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulerLoad {
    /// Bytes of running writes.
    pub writing_bytes: usize,
    /// Bytes of unfinished commands in memory.
    pub memory_in_use: usize,
    /// Limit of `memory_in_use`.
    pub memory_capacity: usize,
    /// Share of commands that flow control rejects, from 0 to 1.
    pub discard_ratio: f64,
    /// Limit of flow control in bytes per second; `None`: unlimited.
    pub speed_limit: Option<f64>,
}

/// Runs transaction commands. Cheap to clone. TiKV: `TxnScheduler`.
#[derive(Clone)]
pub struct TxnScheduler<E: Engine> {
    inner: Arc<Inner<E>>,
}

impl<E: Engine> TxnScheduler<E> {
    /// Starts the threads `sched-worker-pool-{n}`, and `sched-high-{n}` for commands of high priority.
    ///
    /// # Errors
    /// The operating system cannot create the threads.
    pub fn new(
        engine: E,
        concurrency_manager: ConcurrencyManager,
        lock_mgr: SharedLockManager,
        config: &Config,
        causal_ts_provider: causal_ts::Provider,
        store_id: u64,
    ) -> Result<Self> {
        let threads = config.scheduler_worker_pool_size;
        let pool = Pool::new("sched-worker-pool", threads, usize::MAX, store_id)?;
        let high_pool = Pool::new("sched-high", high_threads(threads), usize::MAX, store_id)?;
        let inner = Inner {
            engine,
            latches: Latches::new(config.scheduler_concurrency),
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            running_write_bytes: Arc::default(),
            memory_quota: MemoryQuota::new(config.memory_quota),
            flow_controller: FlowController::new(config.flow_control.clone()),
            control_mutex: tokio::sync::Mutex::default(),
            concurrency_manager,
            config: config.clone(),
            causal_ts_provider,
            pending_write_threshold: AtomicUsize::new(config.scheduler_pending_write_threshold),
            lock_wait_queues: LockWaitQueues::new(lock_mgr),
            txn_status_cache: Arc::new(TxnStatusCache::new(config.txn_status_cache_capacity)),
            wake_up_delay_nanos: AtomicU64::new(0),
            pessimistic_lock_mode: LockMode::new(config.pessimistic_lock_mode, config.in_memory_limits),
            pool,
            high_pool,
            stopped: AtomicBool::new(false),
        };
        inner.set_wake_up_delay(config.wake_up_delay_duration);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Allocates a command id; raw writes, which take no latches, get one too.
    pub(crate) fn gen_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn set_pending_write_threshold(&self, bytes: usize) {
        self.inner.pending_write_threshold.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_memory_quota(&self, bytes: usize) {
        self.inner.memory_quota.set_capacity(bytes);
    }

    pub(crate) fn set_wake_up_delay(&self, delay: Duration) {
        self.inner.set_wake_up_delay(delay);
    }

    /// Returns the mode in which pessimistic locks are written.
    pub(crate) fn pessimistic_lock_mode(&self) -> &LockMode {
        &self.inner.pessimistic_lock_mode
    }

    /// Returns the queues of requests that wait for locks.
    pub fn get_lock_wait_queues(&self) -> &LockWaitQueues {
        &self.inner.lock_wait_queues
    }

    /// Returns the status of ended transactions.
    pub fn get_txn_status_cache(&self) -> &Arc<TxnStatusCache> {
        &self.inner.txn_status_cache
    }

    /// Returns the load, for metrics.
    pub fn load(&self) -> SchedulerLoad {
        let Inner { memory_quota, flow_controller, .. } = &*self.inner;
        SchedulerLoad {
            writing_bytes: self.inner.running_write_bytes.load(Ordering::Relaxed),
            memory_in_use: memory_quota.in_use(),
            memory_capacity: memory_quota.capacity(),
            discard_ratio: flow_controller.discard_ratio(),
            speed_limit: flow_controller.speed_limit(),
        }
    }

    /// Returns the controller of the speed of writes.
    pub fn flow_controller(&self) -> &FlowController {
        &self.inner.flow_controller
    }

    /// Returns the source of timestamps for raw writes, on API V2.
    pub(crate) fn causal_ts_provider(&self) -> &causal_ts::Provider {
        &self.inner.causal_ts_provider
    }

    /// Returns the pool of the commands of a priority.
    pub(crate) fn pool_of(&self, priority: CommandPri) -> &Pool {
        self.inner.pool_of(priority)
    }

    /// Changes the number of threads. TiKV: `TxnScheduler::scale_pool_size`.
    pub(crate) fn resize(&self, threads: usize) -> Result<()> {
        self.inner.pool.resize(threads)?;
        self.inner.high_pool.resize(high_threads(threads))
    }

    /// Whether no command holds or waits for a latch, no request waits for a lock, and no bytes are in flight.
    pub fn is_idle(&self) -> bool {
        self.inner.latches.is_idle()
            && self.inner.lock_wait_queues.is_empty()
            && self.inner.waiting.lock().is_empty()
            && self.inner.running_write_bytes.load(Ordering::Relaxed) == 0
            && self.inner.memory_quota.in_use() == 0
    }

    /// Drops all commands at their next await point.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.flow_controller.stop();
        self.inner.pool.shutdown();
        self.inner.high_pool.shutdown();
        self.inner.waiting.lock().clear();
        self.inner.lock_wait_queues.close();
    }

    /// Runs a command. The command completes even if the caller stops waiting.
    ///
    /// TiKV: `TxnScheduler::run_cmd`.
    pub async fn run_cmd<T: CommandOutput>(
        &self,
        cmd: TypedCommand<T>,
        req: Req,
    ) -> (Result<T>, SchedulerDetails) {
        let cmd = cmd.cmd;
        let cid = self.gen_id();
        tracepoints::step!(
            SCHED_RECEIVE,
            req,
            cid = cid,
            ts = cmd.ts().into_inner(),
            region = cmd.ctx().region_id,
            keys = cmd.latch_keys().len(),
        );
        if let Err(e) = self.check(&cmd) {
            return (Err(e), SchedulerDetails::default());
        }
        let Some(memory) = self.inner.memory_quota.alloc(memory_of(&cmd)) else {
            return (Err(ErrorInner::SchedTooBusy.into()), SchedulerDetails::default());
        };
        let slot = WaitSlot::default();
        // Before the channel, whose receiver must be dropped first.
        let abandon = Abandon::new(slot.clone());
        let (answer, wait) = oneshot::channel();
        let deadline = Deadline::from_context(cmd.ctx());
        let details = SchedulerDetails::default();
        let caller = Caller { req, deadline, details, answer: Some(answer), slot };
        self.inner.clone().schedule_command(cid, cmd, caller, memory);
        let answered = wait.await;
        abandon.disarm();
        match answered {
            Ok((result, details)) => (result.and_then(T::from_result), details),
            Err(_) => (Err(ErrorInner::Closed.into()), SchedulerDetails::default()),
        }
    }

    fn check(&self, cmd: &Command) -> Result<()> {
        if self.inner.stopped.load(Ordering::Acquire) {
            return Err(ErrorInner::Closed.into());
        }
        let limit = self.inner.config.max_key_size;
        // Raw keys were checked before they were encoded.
        let too_long = |key: &&Key| cmd.has_versions() && key.len() > limit;
        if let Some(key) = cmd.latch_keys().into_iter().find(too_long) {
            return Err(ErrorInner::KeyTooLarge { size: key.len(), limit }.into());
        }
        if cmd.need_flow_control() && self.inner.too_busy() {
            return Err(ErrorInner::SchedTooBusy.into());
        }
        Ok(())
    }
}

impl<E: Engine> Inner<E> {
    fn set_wake_up_delay(&self, delay: Duration) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.wake_up_delay_nanos.store(nanos, Ordering::Relaxed);
    }

    fn pool_of(&self, priority: CommandPri) -> &Pool {
        if priority == CommandPri::High { &self.high_pool } else { &self.pool }
    }

    /// TiKV: `TxnSchedulerInner::too_busy`.
    fn too_busy(&self) -> bool {
        let running = self.running_write_bytes.load(Ordering::Relaxed);
        running >= self.pending_write_threshold.load(Ordering::Relaxed) || self.flow_controller.should_drop()
    }

    /// Queues the command for its latches, and runs it as soon as it has all of them. The deadline belongs to
    /// the request, which may have begun with an earlier command.
    fn schedule_command(self: Arc<Self>, cid: u64, cmd: Command, caller: Caller, memory: OwnedMemory) {
        let mut lock = Lock::new(cmd.latch_keys());
        if caller.req.stepped() {
            lock.set_names(cmd.latch_keys());
        }
        tracepoints::stamp!(LATCH_WAIT, caller.req, cid = cid, latches = lock.len());
        let task = Task {
            cid,
            lock,
            received: EngineClock::now(),
            caller,
            lock_wait_token: None,
            bytes: RunningBytes::add(&self.running_write_bytes, cmd.write_bytes()),
            memory,
            cmd,
        };
        self.acquire_lock(task);
    }

    /// Runs the task if it has all its latches; otherwise the task waits until it is woken.
    fn acquire_lock(self: Arc<Self>, mut task: Task) {
        // Hold this lock, so that the releaser of the latch finds the task.
        let mut waiting = self.waiting.lock();
        let acquired = self.latches.acquire(&mut task.lock, task.cid);
        let req = task.caller.req;
        tracepoints::probe!(req, || Probe::Latches(self.latches.probe(&task.lock, task.cid, false)));
        if acquired || task.caller.deadline.check().is_err() {
            // After its deadline the command does not wait: it ends and releases its latches.
            drop(waiting);
            self.spawn(task);
        } else {
            let cid = task.cid;
            if let Some(holder) = self.latches.holder(&task.lock) {
                tracepoints::request::waits(task.caller.req, Wait::Latch { cid, holder });
            }
            let deadline = task.caller.deadline;
            let limited = deadline.is_limited().then_some(deadline);
            // `stop` has cleared the map: the dropped task answers its caller.
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            waiting.insert(cid, task);
            drop(waiting);
            limited.into_iter().for_each(|deadline| self.clone().watch_deadline(cid, deadline));
        }
    }

    /// Answers a command that still waits for latches at its deadline. The command keeps its place in the
    /// queues and ends when it is woken. TiKV: `TxnScheduler::fail_fast_or_check_deadline`.
    fn watch_deadline(self: Arc<Self>, cid: u64, deadline: Deadline) {
        // A weak reference: the watcher must not keep a stopped scheduler alive.
        let weak = Arc::downgrade(&self);
        self.pool.spawn(async move {
            deadline.passed().await;
            let Some(inner) = weak.upgrade() else { return };
            let answer = inner.waiting.lock().get_mut(&cid).and_then(|task| task.caller.answer.take());
            if let Some(answer) = answer {
                // The client may be gone.
                drop(answer.send((Err(ErrorInner::DeadlineExceeded.into()), SchedulerDetails::default())));
            }
        });
    }

    fn spawn(self: Arc<Self>, task: Task) {
        let inner = self.clone();
        let priority = task.cmd.priority();
        let execution = inner.execute(task);
        let execution_memory = self.memory_quota.alloc_force(size_of_val(&execution));
        let execution = execution.map(move |()| drop(execution_memory)).boxed();
        self.pool_of(priority).spawn(execution);
    }

    /// Runs commands that have got a latch. TiKV: `TxnScheduler::try_to_wake_up`.
    fn wake_up(self: Arc<Self>, cids: Vec<u64>) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        for cid in cids {
            let task = self.waiting.lock().remove(&cid);
            if let Some(task) = task {
                self.clone().acquire_lock(task);
            }
        }
    }
}

/// Returns the bytes of a command in memory. TiKV: `Command::approximate_heap_size`.
fn memory_of(cmd: &Command) -> usize {
    let keys: usize = cmd.latch_keys().iter().map(|key| key.len()).sum();
    size_of::<Task>() + keys.max(cmd.write_bytes())
}

/// Returns the number of threads for commands of high priority. TiKV: `SchedPool::new`.
fn high_threads(threads: usize) -> usize {
    (threads / 2).max(1)
}
