//! The transaction scheduler: acquires latches and a snapshot, runs the command, writes its result.
//!
//! Mirrors `src/storage/txn/scheduler.rs`.
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
use kvproto::kvrpcpb::{CommandPri, Context};
use parking_lot::Mutex;
use tikv_kv::{Engine, Modify, OnProposed, SnapContext, Snapshot, TableAt, WriteData};
use tokio::sync::oneshot;
use tracepoints::{EngineClock, Facts, Probe, Req, clock::EngineInstant, ending::Wait, facts::shown};
use txn_types::{Key, TimeStamp};

use self::{
    memory_quota::{MemoryQuota, OwnedMemory},
    pessimistic_lock_mode::{EarlyAnswer, LockMode},
    wait_slot::{Abandon, WaitSlot},
};
use super::{
    commands::{AfterWrite, Command, CommandExt, TypedCommand, WriteContext, WriteResult},
    flow_controller::FlowController,
    latch::{Latches, Lock},
    raw_ext::{self, RawExt},
    txn_status_cache::TxnStatusCache,
};
use crate::{
    causal_ts,
    concurrency_manager::ConcurrencyManager,
    config::Config,
    deadline::Deadline,
    errors::{Error, ErrorInner, Result},
    lock_manager::{
        LockWaitToken, SharedLockManager,
        lock_waiting_queue::{LockWaitEntry, LockWaitQueues},
    },
    mvcc::{facts::key_text, probe::mvcc_rows},
    perf::with_perf_context,
    read_pool::Pool,
    statistics::SchedulerDetails,
    types::{Answer, CommandOutput},
};

