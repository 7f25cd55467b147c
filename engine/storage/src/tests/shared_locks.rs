//! Shared locks: several transactions lock one key.
use kvproto::kvrpcpb::{
    self, KeyError, LockInfo, Op, PessimisticLockRequest, prewrite_request::PessimisticAction,
};
use tikv_kv::{Engine, SnapContext, Snapshot};
use txn_types::{Key, LockInfoExt, SharedLocks};

use super::{
    lock_waits::{enqueue, lock, waiting, without_delayed_wake_up},
    store::{TestStore, at_ms, key_error, op, prewrite_request, put, wait},
};
use crate::{
    Result,
    txn::commands::{Flashback, typed_flush, typed_pessimistic_rollback},
    types::PrewriteResult,
};

/// The primary of the transaction that starts at `start_ts`: a shared key is never a primary.
fn primary(start_ts: u64) -> Vec<u8> {
    format!("primary {start_ts}").into_bytes()
}

fn request(kind: Op, key: &[u8], start_ts: u64) -> PessimisticLockRequest {
    PessimisticLockRequest {
        mutations: vec![op(kind, key)],
        primary_lock: primary(start_ts),
        start_version: start_ts,
        for_update_ts: start_ts,
        lock_ttl: 3000,
        wait_timeout: -1,
        ..Default::default()
    }
}

pub(super) fn share(store: &TestStore, key: &[u8], start_ts: u64) {
    lock(store, request(Op::SharedPessimisticLock, key, start_ts)).unwrap();
}

fn exclusive_error(store: &TestStore, key: &[u8], start_ts: u64) -> LockInfo {
    error_of(lock(store, request(Op::PessimisticLock, key, start_ts))).locked.unwrap()
}

fn error_of<T: std::fmt::Debug>(result: Result<T>) -> KeyError {
    key_error(&result.unwrap_err())
}

fn holders(lock: &LockInfo) -> Vec<u64> {
    lock.iter_locks().map(|lock| lock.lock_version).collect()
}

fn prewrite_op(store: &TestStore, kind: Op, key: &[u8], start_ts: u64) -> Result<PrewriteResult> {
    store.prewrite_with(pessimistic_prewrite(kind, key, start_ts))
}

fn pessimistic_prewrite(kind: Op, key: &[u8], start_ts: u64) -> kvrpcpb::PrewriteRequest {
    let mut req = prewrite_request(vec![op(kind, key)], start_ts);
    req.primary_lock = primary(start_ts);
    req.for_update_ts = start_ts;
    req.pessimistic_actions = vec![PessimisticAction::DoPessimisticCheck.into()];
    req
}

/// The record in CF lock.
fn stored(store: &TestStore, key: &[u8]) -> Option<Vec<u8>> {
    let snapshot = wait(store.storage.get_engine().async_snapshot(SnapContext::default())).unwrap();
    snapshot.get_cf(engine_rocks::CF_LOCK, &Key::from_raw(key)).unwrap()
}

fn shared(store: &TestStore, key: &[u8]) -> SharedLocks {
    SharedLocks::parse(&stored(store, key).expect("a lock")).unwrap()
}

#[test]
fn transactions_share_a_lock_and_readers_pass_it() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 6);
    share(&store, b"k", 10);
    share(&store, b"k", 20);
    share(&store, b"k", 20);
    assert_eq!(shared(&store, b"k").iter_ts().collect::<Vec<_>>(), [10.into(), 20.into()]);
    store.must_get(b"k", 30, b"v");
    // A later statement raises for_update_ts of its own lock only.
    let later = PessimisticLockRequest { for_update_ts: 25, ..request(Op::SharedPessimisticLock, b"k", 20) };
    lock(&store, later).unwrap();
    let locks = shared(&store, b"k");
    let for_update: Vec<_> = locks.iter().map(|lock| lock.for_update_ts.into_inner()).collect();
    assert_eq!(for_update, [10, 25]);
}

#[test]
fn the_record_of_a_shared_lock_has_tikvs_bytes() {
    let store = TestStore::new();
    let req =
        PessimisticLockRequest { primary_lock: b"p".into(), ..request(Op::SharedPessimisticLock, b"k", 5) };
    lock(&store, req).unwrap();
    // The last change of the key: none, so timestamp 0 and one version.
    let wanted = b"Hh\x01\x32S\x02p\x05\xb8\x17f\0\0\0\0\0\0\0\x05l\0\0\0\0\0\0\0\0\x01";
    assert_eq!(keys::escape(&stored(&store, b"k").unwrap()), keys::escape(wanted));
}

