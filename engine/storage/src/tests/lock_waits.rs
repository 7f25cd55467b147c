//! Waiting for pessimistic locks: the queues, their order, and the ends of waits.
use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kvproto::{
    deadlock::WaitForEntry,
    kvrpcpb::{
        self, Op, PessimisticLockKeyResult as KeyResult,
        PessimisticLockKeyResultType::{LockResultFailed, LockResultLockedWithConflict, LockResultNormal},
        PessimisticLockRequest, PessimisticLockWakeUpMode,
    },
};

use super::store::{LIMIT, TestStore, key_error, op, put, wait};
use crate::{
    PessimisticLockResults, Result, extract_region_error, mvcc,
    txn::commands::{AcquirePessimisticLock, typed_pessimistic_rollback},
};

fn request(key: &[u8], start_ts: u64) -> PessimisticLockRequest {
    PessimisticLockRequest {
        mutations: vec![op(Op::PessimisticLock, key)],
        primary_lock: key.to_vec(),
        start_version: start_ts,
        for_update_ts: start_ts,
        lock_ttl: 3000,
        return_values: true,
        ..Default::default()
    }
}

fn fair(key: &[u8], start_ts: u64) -> PessimisticLockRequest {
    let mut req = request(key, start_ts);
    req.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
    req
}

pub(super) type Waiting = JoinHandle<Result<PessimisticLockResults>>;

/// Sends a request and waits until it is in its queue.
pub(super) fn enqueue(store: &TestStore, req: PessimisticLockRequest) -> Waiting {
    let before = waiting(store);
    let sent = send(store, req);
    until("the request waits", || waiting(store) > before);
    sent
}

fn send(store: &TestStore, req: PessimisticLockRequest) -> Waiting {
    let store = store.clone();
    std::thread::spawn(move || store.run(AcquirePessimisticLock::try_from(req)?))
}

/// Number of requests in the queues, once the lock manager knows all of them.
pub(super) fn waiting(store: &TestStore) -> usize {
    let queued = store.storage.get_scheduler().get_lock_wait_queues().entry_count();
    if store.lock_mgr.waiting() < queued { 0 } else { queued }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn lock(store: &TestStore, req: PessimisticLockRequest) -> Result<PessimisticLockResults> {
    store.run(AcquirePessimisticLock::try_from(req)?)
}

/// Returns a store with a delay that no test reaches: a release wakes only the requests that it wakes at once.
pub(super) fn without_delayed_wake_up() -> TestStore {
    TestStore::with_config(crate::Config {
        wake_up_delay_duration: Duration::from_secs(3600),
        scheduler_worker_pool_size: 2,
        read_pool_threads: 1,
        ..Default::default()
    })
}

/// Writes the locked key and commits.
fn commit(store: &TestStore, key: &[u8], start_ts: u64, commit_ts: u64) {
    let mut req = super::store::prewrite_request(vec![put(key, b"new")], start_ts);
    req.for_update_ts = start_ts;
    req.pessimistic_actions = vec![kvrpcpb::prewrite_request::PessimisticAction::DoPessimisticCheck.into()];
    assert!(store.prewrite_with(req).unwrap().locks.is_empty());
    store.commit(&[key], start_ts, commit_ts).unwrap();
}

fn conflict_of(waiting: Waiting) -> kvrpcpb::WriteConflict {
    key_error(&waiting.join().unwrap().unwrap_err()).conflict.expect("a conflict")
}

fn result_of(waiting: Waiting) -> (KeyResult, Vec<kvrpcpb::KeyError>) {
    let (mut results, errors) = waiting.join().unwrap().unwrap().into_results_and_errors();
    assert_eq!(results.len(), 1);
    (results.remove(0), errors)
}

#[test]
fn a_commit_wakes_a_waiting_request_with_a_conflict() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let second = enqueue(&store, request(b"k", 20));
    let waits = wait(store.storage.dump_wait_for_entries());
    assert_eq!(waits.iter().map(|w| (w.txn, w.wait_for_txn)).collect::<Vec<_>>(), [(20, 10)]);
    commit(&store, b"k", 10, 30);
    let conflict = conflict_of(second);
    let ts = (conflict.start_ts, conflict.conflict_ts, conflict.conflict_commit_ts);
    assert_eq!((ts, conflict.reason()), ((20, 10, 30), kvrpcpb::write_conflict::Reason::PessimisticRetry));
    store.must_become_idle();
    assert_eq!(store.lock_mgr.waiting(), 0, "the lock manager forgets the request");
}

