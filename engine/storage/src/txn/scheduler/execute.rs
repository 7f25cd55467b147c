//! Execution of a command that has its latches: the snapshot, the command's own work, the write of its result.
//!
//! Mirrors `execute` to `on_write_finished` of `src/storage/txn/scheduler.rs`.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, Modify, OnProposed, SnapContext, Snapshot, TableAt, WriteData};
use tracepoints::{EngineClock, Facts, Probe, Req, facts::shown};
use txn_types::{Key, TimeStamp};

use super::{Caller, Inner, Task, memory_of, pessimistic_lock_mode::EarlyAnswer};
use crate::{
    deadline::Deadline,
    errors::{Error, Result},
    lock_manager::lock_waiting_queue::LockWaitEntry,
    mvcc::{facts::key_text, probe::mvcc_rows},
    perf::with_perf_context,
    statistics::SchedulerDetails,
    txn::{
        commands::{AfterWrite, Command, CommandExt, WriteContext, WriteResult},
        latch::Lock,
        raw_ext::{self, RawExt},
    },
};

/// Maximum number of keys of a command whose rows are published.
const MAX_PROBED_KEYS: usize = 4;
/// Maximum real time to read the rows for a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// The rows that a command publishes: of its context, its first keys, at its timestamp.
struct ProbedRows {
    ctx: Context,
    ts: TimeStamp,
    /// Empty if the request is not stepped.
    keys: Vec<Key>,
}

impl ProbedRows {
    fn from_command(cmd: &Command, req: Req) -> Self {
        let keys: Vec<Key> = match req.stepped() && cmd.has_versions() {
            true => cmd.latch_keys().into_iter().take(MAX_PROBED_KEYS).cloned().collect(),
            false => Vec::new(),
        };
        Self { ctx: cmd.ctx().clone(), ts: cmd.ts(), keys }
    }
}

impl<E: Engine> Inner<E> {
    /// Runs a command that has its latches. TiKV: `TxnScheduler::execute` to `on_write_finished`.
    pub(super) async fn execute(self: Arc<Self>, task: Task) {
        let Task { cid, cmd, lock, received, mut caller, lock_wait_token, bytes, memory } = task;
        let req = caller.req;
        // Releases the latches when dropped, also after a panic.
        let latches = LatchGuard { inner: self.clone(), lock, cid, req };
        caller.details.latch_wait_nanos += received.elapsed().as_nanos() as u64;
        if !cmd.readonly() {
            caller.details.write_bytes += bytes.own as u64;
        }
        step_probe!(
            LATCH_ACQUIRED,
            req,
            || latches.probe(false),
            cid = cid,
            latches = latches.lock.len(),
            waited_ns = caller.details.latch_wait_nanos,
        );
        let rows = ProbedRows::from_command(&cmd, req);
        let mut woken = Vec::new();
        let result = self.process(cmd, &rows.keys, &mut caller, &mut woken).await;
        if let Ok(AfterWrite::WaitForLock(lock)) = result {
            drop((bytes, memory));
            self.on_wait_for_lock(*lock, caller);
            return drop(latches);
        }
        if let Some(token) = lock_wait_token {
            self.lock_wait_queues.get_lock_mgr().remove_lock_wait(token);
        }
        let failed = matches!(result, Err(_) | Ok(AfterWrite::Fail(_)));
        self.step_finish(&latches, rows, failed, caller.details.async_write_nanos).await;
        drop((bytes, memory));
        match failed {
            false => self.schedule_awakened_pessimistic_locks(woken, Some(cid)),
            true => self.put_back_lock_wait_entries(woken),
        }
        self.on_write_finished(result, caller, latches);
    }

