//! Requests that wait for locks: they leave the scheduler, and released locks bring them back.
//!
//! No command holds latches while its request waits. Mirrors the functions of these names in
//! `src/storage/txn/scheduler.rs`.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engine_rocks::CF_LOCK;
use futures::FutureExt;
use kvproto::kvrpcpb::LockInfo;
use tikv_kv::{Engine, Modify};
use tracepoints::{EngineClock, Probe, Req, ending::Wait, request};

use super::{Caller, Inner, RunningBytes, Task, memory_of, wait_slot::WaitSlot};
use crate::{
    deadline::Deadline,
    errors::{Error, ErrorInner},
    lock_manager::{
        DiagnosticContext, KeyLockWaitInfo, LockWaitToken, WaitFor, WaitTimeout,
        lock_waiting_queue::{
            DelayedNotifyAll, LockWaitContext, LockWaitEntry, WaitingRequest, Woken, holders,
        },
    },
    mvcc::ReleasedLock,
    txn::{
        commands::{AcquirePessimisticLockResumed, Command, WriteResultLockInfo},
        latch::Lock,
    },
};

/// Maximum number of requests of a store that wait for locks; more are rejected as too busy.
const MAX_LOCK_WAITS: usize = 100_000;

impl<E: Engine> Inner<E> {
    /// Puts a request into the queue of its key. The caller holds the latch of the key, so that no command
    /// releases the lock in between. TiKV: `on_wait_for_lock`, `on_wait_for_lock_after_resuming`.
    pub(super) fn on_wait_for_lock(&self, mut lock: WriteResultLockInfo, caller: Caller) {
        let Caller { req, details, answer, slot, .. } = caller;
        // Answered before, at its deadline.
        let Some(answer) = answer else { return };
        let (queues, start_ts) = (&self.lock_wait_queues, lock.parameters.start_ts);
        let lock_mgr = queues.get_lock_mgr();
        let resumed = lock.resumed.take();
        if queues.entry_count() >= MAX_LOCK_WAITS {
            if let Some((token, _)) = resumed {
                lock_mgr.remove_lock_wait(token);
            }
            // The client may be gone.
            drop(answer.send((Err(ErrorInner::SchedTooBusy.into()), details)));
            return;
        }
        let began = resumed.is_none();
        let (token, req_states) = resumed.unwrap_or_else(|| {
            let token = lock_mgr.allocate_token();
            let context = LockWaitContext::new(lock.wanted.key.clone(), start_ts, token, queues.clone());
            let states = context.get_shared_states().clone();
            // The first wait of the request, since it has no token.
            let _ = slot.set(context);
            (token, states)
        });
        let wait = wait_for(&lock, token, &slot, req);
        let lock_ts = holders(&lock.lock_info_pb).next().unwrap_or_default();
        let WriteResultLockInfo { wanted, lock_digest, lock_info_pb, parameters, .. } = lock;
        let key = wanted.key.clone();
        let entry = LockWaitEntry {
            wanted,
            lock_hash: lock_digest.hash,
            parameters,
            lock_wait_token: token,
            req_states,
            legacy_wake_up_index: None,
            request: WaitingRequest { req, answer, details, slot, since: EngineClock::now() },
        };
        tracepoints::stamp!(
            LOCK_WAIT_ENQUEUE,
            req,
            ts = start_ts.into_inner(),
            lock_ts = lock_ts,
            first_lock = wait.is_first_lock,
            fair = wait.wait_info.allow_lock_with_conflict,
        );
        let event = entry.update_event(&lock_info_pb);
        if let Some((entry, error)) = queues.push_lock_wait(entry, Some(lock_info_pb)) {
            return error.map_or((), |e| entry.cancel(e));
        }
        tracepoints::probe!(req, || Probe::LockWaits(queues.probe(&key)));
        match began {
            true => lock_mgr.wait_for(wait),
            false => lock_mgr.update_wait_for(vec![event]),
        }
        request::waits(req, Wait::Lock { lock_ts });
    }

    /// Wakes the requests that wait for locks which the running command releases. Those of fair locking are
    /// returned: they continue once the command is written. TiKV: `on_release_locks`.
    pub(super) fn on_release_locks(self: &Arc<Self>, released: Vec<ReleasedLock>) -> Vec<LockWaitEntry> {
        // The command holds the latches of these keys, so that no request begins to wait for them now.
        if self.lock_wait_queues.is_empty() {
            return Vec::new();
        }
        let delay = Duration::from_nanos(self.wake_up_delay_nanos.load(Ordering::Relaxed));
        let mut woken = Woken::default();
        for lock in &released {
            self.lock_wait_queues.pop_for_waking_up(lock, delay, &mut woken);
        }
        self.wake_up_legacy_pessimistic_locks(woken.legacy, woken.delayed);
        woken.resumable
    }