#[test]
fn a_rollback_wakes_too() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let second = enqueue(&store, request(b"k", 20));
    let req = kvrpcpb::PessimisticRollbackRequest {
        start_version: 10,
        for_update_ts: 10,
        keys: vec![b"k".to_vec()],
        ..Default::default()
    };
    store.run(typed_pessimistic_rollback(req)).unwrap();
    assert_eq!(conflict_of(second).conflict_commit_ts, 0);
    lock(&store, request(b"k", 40)).unwrap();
    let third = enqueue(&store, request(b"k", 50));
    store.cleanup(b"k", 40, 0).unwrap();
    assert_eq!(conflict_of(third).conflict_ts, 40);
}

/// The oldest transaction is woken at once, the others after the delay.
#[test]
fn the_oldest_transaction_is_woken_first() {
    let store = without_delayed_wake_up();
    lock(&store, request(b"k", 10)).unwrap();
    let requests: Vec<Waiting> = [40, 20, 30].map(|ts| enqueue(&store, request(b"k", ts))).into();
    commit(&store, b"k", 10, 50);
    until("one is woken", || requests[1].is_finished());
    assert!(!requests[0].is_finished() && !requests[2].is_finished());
    // The next release wakes the next one.
    lock(&store, request(b"k", 60)).unwrap();
    commit(&store, b"k", 60, 70);
    until("the next one is woken", || requests[2].is_finished());
    assert_eq!(waiting(&store), 1);
    store.storage.stop();
    assert!(requests.into_iter().all(|request| request.join().unwrap().is_err()));
}

#[test]
fn the_delay_wakes_all_that_waited_at_the_release() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let requests = [20, 30, 40].map(|ts| enqueue(&store, request(b"k", ts)));
    commit(&store, b"k", 10, 50);
    for request in requests {
        assert_eq!(conflict_of(request).conflict_commit_ts, 50);
    }
    store.must_become_idle();
}

#[test]
fn a_wait_ends_with_the_lock_and_no_wait_fails_at_once() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let mut at_once = request(b"k", 20);
    at_once.wait_timeout = -1;
    let locked = key_error(&lock(&store, at_once.clone()).unwrap_err()).locked.unwrap();
    assert_eq!(locked.lock_version, 10);
    at_once.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
    let (results, errors) = lock(&store, at_once).unwrap().into_results_and_errors();
    assert!(results[0].r#type() == LockResultFailed && errors[0].locked.is_some(), "{errors:?}");
    let legacy = enqueue(&store, request(b"k", 30));
    let resumable = enqueue(&store, fair(b"k", 40));
    store.lock_mgr.simulate_timeout_all();
    assert_eq!(key_error(&legacy.join().unwrap().unwrap_err()).locked.unwrap().lock_version, 10);
    let (result, errors) = result_of(resumable);
    assert_eq!(result.r#type(), LockResultFailed);
    assert_eq!(errors[0].locked.as_ref().unwrap().lock_version, 10);
    store.must_become_idle();
}

/// The deadlock detector and changes of regions end waits, too.
#[test]
fn a_wait_ends_with_the_error_of_the_lock_manager() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let first = enqueue(&store, request(b"k", 20));
    let chain = vec![WaitForEntry { txn: 20, wait_for_txn: 10, ..Default::default() }];
    store.lock_mgr.end_all(|wait| {
        let error = mvcc::ErrorInner::Deadlock {
            start_ts: wait.start_ts,
            lock_ts: wait.wait_info.lock_digest.ts,
            lock_key: b"k".to_vec(),
            deadlock_key_hash: 7,
            wait_chain: chain.clone(),
        };
        mvcc::Error::from(error).into()
    });
    let deadlock = key_error(&first.join().unwrap().unwrap_err()).deadlock.unwrap();
    assert_eq!((deadlock.lock_ts, deadlock.deadlock_key_hash), (10, 7));
    assert_eq!((deadlock.lock_key, deadlock.wait_chain), (b"k".to_vec(), chain));
    let second = enqueue(&store, fair(b"k", 30));
    let region = kvproto::errorpb::Error { message: "moved".into(), ..Default::default() };
    store.lock_mgr.end_all(|_| tikv_kv::Error::from(tikv_kv::ErrorInner::Request(region.clone())).into());
    assert_eq!(extract_region_error(&second.join().unwrap()), Some(region), "also in fair locking");
    store.must_become_idle();
}