    /// Steps the end of a command, and publishes its current rows and its latches.
    async fn step_finish(&self, latches: &LatchGuard<E>, rows: ProbedRows, failed: bool, write_ns: u64) {
        let (req, ts) = (latches.req, rows.ts);
        let rows = if rows.keys.is_empty() { Vec::new() } else { self.fresh_rows(rows).await };
        tracepoints::stamp!(
            SCHED_FINISH,
            req,
            cid = latches.cid,
            ts = ts.into_inner(),
            failed = failed,
            write_ns = write_ns,
        );
        if req.stepped() {
            rows.into_iter().for_each(|rows| tracepoints::probe!(req, || rows));
            tracepoints::probe!(req, || latches.probe(false));
            tracepoints::gate::hold(tracepoints::stage::SCHED_FINISH, req).await;
        }
    }

    /// Answers the caller, or runs the next command of its request. TiKV: `TxnScheduler::on_write_finished`.
    fn on_write_finished(
        self: Arc<Self>,
        result: Result<AfterWrite>,
        caller: Caller,
        latches: LatchGuard<E>,
    ) {
        let response = match result {
            Ok(AfterWrite::Run(cmd)) => {
                // The client's limit applies to all parts of its request.
                let memory = self.memory_quota.alloc_force(memory_of(&cmd));
                let next = self.next_id.fetch_add(1, Ordering::Relaxed);
                self.clone().schedule_command(next, *cmd, caller, memory);
                return drop(latches);
            }
            Ok(AfterWrite::Respond(response)) => Ok(*response),
            Ok(AfterWrite::Fail(e)) => Err(*e),
            Ok(AfterWrite::WaitForLock(_)) => Err(Error::other("expected a command that does not wait")),
            Err(e) => Err(e),
        };
        // Release before the response, so that the client's next request finds the latches free.
        drop(latches);
        if let Some(answer) = caller.answer {
            // The client may be gone.
            let _ = answer.send((response, caller.details));
        }
    }

    /// Takes a snapshot, runs the command, and writes its result. Puts the requests of fair locking that it
    /// wakes into `woken`. Publishes the rows of the first of `keys`.
    async fn process(
        self: &Arc<Self>,
        cmd: Command,
        keys: &[Key],
        caller: &mut Caller,
        woken: &mut Vec<LockWaitEntry>,
    ) -> Result<AfterWrite> {
        let req = caller.req;
        let (snapshot, snap_ctx) = self.take_snapshot(&cmd, caller).await?;
        let raw_ext = self.raw_ext(&cmd, &snapshot, &snap_ctx).await?;
        let ts = cmd.ts();
        tracepoints::stamp!(
            SCHED_PROCESS,
            req,
            ts = ts.into_inner(),
            region = snap_ctx.pb_ctx.region_id,
            keys = cmd.latch_keys().len()
        );
        if req.stepped() {
            if let Some(key) = keys.first() {
                tracepoints::probe!(req, || Probe::Mvcc(mvcc_rows(&snapshot, key, TimeStamp::zero(), None)));
            }
            tracepoints::gate::hold(tracepoints::stage::SCHED_PROCESS, req).await;
        }
        let can_be_pipelined =
            matches!(cmd, Command::AcquirePessimisticLock(_) | Command::AcquirePessimisticLockResumed(_));
        let table = TableAt::of_snapshot(&snapshot);
        let begin = EngineClock::now();
        let written = self.process_write(cmd, req, raw_ext, snapshot, &mut caller.details);
        caller.details.cmd_process_nanos += begin.elapsed().as_nanos() as u64;
        let WriteResult { modifies, mut after, lock_guards, released_locks, known_txn_status } = written?;
        *woken = self.on_release_locks(released_locks);
        if !modifies.is_empty() {
            let acquired = self.new_acquired_locks(&modifies);
            let modifies = Modifies { snap_ctx, modifies, table, can_be_pipelined };
            self.write_modifies(modifies, &mut after, caller).await?;
            self.lock_wait_queues.update_lock_wait(acquired);
        }
        drop(lock_guards);
        for (start_ts, commit_ts) in known_txn_status {
            self.txn_status_cache.insert_committed(start_ts, commit_ts, EngineClock::now());
        }
        Ok(after)
    }