#[test]
fn an_exclusive_request_lets_no_further_transaction_join() {
    let store = TestStore::new();
    share(&store, b"k", 10);
    share(&store, b"k", 20);
    let found = exclusive_error(&store, b"k", 30);
    assert!(found.is_shared_lock());
    assert_eq!((found.key.as_slice(), holders(&found)), (&b"k"[..], vec![10, 20]));
    assert!(shared(&store, b"k").is_shrink_only());
    let refused = error_of(lock(&store, request(Op::SharedPessimisticLock, b"k", 40))).locked.unwrap();
    assert_eq!(holders(&refused), [10, 20]);
    // A transaction that has joined may repeat its request.
    share(&store, b"k", 20);
    assert!(shared(&store, b"k").is_shrink_only());
}

#[test]
fn a_shared_request_waits_for_an_exclusive_lock() {
    let store = TestStore::new();
    lock(&store, request(Op::PessimisticLock, b"k", 10)).unwrap();
    let found = error_of(lock(&store, request(Op::SharedPessimisticLock, b"k", 20))).locked.unwrap();
    assert_eq!((found.lock_version, found.lock_type()), (10, Op::PessimisticLock));
    // Also if it is the transaction's own.
    assert!(error_of(lock(&store, request(Op::SharedPessimisticLock, b"k", 10))).locked.is_some());
}

#[test]
fn the_locks_are_prewritten_and_committed_one_by_one() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 6);
    for ts in [10, 20, 30] {
        share(&store, b"k", ts);
    }
    assert!(prewrite_op(&store, Op::SharedLock, b"k", 20).unwrap().locks.is_empty());
    assert!(prewrite_op(&store, Op::SharedLock, b"k", 20).unwrap().locks.is_empty(), "repeated");
    let kinds: Vec<_> = shared(&store, b"k").iter().map(|lock| lock.lock_type).collect();
    use txn_types::LockType::{Lock, Pessimistic};
    assert_eq!(kinds, [Pessimistic, Lock, Pessimistic]);
    store.must_get(b"k", 40, b"v");
    store.commit(&[b"k"], 20, 40).unwrap();
    assert_eq!(shared(&store, b"k").iter_ts().collect::<Vec<_>>(), [10.into(), 30.into()]);
    store.commit(&[b"k"], 20, 40).unwrap();
    store.rollback(&[b"k"], 10).unwrap();
    assert!(prewrite_op(&store, Op::SharedLock, b"k", 30).unwrap().locks.is_empty());
    store.commit(&[b"k"], 30, 50).unwrap();
    assert_eq!(stored(&store, b"k"), None);
    store.must_get(b"k", 60, b"v");
    assert!(store.commit(&[b"k"], 10, 60).is_err(), "it was rolled back");
}

#[test]
fn a_prewrite_that_does_not_fit_the_lock_is_refused() {
    let store = TestStore::new();
    share(&store, b"k", 10);
    let text = |result: Result<PrewriteResult>| result.unwrap_err().to_string();
    assert!(text(prewrite_op(&store, Op::Put, b"k", 10)).contains("use Op::SharedLock to prewrite"));
    let missing = text(prewrite_op(&store, Op::SharedLock, b"k", 20));
    assert!(missing.contains("LockMissingAmendFail"), "{missing}");
    let missing = text(prewrite_op(&store, Op::SharedLock, b"free", 20));
    assert!(missing.contains("LockMissingAmendFail"), "{missing}");
    // Other transactions find the lock in their way.
    let blocked = prewrite_op(&store, Op::Put, b"k", 20).unwrap();
    let found = key_error(blocked.locks[0].as_ref().unwrap_err()).locked.unwrap();
    assert_eq!(holders(&found), [10]);
    assert_eq!(store.prewrite(vec![put(b"k", b"w")], 30).unwrap().locks.len(), 1);
    let mut one_pc = pessimistic_prewrite(Op::SharedLock, b"k", 10);
    one_pc.try_one_pc = true;
    assert!(text(store.prewrite_with(one_pc)).contains("incompatible with one-phase commit"));
    let mut async_commit = pessimistic_prewrite(Op::SharedLock, b"k", 10);
    async_commit.use_async_commit = true;
    assert!(text(store.prewrite_with(async_commit)).contains("cannot use async-commit"));
    // An exclusive lock in the way of a shared one.
    store.must_prewrite(vec![put(b"x", b"w")], 40);
    let blocked = prewrite_op(&store, Op::SharedLock, b"x", 50).unwrap();
    assert!(key_error(blocked.locks[0].as_ref().unwrap_err()).locked.is_some());
}

