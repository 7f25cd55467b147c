//! Async commit and one-phase commit, and their fallback to two phases.
use kvproto::kvrpcpb::{self, Op};

use super::store::{TestStore, at_ms, key_error, op, prewrite_request, put};
use crate::{
    Config, SecondaryLocksStatus, TxnStatus, extract_region_error, txn::commands::CheckSecondaryLocks,
};

fn async_request(keys: &[&[u8]], start_ts: u64) -> kvrpcpb::PrewriteRequest {
    let mut req = prewrite_request(keys.iter().map(|k| put(k, b"v")).collect(), start_ts);
    req.use_async_commit = true;
    req.secondaries = keys[1..].iter().map(|k| k.to_vec()).collect();
    req
}

fn one_pc_request(keys: &[&[u8]], start_ts: u64) -> kvrpcpb::PrewriteRequest {
    let mut req = async_request(keys, start_ts);
    req.try_one_pc = true;
    req
}

fn check_secondaries(store: &TestStore, keys: &[&[u8]], start_ts: u64) -> SecondaryLocksStatus {
    let keys = keys.iter().map(|k| k.to_vec()).collect();
    let req = kvrpcpb::CheckSecondaryLocksRequest { keys, start_version: start_ts, ..Default::default() };
    store.run(CheckSecondaryLocks::from(req)).unwrap()
}

#[test]
fn min_commit_ts_is_above_all_reads() {
    let store = TestStore::new();
    store.must_get_none(b"s", 50);
    let result = store.prewrite_with(async_request(&[b"p", b"s"], 10)).unwrap();
    assert_eq!((result.min_commit_ts, result.one_pc_commit_ts), (51.into(), 0.into()));
    let lock = store.must_be_locked(b"p", 60);
    assert!(lock.use_async_commit);
    assert_eq!((lock.min_commit_ts, lock.secondaries), (51, vec![b"s".to_vec()]));
    // A reader below min_commit_ts ignores the lock.
    store.must_get_none(b"s", 50);
    // A repetition returns the same timestamp.
    assert_eq!(store.prewrite_with(async_request(&[b"p", b"s"], 10)).unwrap().min_commit_ts, 51.into());
    assert!(key_error(&store.commit(&[b"p"], 10, 50).unwrap_err()).commit_ts_expired.is_some());
    store.commit(&[b"p", b"s"], 10, 51).unwrap();
    store.must_get(b"s", 51, b"v");
    store.must_get_none(b"s", 50);
}

/// TiKV refuses until PD has sent a timestamp to a new leader; clients retry.
#[test]
fn an_async_commit_needs_a_synchronised_max_ts() {
    let store = TestStore::new();
    store.storage.get_engine().set_max_ts_synced(false);
    for request in [async_request(&[b"p", b"s"], 10), one_pc_request(&[b"p"], 10)] {
        let refused = extract_region_error(&store.prewrite_with(request)).unwrap();
        assert!(refused.max_timestamp_not_synced.is_some(), "{refused:?}");
    }
    store.must_get_none(b"p", 20);
    // Two-phase commit needs no min_commit_ts.
    store.must_prewrite(vec![put(b"q", b"v")], 11);
    store.storage.get_engine().set_max_ts_synced(true);
    let result = store.prewrite_with(async_request(&[b"p", b"s"], 10)).unwrap();
    assert_eq!(result.min_commit_ts, 21.into());
}

#[test]
fn one_phase_commits_at_once() {
    let store = TestStore::new();
    store.must_get_none(b"a", 20);
    let result = store.prewrite_with(one_pc_request(&[b"a", b"b"], 10)).unwrap();
    assert_eq!(result.one_pc_commit_ts, 21.into());
    store.must_get(b"a", 21, b"v");
    store.must_get(b"b", 21, b"v");
    store.must_get_none(b"b", 20);
    // A retry finds its commit.
    let again = store.prewrite_with(one_pc_request(&[b"a", b"b"], 10)).unwrap();
    assert_eq!(again.one_pc_commit_ts, 21.into());
}

