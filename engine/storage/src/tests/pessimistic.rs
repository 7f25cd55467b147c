//! Pessimistic locks: acquire, release, prewrite, commit.
use kvproto::kvrpcpb::{
    self, Action, Assertion, Op,
    PessimisticLockKeyResultType::{LockResultFailed, LockResultNormal},
    PessimisticLockWakeUpMode,
    prewrite_request::PessimisticAction,
    write_conflict::Reason,
};

use super::store::{TestStore, at_ms, key_error, op, prewrite_request, put};
use crate::{
    PessimisticLockResults, Result, TxnStatus,
    txn::commands::{AcquirePessimisticLock, RESOLVE_LOCK_BATCH_SIZE, typed_pessimistic_rollback},
    types::PrewriteResult,
};

fn lock_request(key: &[u8], start_ts: u64, for_update_ts: u64) -> kvrpcpb::PessimisticLockRequest {
    kvrpcpb::PessimisticLockRequest {
        mutations: vec![op(Op::PessimisticLock, key)],
        primary_lock: key.to_vec(),
        start_version: start_ts,
        for_update_ts,
        lock_ttl: 3000,
        // These tests never wait: `lock_waits.rs` does.
        wait_timeout: -1,
        ..Default::default()
    }
}

fn acquire(store: &TestStore, req: kvrpcpb::PessimisticLockRequest) -> Result<PessimisticLockResults> {
    store.run(AcquirePessimisticLock::try_from(req)?)
}

fn prewrite(store: &TestStore, key: &[u8], start_ts: u64, for_update_ts: u64) -> Result<PrewriteResult> {
    let mut req = prewrite_request(vec![put(key, b"new")], start_ts);
    req.for_update_ts = for_update_ts;
    req.pessimistic_actions = vec![PessimisticAction::DoPessimisticCheck.into()];
    store.prewrite_with(req)
}

#[test]
fn a_prewrite_needs_a_known_action_for_each_mutation() {
    let store = TestStore::new();
    let request = || prewrite_request(vec![put(b"a", b"v"), put(b"b", b"v")], 10);
    for actions in [vec![], vec![0], vec![0; 3], vec![0, 9]] {
        let pessimistic_actions = actions.clone();
        let req = kvrpcpb::PrewriteRequest { for_update_ts: 10, pessimistic_actions, ..request() };
        let error = key_error(&store.prewrite_with(req).unwrap_err()).abort;
        assert!(error.contains("pessimistic_actions"), "{actions:?}: {error}");
    }
    store.must_get_none(b"a", 20);
}

#[test]
fn unknown_values_of_enums_are_refused() {
    let store = TestStore::new();
    let req = kvrpcpb::PrewriteRequest { assertion_level: 9, ..prewrite_request(vec![put(b"k", b"v")], 10) };
    assert!(key_error(&store.prewrite_with(req).unwrap_err()).abort.contains("assertion_level"));
    let req = kvrpcpb::PessimisticLockRequest { wake_up_mode: 9, ..lock_request(b"k", 10, 10) };
    assert!(key_error(&acquire(&store, req).unwrap_err()).abort.contains("wake_up_mode"));
    let mut req = lock_request(b"k", 10, 10);
    req.mutations[0].assertion = 9;
    assert!(key_error(&acquire(&store, req).unwrap_err()).abort.contains("assertion"));
}

#[test]
fn a_lock_blocks_writers_but_no_readers() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    acquire(&store, lock_request(b"k", 20, 20)).unwrap();
    acquire(&store, lock_request(b"k", 20, 20)).unwrap();
    store.must_get(b"k", 30, b"v");
    let other = key_error(&acquire(&store, lock_request(b"k", 21, 21)).unwrap_err()).locked.unwrap();
    assert_eq!((other.lock_version, other.lock_type()), (20, Op::PessimisticLock));
    assert_eq!(store.prewrite(vec![put(b"k", b"w")], 22).unwrap().locks.len(), 1);
    assert!(prewrite(&store, b"k", 20, 20).unwrap().locks.is_empty());
    store.commit(&[b"k"], 20, 30).unwrap();
    store.must_get(b"k", 30, b"new");
}

#[test]
fn values_and_existence_are_returned_as_of_for_update_ts() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 30);
    let ask = |key: &[u8], values, existence| {
        let mut req = lock_request(key, 20, 40);
        (req.return_values, req.check_existence) = (values, existence);
        acquire(&store, req).unwrap().into_legacy_values_and_not_founds()
    };
    assert_eq!(ask(b"k", true, false), (vec![b"v".to_vec()], vec![false]));
    assert_eq!(ask(b"k", false, true), (vec![], vec![false]));
    assert_eq!(ask(b"none", true, false), (vec![vec![]], vec![true]));
    assert_eq!(ask(b"none", false, true), (vec![], vec![true]));
    assert_eq!(ask(b"k2", false, false), (vec![], vec![]));
    assert!(store.storage.get_concurrency_manager().max_ts() >= 40.into());
}

#[test]
fn a_newer_version_requires_a_retry() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 30);
    let error = key_error(&acquire(&store, lock_request(b"k", 20, 25)).unwrap_err());
    let conflict = error.conflict.unwrap();
    assert_eq!((conflict.reason(), conflict.conflict_commit_ts), (Reason::PessimisticRetry, 30));
    acquire(&store, lock_request(b"k", 20, 31)).unwrap();
    let mut absent = lock_request(b"k", 20, 32);
    absent.mutations[0].assertion = Assertion::NotExist.into();
    assert!(key_error(&acquire(&store, absent).unwrap_err()).already_exist.is_some());
}