    /// Takes the snapshot on which the command decides, and the context for the write of its result.
    async fn take_snapshot(&self, cmd: &Command, caller: &mut Caller) -> Result<(E::Snap, SnapContext)> {
        caller.deadline.check()?;
        let begin = EngineClock::now();
        let mut snap_ctx = SnapContext {
            // Only the leader's current data may decide a write: no follower snapshot, no stale read.
            pb_ctx: Context { replica_read: false, stale_read: false, ..cmd.ctx().clone() },
            req: caller.req,
            allowed_in_flashback: cmd.allowed_in_flashback(),
            ..SnapContext::default()
        };
        let snapshot = crate::snapshot::take(&self.engine, snap_ctx.clone()).await?;
        // Makes the write fail if another leader may have written since the snapshot.
        if let Some(term) = snapshot.term() {
            snap_ctx.pb_ctx.term = term;
        }
        caller.details.async_snapshot_nanos += begin.elapsed().as_nanos() as u64;
        caller.details.read_index += snapshot.read_index_times();
        caller.deadline.check()?;
        Ok((snapshot, snap_ctx))
    }

    /// Takes the timestamp of a raw write on API V2.
    async fn raw_ext(
        &self,
        cmd: &Command,
        snapshot: &E::Snap,
        snap_ctx: &SnapContext,
    ) -> Result<Option<RawExt>> {
        let Some(provider) = self.causal_ts_provider.as_deref().filter(|_| cmd.needs_raw_ext()) else {
            return Ok(None);
        };
        let (synced, region) = (snapshot.is_max_ts_synced(), snap_ctx.pb_ctx.region_id);
        raw_ext::get(provider, &self.concurrency_manager, synced, region, snap_ctx.req).await.map(Some)
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

    /// Writes the result of a command to the memory of the region's leader, if it consists of locks that may be
    /// there, otherwise to the engine. A pipelined command is answered in between.
    async fn write_modifies(
        &self,
        modifies: Modifies,
        after: &mut AfterWrite,
        caller: &mut Caller,
    ) -> Result<()> {
        let Modifies { snap_ctx, modifies, table, can_be_pipelined } = modifies;
        let (table, mode) = (table.as_ref(), &self.pessimistic_lock_mode);
        let of_request = (caller.req, snap_ctx.pb_ctx.region_id);
        if can_be_pipelined && mode.write_in_memory(table, &modifies, caller.deadline, of_request).await? {
            return Ok(());
        }
        let pipelined = can_be_pipelined && mode.is_pipelined();
        let early = EarlyAnswer::prepare(pipelined, after, &mut caller.answer, &caller.details);
        let on_proposed = early.on_proposed();
        let written =
            self.write(snap_ctx, modifies, table, on_proposed, caller.deadline, &mut caller.details).await;
        early.end(after, &mut caller.answer);
        written
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
    async fn fresh_rows(&self, rows: ProbedRows) -> Vec<Probe> {
        let ProbedRows { ctx, keys, .. } = rows;
        let ctx = SnapContext { pb_ctx: ctx, ..Default::default() };
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

/// The result of a command, on its way to the engine.
struct Modifies {
    snap_ctx: SnapContext,
    modifies: Vec<Modify>,
    table: Option<TableAt>,
    /// Whether the command only locks, so that its answer need not wait for the engine.
    can_be_pipelined: bool,
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

impl<E: Engine> LatchGuard<E> {
    /// Returns the queues of the latches.
    fn probe(&self, released: bool) -> Probe {
        Probe::Latches(self.inner.latches.probe(&self.lock, self.cid, released))
    }
}

impl<E: Engine> Drop for LatchGuard<E> {
    fn drop(&mut self) {
        let wakeup = self.inner.latches.release(&self.lock, self.cid);
        tracepoints::probe!(self.req, || self.probe(true));
        self.inner.clone().wake_up(wakeup);
    }
}
