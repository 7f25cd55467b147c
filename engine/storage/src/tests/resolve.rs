//! Handling of a found lock: ask its primary, resolve it, scan for it.
use kvproto::kvrpcpb::{self, Action, Context};
use tracepoints::Req;

use super::store::{TestStore, at_ms, key_error, prewrite_request, put, wait};
use crate::TxnStatus;

fn check(
    store: &TestStore,
    lock_ms: u64,
    now_ms: u64,
    caller: u64,
    rollback: bool,
) -> crate::Result<TxnStatus> {
    store.check_txn_status(kvrpcpb::CheckTxnStatusRequest {
        primary_key: b"p".to_vec(),
        lock_ts: at_ms(lock_ms),
        caller_start_ts: caller,
        current_ts: at_ms(now_ms),
        rollback_if_not_exist: rollback,
        ..Default::default()
    })
}

#[test]
fn the_status_of_a_live_transaction_is_its_lock() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"p", b"v")], at_ms(1000));
    let status = check(&store, 1000, 4000, 0, true).unwrap();
    let TxnStatus::Uncommitted { lock, min_commit_ts_pushed: false } = &status else { panic!("{status:?}") };
    assert_eq!(lock.ttl, 3000);
    let reply = status.into_check_response(b"p".to_vec());
    assert_eq!((reply.action(), reply.lock_ttl, reply.commit_version), (Action::NoAction, 3000, 0));
    assert_eq!(reply.lock_info.unwrap().key, b"p");
}

#[test]
fn a_dead_transaction_is_rolled_back() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"p", b"v"), put(b"s", b"v")], at_ms(1000));
    assert_eq!(check(&store, 1000, 4001, 0, true).unwrap(), TxnStatus::TtlExpire);
    assert_eq!(check(&store, 1000, 4001, 0, true).unwrap(), TxnStatus::RolledBack);
    assert!(store.commit(&[b"p"], at_ms(1000), at_ms(1001)).is_err());
    store.must_be_locked(b"s", at_ms(2000));
    let req = kvrpcpb::ResolveLockRequest { start_version: at_ms(1000), ..Default::default() };
    store.resolve(req).unwrap();
    store.must_get_none(b"s", at_ms(2000));
}

#[test]
fn keys_are_resolved_for_one_transaction_only() {
    let store = TestStore::new();
    let req = kvrpcpb::ResolveLockRequest { keys: vec![b"k".to_vec()], ..Default::default() };
    let error = key_error(&store.resolve(req).unwrap_err()).abort;
    assert!(error.contains("start_version"), "{error}");
}

#[test]
fn the_status_of_ended_and_unknown_transactions() {
    let store = TestStore::new();
    let unknown = check(&store, 500, 501, 0, false).unwrap_err();
    assert_eq!(key_error(&unknown).txn_not_found.unwrap().start_ts, at_ms(500));
    assert_eq!(check(&store, 500, 501, 0, true).unwrap(), TxnStatus::LockNotExist);
    let reply = TxnStatus::LockNotExist.into_check_response(vec![]);
    assert_eq!(reply.action(), Action::LockNotExistRollback);
    // The check has left a rollback, so that the late prewrite fails.
    assert!(store.prewrite(vec![put(b"p", b"v")], at_ms(500)).is_err());
    store.must_put(b"p", b"v", at_ms(1000), at_ms(1001));
    assert_eq!(
        check(&store, 1000, 9000, 0, true).unwrap(),
        TxnStatus::Committed { commit_ts: at_ms(1001).into() }
    );
}

#[test]
fn a_reader_pushes_min_commit_ts_above_itself() {
    let store = TestStore::new();
    let mut req = prewrite_request(vec![put(b"p", b"v")], at_ms(1000));
    req.min_commit_ts = at_ms(1000) + 1;
    store.prewrite_with(req).unwrap();
    let reader = at_ms(1500);
    let status = check(&store, 1000, 1200, reader, true).unwrap();
    let TxnStatus::Uncommitted { lock, min_commit_ts_pushed: true } = &status else { panic!("{status:?}") };
    assert_eq!(lock.min_commit_ts, (reader + 1).into());
    assert_eq!(status.clone().into_check_response(vec![]).action(), Action::MinCommitTsPushed);
    // The reader ignores the lock, and the writer must commit above the reader.
    store.must_get_none(b"p", reader);
    let expired =
        key_error(&store.commit(&[b"p"], at_ms(1000), reader).unwrap_err()).commit_ts_expired.unwrap();
    assert_eq!((expired.attempted_commit_ts, expired.min_commit_ts), (reader, reader + 1));
    store.commit(&[b"p"], at_ms(1000), reader + 1).unwrap();
    store.must_get_none(b"p", reader);
    store.must_get(b"p", reader + 1, b"v");
}