#[test]
fn a_lost_lock_is_amended_only_without_newer_writes() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    assert!(prewrite(&store, b"k", 20, 20).unwrap().locks.is_empty());
    store.rollback(&[b"k"], 20).unwrap();
    store.must_put(b"l", b"v", 5, 25);
    let error = prewrite(&store, b"l", 20, 20).unwrap_err();
    assert!(error.to_string().contains("LockMissingAmendFail"), "{error}");
    acquire(&store, lock_request(b"m", 30, 30)).unwrap();
    assert!(prewrite(&store, b"m", 31, 31).unwrap_err().to_string().contains("LockTsMismatch"));
}

#[test]
fn a_rollback_releases_locks_up_to_for_update_ts() {
    let store = TestStore::new();
    acquire(&store, lock_request(b"a", 20, 20)).unwrap();
    acquire(&store, lock_request(b"b", 20, 30)).unwrap();
    let req = kvrpcpb::PessimisticRollbackRequest {
        start_version: 20,
        for_update_ts: 25,
        keys: vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()],
        ..Default::default()
    };
    store.run(typed_pessimistic_rollback(req)).unwrap();
    acquire(&store, lock_request(b"a", 40, 40)).unwrap();
    assert!(acquire(&store, lock_request(b"b", 40, 40)).is_err());
}

#[test]
fn a_rollback_without_keys_releases_all_locks() {
    let store = TestStore::new();
    let key = |i: usize| format!("k{i:04}").into_bytes();
    let count = RESOLVE_LOCK_BATCH_SIZE + 10;
    let mut req = lock_request(b"k0000", 20, 20);
    req.mutations = (0..count).map(|i| op(Op::PessimisticLock, &key(i))).collect();
    acquire(&store, req).unwrap();
    acquire(&store, lock_request(b"other", 21, 21)).unwrap();
    let req =
        kvrpcpb::PessimisticRollbackRequest { start_version: 20, for_update_ts: 20, ..Default::default() };
    store.run(typed_pessimistic_rollback(req)).unwrap();
    let mut again = lock_request(b"k0000", 30, 30);
    again.mutations = (0..count).map(|i| op(Op::PessimisticLock, &key(i))).collect();
    acquire(&store, again).unwrap();
    assert!(acquire(&store, lock_request(b"other", 30, 30)).is_err());
    store.must_become_idle();
}

#[test]
fn a_rolled_back_transaction_gets_no_lock() {
    let store = TestStore::new();
    store.cleanup(b"k", 20, 0).unwrap();
    let error = acquire(&store, lock_request(b"k", 20, 20)).unwrap_err();
    assert!(error.to_string().contains("already rolled back"), "{error}");
    // Also if a newer record hides the rollback.
    store.must_put(b"k", b"v", 21, 25);
    let error = acquire(&store, lock_request(b"k", 20, 30)).unwrap_err();
    assert!(error.to_string().contains("already rolled back"), "{error}");
}

#[test]
fn a_status_check_removes_expired_pessimistic_locks() {
    let store = TestStore::new();
    let start = at_ms(1000);
    let check = |resolving| {
        let req = kvrpcpb::CheckTxnStatusRequest {
            primary_key: b"p".to_vec(),
            lock_ts: start,
            current_ts: at_ms(5000),
            rollback_if_not_exist: true,
            resolving_pessimistic_lock: resolving,
            ..Default::default()
        };
        store.check_txn_status(req).unwrap()
    };
    acquire(&store, lock_request(b"p", start, start)).unwrap();
    assert_eq!(check(true), TxnStatus::PessimisticRollBack);
    assert_eq!(check(true), TxnStatus::LockNotExistDoNothing);
    let reply = TxnStatus::PessimisticRollBack.into_check_response(vec![]);
    assert_eq!(reply.action(), Action::TtlExpirePessimisticRollback);
    acquire(&store, lock_request(b"p", start, start)).unwrap();
    assert_eq!(check(false), TxnStatus::TtlExpire);
    assert!(acquire(&store, lock_request(b"p", start, start)).is_err());
}

#[test]
fn committing_a_pessimistic_lock_only_removes_it() {
    let store = TestStore::new();
    acquire(&store, lock_request(b"k", 20, 20)).unwrap();
    store.commit(&[b"k"], 20, 30).unwrap();
    store.must_get_none(b"k", 40);
    acquire(&store, lock_request(b"k", 41, 41)).unwrap();
}

/// One key per request; a failure is an error of the key, not of the request.
#[test]
fn fair_locking_returns_a_result_per_key() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let request = |key: &[u8], ts| {
        let mut req = lock_request(key, ts, ts);
        req.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
        req.return_values = true;
        req
    };
    let ask = |key: &[u8], ts| {
        let (results, errors) = acquire(&store, request(key, ts)).unwrap().into_results_and_errors();
        assert_eq!(results.len(), 1);
        (results[0].clone(), errors)
    };
    let (locked, errors) = ask(b"k", 20);
    assert_eq!((locked.r#type(), locked.value.as_slice()), (LockResultNormal, &b"v"[..]));
    assert!(locked.existence && errors.is_empty(), "{errors:?}");
    let (failed, errors) = ask(b"k", 21);
    assert_eq!(failed.r#type(), LockResultFailed);
    assert_eq!(errors[0].locked.as_ref().map(|l| l.lock_version), Some(20));
    let mut two = request(b"k", 40);
    two.mutations.push(op(Op::PessimisticLock, b"l"));
    assert!(key_error(&acquire(&store, two).unwrap_err()).abort.contains("multiple keys"));
}