#[test]
fn a_flush_of_a_pipelined_transaction_is_refused() {
    let store = TestStore::new();
    share(&store, b"k", 10);
    let req = kvrpcpb::FlushRequest {
        mutations: vec![op(Op::SharedLock, b"k")],
        primary_key: primary(10),
        start_ts: 10,
        generation: 1,
        ..Default::default()
    };
    assert!(typed_flush(req).and_then(|flush| store.run(flush)).is_err());
    assert_eq!(shared(&store, b"k").len(), 1);
}

#[test]
fn an_optimistic_shared_lock_is_exclusive() {
    let store = TestStore::new();
    store.must_prewrite(vec![op(Op::SharedLock, b"k")], 10);
    assert!(error_of(lock(&store, request(Op::SharedPessimisticLock, b"k", 20))).locked.is_some());
    store.commit(&[b"k"], 10, 20).unwrap();
    assert_eq!(stored(&store, b"k"), None);
}

#[test]
fn a_shared_key_is_no_primary() {
    let store = TestStore::new();
    share(&store, b"k", 10);
    let mismatch = |e: KeyError| e.primary_mismatch.and_then(|m| m.lock_info).map(|lock| holders(&lock));
    assert_eq!(mismatch(error_of(store.heart_beat(b"k", 10, 9000))), Some(vec![10]));
    assert!(error_of(store.heart_beat(b"k", 20, 9000)).txn_not_found.is_some());
    let status = |lock_ts| kvrpcpb::CheckTxnStatusRequest {
        primary_key: b"k".to_vec(),
        lock_ts,
        rollback_if_not_exist: true,
        ..Default::default()
    };
    assert_eq!(mismatch(error_of(store.check_txn_status(status(10)))), Some(vec![10]));
    assert_eq!(mismatch(error_of(store.check_txn_status(status(20)))), Some(vec![10]));
}

#[test]
fn cleanup_obeys_the_time_to_live() {
    let store = TestStore::new();
    let (first, second) = (at_ms(1000), at_ms(2000));
    share(&store, b"k", first);
    share(&store, b"k", second);
    let found = error_of(store.cleanup(b"k", first, at_ms(3000))).locked.unwrap();
    assert_eq!(holders(&found), [first, second]);
    store.cleanup(b"k", first, at_ms(4500)).unwrap();
    assert_eq!(shared(&store, b"k").iter_ts().collect::<Vec<_>>(), [second.into()]);
    // A transaction that has not joined is rolled back without a change of the lock.
    store.cleanup(b"k", at_ms(1500), 0).unwrap();
    assert_eq!(shared(&store, b"k").len(), 1);
    assert!(lock(&store, request(Op::SharedPessimisticLock, b"k", first)).is_err(), "it is rolled back");
}

#[test]
fn pessimistic_rollback_releases_one_part() {
    let store = TestStore::new();
    for ts in [10, 20] {
        share(&store, b"a", ts);
        share(&store, b"b", ts);
    }
    let req = |keys: &[&[u8]], ts| kvrpcpb::PessimisticRollbackRequest {
        start_version: ts,
        for_update_ts: ts,
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        ..Default::default()
    };
    store.run(typed_pessimistic_rollback(req(&[b"a"], 10))).unwrap();
    assert_eq!((shared(&store, b"a").len(), shared(&store, b"b").len()), (1, 2));
    // Without keys: all of the transaction.
    store.run(typed_pessimistic_rollback(req(&[], 20))).unwrap();
    assert_eq!((stored(&store, b"a"), shared(&store, b"b").len()), (None, 1));
    // A prewritten part stays.
    prewrite_op(&store, Op::SharedLock, b"b", 10).unwrap();
    store.run(typed_pessimistic_rollback(req(&[b"b"], 10))).unwrap();
    assert_eq!(shared(&store, b"b").len(), 1);
}

#[test]
fn resolve_handles_all_parts_of_one_key() {
    let store = TestStore::new();
    for ts in [10, 20, 30, 40] {
        share(&store, b"k", ts);
    }
    for ts in [10, 30] {
        prewrite_op(&store, Op::SharedLock, b"k", ts).unwrap();
    }
    let info = |txn, status| kvrpcpb::TxnInfo { txn, status, ..Default::default() };
    let txn_infos = vec![info(10, 50), info(20, 0), info(30, 60), info(99, 0)];
    store.resolve(kvrpcpb::ResolveLockRequest { txn_infos, ..Default::default() }).unwrap();
    assert_eq!(shared(&store, b"k").iter_ts().collect::<Vec<_>>(), [40.into()]);
    // A pessimistic part of a committed transaction is removed, not committed.
    let keys = vec![b"k".to_vec()];
    let req =
        kvrpcpb::ResolveLockRequest { start_version: 40, commit_version: 70, keys, ..Default::default() };
    store.resolve(req).unwrap();
    assert_eq!(stored(&store, b"k"), None);
    assert!(store.commit(&[b"k"], 40, 70).is_err());
    store.commit(&[b"k"], 10, 50).unwrap();
    store.commit(&[b"k"], 30, 60).unwrap();
}