#[test]
fn a_commit_above_max_commit_ts_falls_back_to_two_phases() {
    let store = TestStore::new();
    store.must_get_none(b"a", 100);
    for (start, one_pc) in [(10, false), (20, true)] {
        let key = [b'a' + start as u8];
        let mut req = async_request(&[&key, b"s1", b"s2"], start);
        req.secondaries.clear();
        req.mutations.truncate(1);
        req.try_one_pc = one_pc;
        req.max_commit_ts = 90;
        let result = store.prewrite_with(req).unwrap();
        assert_eq!((result.min_commit_ts, result.one_pc_commit_ts), (0.into(), 0.into()));
        let lock = store.must_be_locked(&key, 200);
        assert!(!lock.use_async_commit);
        store.commit(&[&key], start, 150).unwrap();
        store.must_get(&key, 150, b"v");
    }
}

#[test]
fn a_store_without_async_commit_uses_two_phases() {
    let config = Config { enable_async_commit: false, enable_one_pc: false, ..Config::default() };
    let store = TestStore::with_config(config);
    let result = store.prewrite_with(async_request(&[b"p", b"s"], 10)).unwrap();
    assert_eq!(result.min_commit_ts, 0.into());
    let result = store.prewrite_with(one_pc_request(&[b"q"], 11)).unwrap();
    assert_eq!((result.min_commit_ts, result.one_pc_commit_ts), (0.into(), 0.into()));
    assert!(!store.must_be_locked(b"q", 20).use_async_commit);
}

#[test]
fn an_expired_ttl_does_not_end_an_async_commit() {
    let store = TestStore::new();
    let start = at_ms(1000);
    store.prewrite_with(async_request(&[b"p", b"s"], start)).unwrap();
    let mut req = kvrpcpb::CheckTxnStatusRequest {
        primary_key: b"p".to_vec(),
        lock_ts: start,
        current_ts: at_ms(99_000),
        rollback_if_not_exist: true,
        ..Default::default()
    };
    let status = store.check_txn_status(req.clone()).unwrap();
    assert!(matches!(status, TxnStatus::Uncommitted { min_commit_ts_pushed: false, .. }), "{status:?}");
    req.force_sync_commit = true;
    assert_eq!(store.check_txn_status(req).unwrap(), TxnStatus::TtlExpire);
}

#[test]
fn check_secondary_locks_finds_missing_locks() {
    let store = TestStore::new();
    store.prewrite_with(async_request(&[b"p", b"s"], 10)).unwrap();
    let SecondaryLocksStatus::Locked(locks) = check_secondaries(&store, &[b"s"], 10) else { panic!() };
    assert_eq!(locks[0].lock_version, 10);
    // A key that was never prewritten rolls the transaction back permanently.
    assert_eq!(check_secondaries(&store, &[b"s", b"t"], 10), SecondaryLocksStatus::RolledBack);
    assert!(store.prewrite(vec![put(b"t", b"v")], 10).is_err());
    store.commit(&[b"s"], 10, 30).unwrap();
    assert_eq!(check_secondaries(&store, &[b"s"], 10), SecondaryLocksStatus::Committed(30.into()));
}

/// The lock of an async-commit transaction records a rollback at its possible commit_ts.
#[test]
fn a_rollback_under_an_async_commit_lock_is_not_lost() {
    let store = TestStore::new();
    store.prewrite_with(async_request(&[b"k"], 10)).unwrap();
    store.cleanup(b"k", 30, 0).unwrap();
    store.commit(&[b"k"], 10, 30).unwrap();
    store.must_get(b"k", 30, b"v");
    let late = key_error(&store.prewrite(vec![op(Op::Del, b"k")], 30).unwrap_err());
    assert_eq!(late.conflict.unwrap().reason(), kvrpcpb::write_conflict::Reason::SelfRolledBack);
}