#[test]
fn a_status_check_of_a_secondary_is_an_error() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"q", b"v"), put(b"p", b"v")], at_ms(1000));
    let req = kvrpcpb::CheckTxnStatusRequest {
        primary_key: b"p".to_vec(),
        lock_ts: at_ms(1000),
        current_ts: at_ms(1001),
        verify_is_primary: true,
        ..Default::default()
    };
    let mismatch = key_error(&store.check_txn_status(req).unwrap_err()).primary_mismatch.unwrap();
    assert_eq!(mismatch.lock_info.unwrap().primary_lock, b"q");
}

#[test]
fn a_heartbeat_extends_the_ttl() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"p", b"v")], at_ms(1000));
    let ttl = |status| match status {
        Ok(TxnStatus::Uncommitted { lock, .. }) => lock.ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(ttl(store.heart_beat(b"p", at_ms(1000), 20_000)), 20_000);
    assert_eq!(ttl(store.heart_beat(b"p", at_ms(1000), 10)), 20_000);
    assert!(matches!(check(&store, 1000, 15_000, 0, true), Ok(TxnStatus::Uncommitted { .. })));
    let gone = store.heart_beat(b"x", at_ms(1000), 10).unwrap_err();
    assert!(key_error(&gone).txn_not_found.is_some());
}

#[test]
fn locks_of_many_keys_are_resolved_in_several_rounds() {
    let store = TestStore::new();
    let key = |i: usize| format!("k{i:04}").into_bytes();
    let count = 3 * crate::txn::commands::RESOLVE_LOCK_BATCH_SIZE / 2;
    store.must_prewrite((0..count).map(|i| put(&key(i), &[b'v'; 200])).collect(), 5);
    store.must_prewrite(vec![put(b"other", b"v")], 6);
    store.must_prewrite(vec![put(b"third", b"v")], 7);
    let info = |txn, status| kvrpcpb::TxnInfo { txn, status, ..Default::default() };
    let txn_infos = vec![info(5, 10), info(6, 0)];
    store.resolve(kvrpcpb::ResolveLockRequest { txn_infos, ..Default::default() }).unwrap();
    for i in 0..count {
        store.must_get(&key(i), 20, &[b'v'; 200]);
    }
    store.must_get_none(b"other", 20);
    store.must_be_locked(b"third", 20);
    store.must_become_idle();
}

#[test]
fn named_keys_are_resolved_at_once() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"a", b"v"), put(b"b", b"v")], 5);
    let req = kvrpcpb::ResolveLockRequest {
        start_version: 5,
        commit_version: 10,
        keys: vec![b"b".to_vec()],
        ..Default::default()
    };
    store.resolve(req).unwrap();
    store.must_get(b"b", 20, b"v");
    store.must_be_locked(b"a", 20);
    let bad = kvrpcpb::ResolveLockRequest {
        start_version: 5,
        commit_version: 4,
        keys: vec![b"a".to_vec()],
        ..Default::default()
    };
    assert!(store.resolve(bad).is_err());
    store.must_be_locked(b"a", 20);
}

#[test]
fn scan_lock_finds_old_locks_of_the_range() {
    let store = TestStore::new();
    for (key, ts) in [(b"a", 5), (b"b", 10), (b"c", 15), (b"d", 20)] {
        store.must_prewrite(vec![put(key, b"v")], ts);
    }
    let scan = |max_ts: u64, start: &[u8], end: &[u8], limit| {
        let key = txn_types::Key::from_raw_maybe_unbounded;
        let scan = store.storage.scan_lock(
            Context::default(),
            max_ts.into(),
            key(start),
            key(end),
            limit,
            Req::NONE,
        );
        let (locks, _) = wait(scan).unwrap();
        locks.into_iter().map(|l| l.lock_version).collect::<Vec<_>>()
    };
    assert_eq!(scan(15, b"", b"", 0), [5, 10, 15]);
    assert_eq!(scan(15, b"b", b"", 0), [10, 15]);
    assert_eq!(scan(99, b"b", b"d", 0), [10, 15]);
    assert_eq!(scan(99, b"", b"", 2), [5, 10]);
}