#[test]
fn a_scan_of_locks_returns_the_old_parts_and_counts_them() {
    let store = TestStore::new();
    for ts in [10, 20, 30] {
        share(&store, b"k", ts);
    }
    lock(&store, request(Op::PessimisticLock, b"l", 15)).unwrap();
    let scan = |max_ts: u64, limit| {
        let scan =
            store.storage.scan_lock(Default::default(), max_ts.into(), None, None, limit, Default::default());
        wait(scan).unwrap().0.iter().map(|lock| (lock.key.clone(), holders(lock))).collect::<Vec<_>>()
    };
    assert_eq!(scan(25, 0), [(b"k".to_vec(), vec![10, 20]), (b"l".to_vec(), vec![15])]);
    assert_eq!(scan(25, 1), [(b"k".to_vec(), vec![10])]);
    assert_eq!(scan(100, 3), [(b"k".to_vec(), vec![10, 20, 30])]);
    assert_eq!(scan(5, 0), []);
}

#[test]
fn a_flashback_rolls_back_each_part() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 6);
    share(&store, b"k", 10);
    share(&store, b"k", 20);
    let run = |commit_ts: u64| {
        store.run(Flashback {
            ctx: Default::default(),
            version: 7.into(),
            start_ts: 30.into(),
            commit_ts: commit_ts.into(),
            start_key: Key::from_raw(b""),
            end_key: None,
        })
    };
    run(0).unwrap();
    assert_eq!(stored(&store, b"k"), None);
    // The record of the later rollback replaces that of the earlier one.
    let again = lock(&store, request(Op::SharedPessimisticLock, b"k", 20));
    assert!(again.unwrap_err().to_string().contains("already rolled back"));
}

/// A request that waits for the lock in its way.
fn waiting_request(kind: Op, key: &[u8], start_ts: u64) -> PessimisticLockRequest {
    PessimisticLockRequest { wait_timeout: 0, ..request(kind, key, start_ts) }
}

#[test]
fn the_last_release_wakes_an_exclusive_request() {
    let store = TestStore::new();
    share(&store, b"k", 10);
    share(&store, b"k", 20);
    exclusive_error(&store, b"k", 30);
    let waits = enqueue(&store, waiting_request(Op::PessimisticLock, b"k", 30));
    store.rollback(&[b"k"], 10).unwrap();
    assert_eq!(waiting(&store), 1, "transaction 20 still has the lock");
    prewrite_op(&store, Op::SharedLock, b"k", 20).unwrap();
    store.commit(&[b"k"], 20, 40).unwrap();
    let conflict = error_of(waits.join().unwrap()).conflict.unwrap();
    assert_eq!((conflict.conflict_ts, conflict.conflict_commit_ts), (20, 40));
    let later = PessimisticLockRequest { for_update_ts: 50, ..request(Op::PessimisticLock, b"k", 30) };
    lock(&store, later).unwrap();
    store.must_become_idle();
}

/// An exclusive lock wakes all shared requests at the front of its queue, but not those after an exclusive one.
#[test]
fn shared_requests_are_woken_together() {
    let store = without_delayed_wake_up();
    lock(&store, request(Op::PessimisticLock, b"k", 10)).unwrap();
    let mut requests: Vec<_> = [
        (20, Op::SharedPessimisticLock),
        (30, Op::SharedPessimisticLock),
        (40, Op::PessimisticLock),
        (50, Op::SharedPessimisticLock),
    ]
    .map(|(ts, kind)| enqueue(&store, waiting_request(kind, b"k", ts)))
    .into();
    let rest = requests.split_off(2);
    store.rollback(&[b"k"], 10).unwrap();
    for woken in requests {
        assert!(error_of(woken.join().unwrap()).conflict.is_some());
    }
    assert!(rest.iter().all(|request| !request.is_finished()));
    share(&store, b"k", 20);
    share(&store, b"k", 30);
    store.storage.stop();
    assert!(rest.into_iter().all(|request| request.join().unwrap().is_err()));
}