    /// Answers requests of the normal mode, and runs the later wake-ups.
    fn wake_up_legacy_pessimistic_locks(
        self: &Arc<Self>,
        legacy: Vec<(LockWaitEntry, Error)>,
        delayed: Vec<DelayedNotifyAll>,
    ) {
        for (entry, error) in legacy {
            let queues = self.lock_wait_queues.clone();
            // One task for each, so that a held request holds no other.
            self.pool.spawn(async move {
                queues.get_lock_mgr().remove_lock_wait(entry.lock_wait_token);
                let waits = || Probe::LockWaits(queues.probe(&entry.wanted.key));
                step_probe!(
                    LOCK_WAIT_WAKE,
                    entry.request.req,
                    waits,
                    ts = entry.parameters.start_ts.into_inner(),
                    waited_ns = entry.request.since.elapsed().as_nanos() as u64,
                    fair = false,
                );
                entry.cancel(error);
            });
        }
        for wake_up in delayed {
            // A weak reference: the delay must not keep a stopped scheduler alive.
            let (weak, queues) = (Arc::downgrade(self), self.lock_wait_queues.clone());
            let later = async move {
                let woken = queues.delayed_notify_all(wake_up).await;
                let Some(inner) = weak.upgrade() else { return };
                inner.wake_up_legacy_pessimistic_locks(woken.legacy, woken.delayed);
                inner.schedule_awakened_pessimistic_locks(woken.resumable, None);
            };
            self.pool.spawn(later.boxed());
        }
    }

    /// Continues requests of fair locking, each as a command. `releasing`: the command that released the locks;
    /// it passes on its latches. TiKV: `schedule_awakened_pessimistic_locks`.
    pub(super) fn schedule_awakened_pessimistic_locks(
        self: &Arc<Self>,
        entries: Vec<LockWaitEntry>,
        releasing: Option<u64>,
    ) {
        for entry in entries {
            let cid = self.next_id.fetch_add(1, Ordering::Relaxed);
            let mut lock = Lock::new([&entry.wanted.key]);
            let passed = releasing.is_some_and(|command| self.latches.pass_on(command, &mut lock, cid));
            if entry.request.req.stepped() {
                lock.set_names([&entry.wanted.key]);
            }
            let cmd = AcquirePessimisticLockResumed::from_lock_wait_entry(&entry);
            let (token, ts, key) = (entry.lock_wait_token, entry.parameters.start_ts, entry.wanted.key);
            let WaitingRequest { req, answer, mut details, slot, since } = entry.request;
            // The wait has a limit of its own. As in TiKV, the limit of the execution begins again after it.
            let deadline = Deadline::from_context(&entry.parameters.pb_ctx);
            details.pessimistic_lock_wait_nanos += since.elapsed().as_nanos() as u64;
            let cmd = Command::AcquirePessimisticLockResumed(cmd);
            let task = Task {
                cid,
                lock,
                received: EngineClock::now(),
                caller: Caller { req, deadline, details, answer: Some(answer), slot },
                lock_wait_token: Some(token),
                bytes: RunningBytes::add(&self.running_write_bytes, 0),
                memory: self.memory_quota.alloc_force(memory_of(&cmd)),
                cmd,
            };
            let inner = self.clone();
            let resume = async move {
                let waits = || Probe::LockWaits(inner.lock_wait_queues.probe(&key));
                step_probe!(
                    LOCK_WAIT_WAKE,
                    req,
                    waits,
                    ts = ts.into_inner(),
                    waited_ns = since.elapsed().as_nanos() as u64,
                    fair = true,
                );
                if !passed {
                    tracepoints::stamp!(LATCH_WAIT, req, cid = cid, latches = task.lock.len());
                }
                inner.acquire_lock(task);
            };
            self.pool.spawn(resume.boxed());
        }
    }

    /// Puts requests of fair locking back: the lock that they waited for is not released.
    /// TiKV: `put_back_lock_wait_entries`.
    pub(super) fn put_back_lock_wait_entries(&self, entries: Vec<LockWaitEntry>) {
        for entry in entries {
            if let Some((entry, Some(error))) = self.lock_wait_queues.push_lock_wait(entry, None) {
                entry.cancel(error);
            }
        }
    }

    /// Returns the locks that the modifications put on keys for which requests wait.
    pub(super) fn new_acquired_locks(&self, modifies: &[Modify]) -> Vec<LockInfo> {
        if self.lock_wait_queues.is_empty() {
            return Vec::new();
        }
        let lock = |modify: &Modify| match modify {
            Modify::Put(CF_LOCK, key, value) if self.lock_wait_queues.has_waiters(key) => {
                Some(txn_types::parse_lock(value).ok()?.into_lock_info(key.to_raw().ok()?))
            }
            _ => None,
        };
        modifies.iter().filter_map(lock).collect()
    }
}

/// Describes a wait for the lock manager, which ends it at its timeout or in a deadlock.
fn wait_for(lock: &WriteResultLockInfo, token: LockWaitToken, slot: &WaitSlot, req: Req) -> WaitFor {
    let parameters = &lock.parameters;
    WaitFor {
        token,
        region_id: parameters.pb_ctx.region_id,
        region_epoch: parameters.pb_ctx.region_epoch.unwrap_or_default(),
        start_ts: parameters.start_ts,
        wait_info: KeyLockWaitInfo {
            key: lock.wanted.key.clone(),
            lock_digest: lock.lock_digest,
            lock_info: lock.lock_info_pb.clone(),
            allow_lock_with_conflict: parameters.allow_lock_with_conflict,
        },
        is_first_lock: parameters.is_first_lock,
        timeout: parameters.wait_timeout.unwrap_or(WaitTimeout::Default),
        cancel_callback: Box::new({
            let slot = slot.clone();
            move |e| {
                if let Some(context) = slot.get() {
                    context.cancel(e);
                }
            }
        }),
        diag_ctx: DiagnosticContext {
            key: lock.lock_info_pb.key.clone(),
            resource_group_tag: parameters.pb_ctx.resource_group_tag.clone(),
            req,
        },
    }
}