/// Maximum number of keys of a command whose rows are published.
const MAX_PROBED_KEYS: usize = 4;
/// Maximum real time to read the rows for a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

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

    /// Runs a command that has its latches. TiKV: `TxnScheduler::execute` to `on_write_finished`.
    async fn execute(self: Arc<Self>, task: Task) {
        let Task { cid, cmd, lock, received, caller, lock_wait_token, bytes, memory } = task;
        let Caller { req, deadline, mut details, mut answer, slot } = caller;
        // Releases the latches when dropped, also after a panic.
        let latches = LatchGuard { inner: self.clone(), lock, cid, req };
        details.latch_wait_nanos += received.elapsed().as_nanos() as u64;
        let queues = || Probe::Latches(self.latches.probe(&latches.lock, cid, false));
        step_probe!(
            LATCH_ACQUIRED,
            req,
            queues,
            cid = cid,
            latches = latches.lock.len(),
            waited_ns = details.latch_wait_nanos,
        );
        let keys: Vec<Key> = match req.stepped() && cmd.has_versions() {
            true => cmd.latch_keys().into_iter().take(MAX_PROBED_KEYS).cloned().collect(),
            false => Vec::new(),
        };
        let (ctx, ts) = (cmd.ctx().clone(), cmd.ts());
        let mut woken = Vec::new();
        let result = self.process(cmd, &keys, (req, deadline), &mut details, &mut answer, &mut woken).await;
        if let Ok(AfterWrite::WaitForLock(lock)) = result {
            drop((bytes, memory));
            self.on_wait_for_lock(*lock, Caller { req, deadline, details, answer, slot });
            return drop(latches);
        }
        if let Some(token) = lock_wait_token {
            self.lock_wait_queues.get_lock_mgr().remove_lock_wait(token);
        }
        let failed = result.is_err();
        let rows = if keys.is_empty() { Vec::new() } else { self.fresh_rows(&ctx, &keys).await };
        tracepoints::stamp!(
            SCHED_FINISH,
            req,
            cid = cid,
            ts = ts.into_inner(),
            failed = failed,
            write_ns = details.async_write_nanos,
        );
        if req.stepped() {
            rows.into_iter().for_each(|rows| tracepoints::probe!(req, || rows));
            tracepoints::probe!(req, queues);
            tracepoints::gate::hold(tracepoints::stage::SCHED_FINISH, req).await;
        }
        drop((bytes, memory));
        match failed {
            false => self.schedule_awakened_pessimistic_locks(woken, Some(cid)),
            true => self.put_back_lock_wait_entries(woken),
        }
        let response = match result {
            Ok(AfterWrite::Run(cmd)) => {
                let next = self.next_id.fetch_add(1, Ordering::Relaxed);
                // The client's limit applies to all parts of its request.
                let caller = Caller { req, deadline, details, answer, slot };
                let memory = self.memory_quota.alloc_force(memory_of(&cmd));
                self.clone().schedule_command(next, *cmd, caller, memory);
                return drop(latches);
            }
            Ok(AfterWrite::Respond(response)) => Ok(*response),
            Ok(AfterWrite::WaitForLock(_)) => Err(Error::other("expected a command that does not wait")),
            Err(e) => Err(e),
        };
        // Release before the response, so that the client's next request finds the latches free.
        drop(latches);
        if let Some(answer) = answer {
            // The client may be gone.
            let _ = answer.send((response, details));
        }
    }

    /// Takes a snapshot, runs the command, and writes its result. Puts the requests of fair locking that it
    /// wakes into `woken`.
    async fn process(
        self: &Arc<Self>,
        cmd: Command,
        keys: &[Key],
        (req, deadline): (Req, Deadline),
        details: &mut SchedulerDetails,
        answer: &mut Option<oneshot::Sender<Answer>>,
        woken: &mut Vec<LockWaitEntry>,
    ) -> Result<AfterWrite> {
        deadline.check()?;
        let (ctx, ts) = (cmd.ctx().clone(), cmd.ts());
        let begin = EngineClock::now();
        let mut snap_ctx = SnapContext {
            // Only the leader's current data may decide a write: no follower snapshot, no stale read.
            pb_ctx: Context { replica_read: false, stale_read: false, ..ctx },
            req,
            allowed_in_flashback: cmd.allowed_in_flashback(),
            ..SnapContext::default()
        };
        let snapshot = crate::snapshot::take(&self.engine, snap_ctx.clone()).await?;
        // Makes the write fail if another leader may have written since the snapshot.
        if let Some(term) = snapshot.term() {
            snap_ctx.pb_ctx.term = term;
        }
        let taken = EngineClock::now();
        details.async_snapshot_nanos += taken.saturating_since(begin).as_nanos() as u64;
        details.read_index += snapshot.read_index_times();
        deadline.check()?;
        let raw_ext = match &self.causal_ts_provider {
            Some(provider) if cmd.needs_raw_ext() => {
                let (manager, region) = (&self.concurrency_manager, snap_ctx.pb_ctx.region_id);
                Some(raw_ext::get(&**provider, manager, snapshot.is_max_ts_synced(), region, req).await?)
            }
            _ => None,
        };
        let rows = || Probe::Mvcc(mvcc_rows(&snapshot, &keys[0], TimeStamp::zero(), None));
        tracepoints::stamp!(
            SCHED_PROCESS,
            req,
            ts = ts.into_inner(),
            region = snap_ctx.pb_ctx.region_id,
            keys = cmd.latch_keys().len()
        );
        if req.stepped() {
            if !keys.is_empty() {
                tracepoints::probe!(req, rows);
            }
            tracepoints::gate::hold(tracepoints::stage::SCHED_PROCESS, req).await;
        }
        let can_be_pipelined =
            matches!(cmd, Command::AcquirePessimisticLock(_) | Command::AcquirePessimisticLockResumed(_));
        let table = TableAt::of_snapshot(&snapshot);
        let begin = EngineClock::now();
        let written = self.process_write(cmd, req, raw_ext, snapshot, details);
        details.cmd_process_nanos += begin.elapsed().as_nanos() as u64;
        let WriteResult { modifies, mut after, lock_guards, released_locks, known_txn_status } = written?;
        *woken = self.on_release_locks(released_locks);
        if !modifies.is_empty() {
            let acquired = self.new_acquired_locks(&modifies);
            let in_memory = can_be_pipelined
                && self
                    .pessimistic_lock_mode
                    .write_in_memory(table.as_ref(), &modifies, deadline, req)
                    .await?;
            if !in_memory {
                let early = EarlyAnswer::prepare(
                    can_be_pipelined && self.pessimistic_lock_mode.is_pipelined(),
                    &mut after,
                    answer,
                    details,
                );
                let written = self
                    .write(snap_ctx, modifies, table.as_ref(), early.on_proposed(), deadline, details)
                    .await;
                early.end(&mut after, answer);
                written?;
            }
            self.lock_wait_queues.update_lock_wait(acquired);
        }
        drop(lock_guards);
        for (start_ts, commit_ts) in known_txn_status {
            self.txn_status_cache.insert_committed(start_ts, commit_ts, EngineClock::now());
        }
        Ok(after)
    }

    fn process_write(
        &self,
        cmd: Command,
        req: Req,
        raw_ext: Option<RawExt>,
        snapshot: E::Snap,
        details: &mut SchedulerDetails,
    ) -> Result<WriteResult> {
        let context = WriteContext {
            concurrency_manager: self.concurrency_manager.clone(),
            statistics: &mut details.stat,
            req,
            enable_async_commit: self.config.enable_async_commit,
            enable_one_pc: self.config.enable_one_pc,
            txn_status_cache: &self.txn_status_cache,
            raw_ext,
        };
        let (result, perf) = with_perf_context(req, || cmd.process_write(snapshot, context));
        details.perf += perf;
        result
    }

    /// Writes to the engine. TiKV: `RaftKv::async_write`, called by `TxnScheduler::process_write`.
    async fn write(
        &self,
        ctx: SnapContext,
        modifies: Vec<Modify>,
        table: Option<&TableAt>,
        on_proposed: Option<OnProposed>,
        deadline: Deadline,
        details: &mut SchedulerDetails,
    ) -> Result<()> {
        deadline.check()?;
        let data =
            WriteData { deadline: Some(deadline.at()), on_proposed, ..WriteData::from_modifies(modifies) };
        let size = data.size();
        self.handle_flow_control(ctx.req, size, deadline, details).await?;
        tracepoints::step_facts!(
            SCHED_WRITE,
            ctx.req,
            written(&data.modifies),
            region = ctx.pb_ctx.region_id,
            modifies = data.modifies.len(),
            bytes = size,
        );
        let begin = EngineClock::now();
        let sent = match table {
            Some(table) => table.send(data, |data| self.engine.async_write(ctx, data)),
            None => self.engine.async_write(ctx, data),
        };
        let result = sent.await;
        details.async_write_nanos += begin.elapsed().as_nanos() as u64;
        if result.is_err() {
            // A write that did not happen must not slow down others.
            self.flow_controller.unconsume(size);
        }
        details.write += result?;
        Ok(())
    }

    /// Reads the current rows of the keys for probes. Not part of the request, whose stages have ended.
    async fn fresh_rows(&self, ctx: &Context, keys: &[Key]) -> Vec<Probe> {
        let ctx = SnapContext { pb_ctx: ctx.clone(), ..Default::default() };
        match tokio::time::timeout(PROBE_TIMEOUT, self.engine.async_snapshot(ctx)).await {
            // The last published rows stay visible: publish the first key, usually the primary, last.
            Ok(Ok(snap)) => {
                let rows = |key| Probe::Mvcc(mvcc_rows(&snap, key, TimeStamp::zero(), None));
                keys.iter().rev().map(rows).collect()
            }
            _ => Vec::new(),
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

/// Lists what a command writes.
fn written(modifies: &[Modify]) -> Facts {
    modifies.iter().fold(Facts::new("Writes"), |facts, modify| {
        let name = |key: &Key| match Key::split_readable(key.as_encoded()) {
            (user_key, Some(ts)) => format!("{} at {ts}", shown(&user_key)),
            (user_key, None) => shown(&user_key),
        };
        match modify {
            Modify::Put(cf, key, value) => {
                facts.text(&format!("put {cf}"), name(key)).note(format!("{} bytes", value.len()))
            }
            Modify::Delete(cf, key) => facts.text(&format!("delete {cf}"), name(key)),
            Modify::DeleteRange(cf, from, to, _) => {
                facts.text(&format!("delete range {cf}"), format!("{} to {}", key_text(from), key_text(to)))
            }
        }
    })
}

/// Guard of a command's latches. When dropped, releases and publishes them, and wakes the next commands.
struct LatchGuard<E: Engine> {
    inner: Arc<Inner<E>>,
    lock: Lock,
    cid: u64,
    req: Req,
}

impl<E: Engine> Drop for LatchGuard<E> {
    fn drop(&mut self) {
        let wakeup = self.inner.latches.release(&self.lock, self.cid);
        tracepoints::probe!(self.req, || Probe::Latches(
            self.inner.latches.probe(&self.lock, self.cid, true)
        ));
        self.inner.clone().wake_up(wakeup);
    }
}
