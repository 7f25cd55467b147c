//! The queues of requests that wait for locks, one for each key.
//!
//! Mirrors `src/storage/lock_manager/lock_waiting_queue.rs`. In the normal mode a released lock wakes the
//! request with the smallest start_ts at once, with a write conflict, so that its client retries. The requests
//! that were in the queue then are woken after `wake-up-delay-duration`. With fair locking the request itself
//! continues and gets the lock.
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kvproto::{
    deadlock::WaitForEntry,
    kvrpcpb::{LockInfo, write_conflict::Reason},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracepoints::{
    EngineClock, Probe, Req,
    clock::EngineInstant,
    probe::{LockQueue, LockWaitEdge, LockWaiter, LockWaitsProbe},
};
use txn_types::{Key, LockInfoExt, TimeStamp, WriteConflict};

use super::{KeyLockWaitInfo, LockDigest, LockWaitToken, SharedLockManager, UpdateWaitForEvent};
use crate::{
    errors::{Error, extract_region_error_from_error},
    mvcc::{self, ErrorInner, ReleasedLock},
    statistics::SchedulerDetails,
    types::{
        Answer, KeyToLock, PessimisticLockKeyResult, PessimisticLockParameters, PessimisticLockResults,
        ProcessResult,
    },
};

/// Maximum number of keys whose queues a probe shows, and of requests that it shows for each.
const MAX_PROBED: usize = 16;

/// An error that arrived while the request was out of its queue: it had been woken, and may wait again.
/// The error ends that wait. TiKV: `LockWaitContextSharedState`.
#[derive(Debug, Default)]
pub struct LockWaitContextSharedState {
    external_error: Mutex<Option<Error>>,
}

impl LockWaitContextSharedState {
    fn put_external_error(&self, error: Error) {
        *self.external_error.lock() = Some(error);
    }

    fn take_external_error(&self) -> Option<Error> {
        self.external_error.lock().take()
    }
}

/// The request that waits.
pub struct WaitingRequest {
    /// The request.
    pub req: Req,
    /// Receives the answer.
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Statistics so far.
    pub details: SchedulerDetails,
    /// Shared with the caller, which may go away.
    pub slot: Arc<OnceLock<LockWaitContext>>,
    /// Time at which it began to wait.
    pub since: EngineInstant,
}

/// A request that waits for a key. TiKV: `LockWaitEntry`.
pub struct LockWaitEntry {
    /// The key to lock.
    pub wanted: KeyToLock,
    /// Hash of the raw key.
    pub lock_hash: u64,
    /// Parameters of the request.
    pub parameters: PessimisticLockParameters,
    /// Identifies the request.
    pub lock_wait_token: LockWaitToken,
    /// Shared with the handle that may end the wait.
    pub req_states: Arc<LockWaitContextSharedState>,
    /// Number of wake-ups of the key before it began to wait.
    pub legacy_wake_up_index: Option<usize>,
    /// The request.
    pub request: WaitingRequest,
}

impl LockWaitEntry {
    /// Answers with an error. In fair locking an error is the result of the key, except for a region error.
    pub fn cancel(self, error: Error) {
        let result = match self.parameters.allow_lock_with_conflict {
            true if extract_region_error_from_error(&error).is_none() => {
                let res = PessimisticLockResults(vec![PessimisticLockKeyResult::Failed(error)]);
                Ok(ProcessResult::PessimisticLockRes { res })
            }
            _ => Err(error),
        };
        let WaitingRequest { answer, mut details, since, .. } = self.request;
        details.pessimistic_lock_wait_nanos += since.elapsed().as_nanos() as u64;
        // The client may be gone.
        drop(answer.send((result, details)));
    }

    /// Returns the conflict with which a request of the normal mode is woken.
    pub fn conflict(&self, start_ts: TimeStamp, commit_ts: TimeStamp) -> Error {
        let key = match self.wanted.key.to_raw() {
            Ok(key) => key,
            Err(e) => return e.into(),
        };
        let conflict = WriteConflict {
            start_ts: self.parameters.start_ts,
            conflict_start_ts: start_ts,
            conflict_commit_ts: commit_ts,
            key,
            primary: self.parameters.primary.clone(),
            reason: Reason::PessimisticRetry,
        };
        mvcc::Error::from(conflict).into()
    }

    /// Stamps the end of a wait without the lock.
    fn stamp_end(&self, error: &Error) {
        let (req, ts) = (self.request.req, self.parameters.start_ts.into_inner());
        let waited_ns = self.request.since.elapsed().as_nanos() as u64;
        let Some((lock_ts, chain)) = deadlock(error) else {
            tracepoints::stamp!(LOCK_WAIT_TIMEOUT, req, ts = ts, waited_ns = waited_ns);
            return;
        };
        let (lock_ts, len) = (lock_ts.into_inner(), chain.len());
        tracepoints::stamp!(
            DEADLOCK_FOUND,
            req,
            ts = ts,
            lock_ts = lock_ts,
            waited_ns = waited_ns,
            chain = len
        );
        let edge = |entry: &WaitForEntry| LockWaitEdge {
            txn: entry.txn,
            wait_for: entry.wait_for_txn,
            key: keys::escape(&entry.key),
        };
        tracepoints::probe!(req, || Probe::LockWaits(LockWaitsProbe {
            store: u64::from(tracepoints::thread::store()),
            queues: Vec::new(),
            chain: chain.iter().map(edge).collect(),
        }));
    }

    /// Returns the report that another transaction has locked the key.
    pub fn update_event(&self, lock: &LockInfo) -> UpdateWaitForEvent {
        UpdateWaitForEvent {
            token: self.lock_wait_token,
            start_ts: self.parameters.start_ts,
            is_first_lock: self.parameters.is_first_lock,
            wait_info: KeyLockWaitInfo {
                key: self.wanted.key.clone(),
                lock_digest: LockDigest { ts: lock.lock_version.into(), hash: self.lock_hash },
                lock_info: lock.clone(),
                allow_lock_with_conflict: self.parameters.allow_lock_with_conflict,
            },
        }
    }

    fn position(&self) -> (TimeStamp, LockWaitToken) {
        (self.parameters.start_ts, self.lock_wait_token)
    }
}

/// Handle to a waiting request, with which the lock manager and the caller end its wait.
/// TiKV: `LockWaitContext`.
#[derive(Clone)]
pub struct LockWaitContext {
    key: Key,
    start_ts: TimeStamp,
    token: LockWaitToken,
    shared_states: Arc<LockWaitContextSharedState>,
    queues: LockWaitQueues,
}

impl LockWaitContext {
    /// Creates the handle of a request that waits for `key`.
    pub fn new(key: Key, start_ts: TimeStamp, token: LockWaitToken, queues: LockWaitQueues) -> Self {
        Self { key, start_ts, token, shared_states: Arc::default(), queues }
    }

    /// Returns the state that the entry in the queue shares.
    pub fn get_shared_states(&self) -> &Arc<LockWaitContextSharedState> {
        &self.shared_states
    }

    /// Ends the wait with an error, or keeps the error in case the request waits again.
    pub fn cancel(&self, error: Error) {
        let (key, states) = (&self.key, &self.shared_states);
        let taken = self.queues.remove_or_put_error(key, self.start_ts, self.token, states, error);
        if let Some((entry, error)) = taken {
            entry.stamp_end(&error);
            entry.cancel(error);
        }
    }

    /// Ends the wait of a client that has gone.
    pub fn abandon(&self) {
        drop(self.queues.remove_by_token(&self.key, self.start_ts, self.token));
        self.queues.get_lock_mgr().remove_lock_wait(self.token);
    }
}

/// Returns the lock and the cycle of a deadlock.
fn deadlock(error: &Error) -> Option<(TimeStamp, &[WaitForEntry])> {
    let crate::errors::ErrorInner::Mvcc(e) = &*error.0 else { return None };
    match &*e.0 {
        ErrorInner::Deadlock { lock_ts, wait_chain, .. } => Some((*lock_ts, wait_chain)),
        _ => None,
    }
}

/// Returns the start timestamps of the transactions that have the lock, the oldest first.
pub fn holders(lock: &LockInfo) -> impl Iterator<Item = u64> + '_ {
    lock.iter_locks().map(|lock| lock.lock_version)
}