#[test]
fn fair_locking_continues_with_the_conflict_and_its_value() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let second = enqueue(&store, fair(b"k", 20));
    commit(&store, b"k", 10, 30);
    let (result, errors) = result_of(second);
    assert_eq!((result.r#type(), result.locked_with_conflict_ts), (LockResultLockedWithConflict, 30));
    assert!(result.existence && result.value == b"new" && errors.is_empty(), "{errors:?}");
    // A repeated request gets the same answer, and the lock has the commit's timestamp.
    let (again, _) = lock(&store, fair(b"k", 20)).unwrap().into_results_and_errors();
    assert_eq!((again[0].locked_with_conflict_ts, again[0].value.as_slice()), (30, &b"new"[..]));
    let locked = key_error(
        &lock(&store, PessimisticLockRequest { wait_timeout: -1, ..request(b"k", 40) }).unwrap_err(),
    )
    .locked
    .unwrap();
    assert_eq!((locked.lock_version, locked.lock_for_update_ts), (20, 30));
    store.must_become_idle();
}

#[test]
fn fair_locking_passes_the_lock_from_one_request_to_the_next() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let requests = [20, 30].map(|ts| enqueue(&store, fair(b"k", ts)));
    store.rollback(&[b"k"], 10).unwrap();
    let [second, third] = requests;
    // The rollback record of 10 is no conflict.
    assert_eq!(result_of(second).0.r#type(), LockResultNormal);
    assert!(!third.is_finished());
    until("the new lock is reported", || {
        store
            .lock_mgr
            .updates
            .lock()
            .iter()
            .any(|e| e.start_ts == 30.into() && e.wait_info.lock_digest.ts == 20.into())
    });
    commit(&store, b"k", 20, 40);
    assert_eq!(result_of(third).0.locked_with_conflict_ts, 40);
    store.must_become_idle();
}

/// Fair locking without a wait also locks despite a newer version, unless the key need not be locked.
#[test]
fn fair_locking_locks_despite_a_newer_version() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 31, 32);
    let (results, errors) = lock(&store, fair(b"k", 30)).unwrap().into_results_and_errors();
    assert_eq!(results[0].r#type(), LockResultLockedWithConflict);
    assert_eq!((results[0].locked_with_conflict_ts, results[0].value.as_slice()), (32, &b"v"[..]));
    assert!(errors.is_empty());
    store.must_delete(b"gone", 31, 32);
    let absent = PessimisticLockRequest { lock_only_if_exists: true, ..fair(b"gone", 30) };
    assert!(key_error(&lock(&store, absent).unwrap_err()).conflict.is_some());
    let mut insert = fair(b"k2", 30);
    insert.mutations[0].assertion = kvrpcpb::Assertion::NotExist.into();
    store.must_put(b"k2", b"v", 33, 34);
    assert!(key_error(&lock(&store, insert).unwrap_err()).conflict.is_some(), "not AlreadyExist");
}

#[test]
fn a_request_of_a_client_that_has_gone_leaves_the_queue() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let gone = AcquirePessimisticLock::try_from(fair(b"k", 20)).unwrap();
    let storage = store.storage.clone();
    wait(async {
        let call = storage.sched_txn_command(gone, tracepoints::Req::NONE);
        tokio::select! {
            _ = call => panic!("the key is locked"),
            () = async { while waiting(&store) == 0 { tokio::time::sleep(Duration::from_millis(1)).await } } => {}
        }
    });
    store.must_become_idle();
    assert_eq!(store.lock_mgr.waiting(), 0);
    commit(&store, b"k", 10, 30);
    lock(&store, PessimisticLockRequest { wait_timeout: -1, ..request(b"k", 40) }).unwrap();
}

/// No latch is held while a request waits: other commands on its keys run.
#[test]
fn a_request_that_waits_keeps_no_locks_and_latches() {
    let store = TestStore::new();
    lock(&store, request(b"b", 10)).unwrap();
    let mut two = request(b"a", 20);
    two.mutations.push(op(Op::PessimisticLock, b"b"));
    let waits = enqueue(&store, two);
    lock(&store, request(b"a", 30)).unwrap();
    commit(&store, b"a", 30, 40);
    commit(&store, b"b", 10, 50);
    assert_eq!(conflict_of(waits).key, b"b");
}

/// `max_execution_duration_ms` does not count the wait, which `wait_timeout` limits.
#[test]
fn a_wait_is_no_part_of_the_execution() {
    let store = TestStore::new();
    lock(&store, request(b"k", 10)).unwrap();
    let limited = |mut req: PessimisticLockRequest| {
        let context = kvrpcpb::Context { max_execution_duration_ms: 2000, ..Default::default() };
        req.context = Some(context);
        req
    };
    let waits = enqueue(&store, limited(fair(b"k", 20)));
    std::thread::sleep(Duration::from_millis(2100));
    commit(&store, b"k", 10, 30);
    let (result, errors) = result_of(waits);
    assert_eq!((result.r#type(), errors), (LockResultLockedWithConflict, vec![]));
    // In the normal mode, too.
    let waits = enqueue(&store, limited(request(b"k", 40)));
    std::thread::sleep(Duration::from_millis(2100));
    commit(&store, b"k", 20, 50);
    assert_eq!(conflict_of(waits).conflict_ts, 20);
}