/// Requests that wait for one key.
#[derive(Default)]
struct KeyLockWaitState {
    current_lock: LockInfo,
    /// Number of wake-ups in the normal mode. Separates the requests that waited at a wake-up from later ones.
    legacy_wake_up_index: usize,
    /// By start_ts: the oldest transaction is woken first.
    queue: BTreeMap<(TimeStamp, LockWaitToken), LockWaitEntry>,
    /// start_ts and commit_ts of the last released lock.
    last_conflict: (TimeStamp, TimeStamp),
    delayed_notify_all: Option<DelayedState>,
}

struct DelayedState {
    id: u64,
    due: EngineInstant,
}

/// A wake-up of all requests that waited at a release; due after the delay.
#[derive(Clone, Debug)]
pub struct DelayedNotifyAll {
    key: Key,
    id: u64,
}

/// Requests to wake.
#[derive(Default)]
pub struct Woken {
    /// Requests of the normal mode, with the conflict that they get.
    pub legacy: Vec<(LockWaitEntry, Error)>,
    /// Requests of fair locking, which continue.
    pub resumable: Vec<LockWaitEntry>,
    /// Later wake-ups.
    pub delayed: Vec<DelayedNotifyAll>,
}

struct LockWaitQueueInner {
    queue_map: Mutex<HashMap<Key, KeyLockWaitState>>,
    id_allocated: AtomicU64,
    entries_count: AtomicUsize,
    /// Whether the store has stopped. Changes under the lock of the map.
    closed: AtomicBool,
    lock_mgr: SharedLockManager,
}

/// The queues of a store. Cheap to clone. TiKV: `LockWaitQueues`.
#[derive(Clone)]
pub struct LockWaitQueues {
    inner: Arc<LockWaitQueueInner>,
}

impl LockWaitQueues {
    /// Creates empty queues.
    pub fn new(lock_mgr: SharedLockManager) -> Self {
        let inner = LockWaitQueueInner {
            queue_map: Mutex::default(),
            id_allocated: AtomicU64::new(1),
            entries_count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            lock_mgr,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Puts a request into the queue of its key. Returns it if its wait has ended already: with the error that
    /// ended it, or without one if its client has gone or the store has stopped.
    pub fn push_lock_wait(
        &self,
        mut entry: LockWaitEntry,
        current_lock: Option<LockInfo>,
    ) -> Option<(LockWaitEntry, Option<Error>)> {
        let mut map = self.inner.queue_map.lock();
        if let Some(error) = entry.req_states.take_external_error() {
            return Some((entry, Some(error)));
        }
        if entry.request.answer.is_closed() || self.inner.closed.load(Ordering::SeqCst) {
            return Some((entry, None));
        }
        let state = map.entry(entry.wanted.key.clone()).or_default();
        if let Some(lock) = current_lock {
            state.current_lock = lock;
        }
        entry.legacy_wake_up_index.get_or_insert(state.legacy_wake_up_index);
        state.queue.insert(entry.position(), entry);
        self.inner.entries_count.fetch_add(1, Ordering::SeqCst);
        None
    }

    /// Takes the first request of the key's queue, whose lock is released. In the normal mode also schedules
    /// the wake-up of those after it. TiKV: `pop_for_waking_up`.
    pub fn pop_for_waking_up(&self, released: &ReleasedLock, delay: Duration, woken: &mut Woken) {
        let conflict = (released.start_ts, released.commit_ts);
        let (key, mut map) = (&released.key, self.inner.queue_map.lock());
        let Some(state) = map.get_mut(key) else { return };
        state.last_conflict = conflict;
        let (mut is_shared, mut legacy) = (false, false);
        // Requests for a shared lock that follow each other are woken together: all of them get it.
        while let Some(entry) = self.pop_if(state, |next| !is_shared || next.wanted.shared) {
            is_shared = entry.wanted.shared;
            if entry.parameters.allow_lock_with_conflict {
                woken.resumable.push(entry);
            } else {
                legacy = true;
                state.legacy_wake_up_index += 1;
                let error = entry.conflict(conflict.0, conflict.1);
                woken.legacy.push((entry, error));
            }
            if !is_shared {
                break;
            }
        }
        if legacy && !state.queue.is_empty() {
            woken.delayed.extend(self.handle_delayed_wake_up(state, key, delay));
        }
        if state.queue.is_empty() {
            map.remove(key);
        }
    }

    fn pop_if(
        &self,
        state: &mut KeyLockWaitState,
        wanted: impl FnOnce(&LockWaitEntry) -> bool,
    ) -> Option<LockWaitEntry> {
        let first = state.queue.first_entry().filter(|first| wanted(first.get()))?;
        self.inner.entries_count.fetch_sub(1, Ordering::SeqCst);
        Some(first.remove())
    }

    /// Schedules a wake-up, or delays the one that is scheduled.
    fn handle_delayed_wake_up(
        &self,
        state: &mut KeyLockWaitState,
        key: &Key,
        delay: Duration,
    ) -> Option<DelayedNotifyAll> {
        let due = EngineClock::now() + delay;
        if let Some(scheduled) = &mut state.delayed_notify_all {
            scheduled.due = due;
            return None;
        }
        let id = self.inner.id_allocated.fetch_add(1, Ordering::SeqCst);
        state.delayed_notify_all = Some(DelayedState { id, due });
        Some(DelayedNotifyAll { key: key.clone(), id })
    }

    /// Waits until the wake-up is due and takes the requests to wake. Later releases may delay it.
    /// TiKV: `async_delayed_notify_all`.
    pub async fn delayed_notify_all(&self, delayed: DelayedNotifyAll) -> Woken {
        loop {
            let due = {
                let map = self.inner.queue_map.lock();
                let state = map.get(&delayed.key).and_then(|state| state.delayed_notify_all.as_ref());
                state.filter(|scheduled| scheduled.id == delayed.id).map(|scheduled| scheduled.due)
            };
            // All requests have left the queue.
            let Some(due) = due else { return Woken::default() };
            let left = due.saturating_since(EngineClock::now());
            if left.is_zero() {
                return self.take_delayed(&delayed);
            }
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }

    /// Takes the requests that waited at the last release, up to the first one of fair locking, which gets the
    /// lock. TiKV: `delayed_notify_all`.
    fn take_delayed(&self, delayed: &DelayedNotifyAll) -> Woken {
        let (mut woken, mut map) = (Woken::default(), self.inner.queue_map.lock());
        let Some(state) = map.get_mut(&delayed.key) else { return woken };
        if state.delayed_notify_all.take_if(|scheduled| scheduled.id == delayed.id).is_none() {
            return woken;
        }
        let ((start_ts, commit_ts), latest) = (state.last_conflict, state.legacy_wake_up_index);
        while let Some(first) = state.queue.first_entry() {
            if first.get().legacy_wake_up_index.is_some_and(|index| index >= latest) {
                break;
            }
            let entry = first.remove();
            self.inner.entries_count.fetch_sub(1, Ordering::SeqCst);
            if entry.parameters.allow_lock_with_conflict {
                woken.resumable.push(entry);
                break;
            }
            let error = entry.conflict(start_ts, commit_ts);
            woken.legacy.push((entry, error));
        }
        if state.queue.is_empty() {
            map.remove(&delayed.key);
        }
        woken
    }

    /// Takes a request out of its queue; `None` if it is not there.
    pub fn remove_by_token(
        &self,
        key: &Key,
        start_ts: TimeStamp,
        token: LockWaitToken,
    ) -> Option<LockWaitEntry> {
        self.remove(&mut self.inner.queue_map.lock(), key, (start_ts, token))
    }

    fn remove(
        &self,
        map: &mut HashMap<Key, KeyLockWaitState>,
        key: &Key,
        position: (TimeStamp, LockWaitToken),
    ) -> Option<LockWaitEntry> {
        let state = map.get_mut(key)?;
        let entry = state.queue.remove(&position)?;
        self.inner.entries_count.fetch_sub(1, Ordering::SeqCst);
        if state.queue.is_empty() {
            map.remove(key);
        }
        Some(entry)
    }

    /// Takes a request out of its queue and returns it with the error. If it is not there, keeps the error for
    /// its return to the queue.
    pub(super) fn remove_or_put_error(
        &self,
        key: &Key,
        start_ts: TimeStamp,
        token: LockWaitToken,
        req_states: &LockWaitContextSharedState,
        error: Error,
    ) -> Option<(LockWaitEntry, Error)> {
        // Hold the queues, so that the request cannot come back in between.
        let mut map = self.inner.queue_map.lock();
        match self.remove(&mut map, key, (start_ts, token)) {
            Some(entry) => Some((entry, error)),
            None => {
                req_states.put_external_error(error);
                None
            }
        }
    }

    /// Whether a request waits for the key.
    pub fn has_waiters(&self, key: &Key) -> bool {
        self.inner.queue_map.lock().contains_key(key)
    }

    /// Reports new locks to the requests that wait for their keys. TiKV: `update_lock_wait`.
    pub fn update_lock_wait(&self, lock_info: Vec<LockInfo>) {
        let mut events = Vec::new();
        {
            let mut map = self.inner.queue_map.lock();
            for lock in lock_info {
                let key = Key::from_raw(&lock.key);
                let Some(state) = map.get_mut(&key) else { continue };
                // The transaction has changed its own lock.
                if holders(&state.current_lock).eq(holders(&lock)) {
                    continue;
                }
                state.current_lock = lock;
                events.extend(state.queue.values().map(|entry| entry.update_event(&state.current_lock)));
            }
        }
        if !events.is_empty() {
            self.inner.lock_mgr.update_wait_for(events);
        }
    }

    /// Drops all requests, also later ones; their callers get `Closed`.
    pub fn close(&self) {
        let mut map = self.inner.queue_map.lock();
        self.inner.closed.store(true, Ordering::SeqCst);
        self.inner.entries_count.store(0, Ordering::SeqCst);
        let removed = std::mem::take(&mut *map);
        drop(map);
        drop(removed);
    }

    /// Returns the number of waiting requests.
    pub fn entry_count(&self) -> usize {
        self.inner.entries_count.load(Ordering::SeqCst)
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.entry_count() == 0
    }

    /// Returns the lock manager.
    pub fn get_lock_mgr(&self) -> &SharedLockManager {
        &self.inner.lock_mgr
    }

    /// Returns the queues, that of `key` first: the holder of each lock, and the requests that wait for it.
    pub fn probe(&self, key: &Key) -> LockWaitsProbe {
        let map = self.inner.queue_map.lock();
        let first = map.get_key_value(key).into_iter();
        let others = map.iter().filter(|(other, _)| *other != key);
        let queues = first.chain(others).take(MAX_PROBED).map(|(key, state)| state.probe(key)).collect();
        LockWaitsProbe { store: u64::from(tracepoints::thread::store()), queues, chain: Vec::new() }
    }
}

impl KeyLockWaitState {
    fn probe(&self, key: &Key) -> LockQueue {
        let waiter = |entry: &LockWaitEntry| LockWaiter {
            start_ts: entry.parameters.start_ts.into_inner(),
            fair: entry.parameters.allow_lock_with_conflict,
        };
        LockQueue {
            key: key.to_raw().map_or_else(|_| key.to_string(), |raw| keys::escape(&raw)),
            holder: holders(&self.current_lock).next().unwrap_or_default(),
            other_holders: holders(&self.current_lock).skip(1).take(MAX_PROBED).collect(),
            waiters: self.queue.values().take(MAX_PROBED).map(waiter).collect(),
        }
    }
}
