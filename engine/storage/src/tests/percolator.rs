//! Prewrite, commit, rollback: the guarantees of Percolator.
use kvproto::kvrpcpb::{
    Assertion, AssertionLevel, CommitRequest, CommitRole, Context, Op, PrewriteRequest,
    write_conflict::Reason,
};
use tikv_kv::{Engine, SnapContext};
use tracepoints::Req;
use txn_types::Key;

use super::store::{TestStore, at_ms, key_error, op, prewrite_request, put, range, wait};
use crate::{Result, ScanRange, TxnStatus, extract_committed, mvcc::probe::mvcc_rows, txn::commands::Commit};

#[test]
fn a_transaction_is_visible_from_its_commit_ts() {
    let store = TestStore::new();
    store.must_get_none(b"k", 1);
    store.must_prewrite(vec![put(b"k", b"v"), put(b"l", b"w")], 5);
    store.must_get_none(b"k", 4);
    let lock = store.must_be_locked(b"l", 6);
    assert_eq!((lock.primary_lock, lock.lock_version, lock.lock_ttl), (b"k".to_vec(), 5, 3000));
    assert_eq!(store.commit(&[b"k", b"l"], 5, 10).unwrap(), TxnStatus::Committed { commit_ts: 10.into() });
    store.must_get_none(b"k", 9);
    store.must_get(b"k", 10, b"v");
    store.must_get(b"l", u64::MAX, b"w");
}

#[test]
fn old_versions_stay_readable() {
    let store = TestStore::new();
    store.must_put(b"k", b"v1", 5, 10);
    store.must_put(b"k", b"v2", 15, 20);
    store.must_delete(b"k", 25, 30);
    store.must_get_none(b"k", 9);
    store.must_get(b"k", 19, b"v1");
    store.must_get(b"k", 29, b"v2");
    store.must_get_none(b"k", 30);
}

#[test]
fn reads_skip_lock_and_rollback_records() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    for i in 0..20 {
        let ts = 20 + i * 4;
        store.must_prewrite(vec![op(Op::Lock, b"k")], ts);
        // A LOCK record blocks no reader.
        store.must_get(b"k", ts + 1, b"v");
        store.commit(&[b"k"], ts, ts + 1).unwrap();
        store.must_prewrite(vec![put(b"k", b"x")], ts + 2);
        store.rollback(&[b"k"], ts + 2).unwrap();
    }
    let (value, stats) = store.get_with(Default::default(), b"k", u64::MAX).unwrap();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    // No stepping over 40 records: a LOCK record names the last change.
    assert!(stats.stats.write.get == 1 && stats.stats.write.next < 10, "{:?}", stats.stats.write);
    store.must_put(b"k", b"w", 200, 210);
    store.must_get(b"k", 205, b"v");
    store.must_get(b"k", 210, b"w");
}

#[test]
fn a_newer_commit_is_a_conflict() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let error = store.prewrite(vec![put(b"k", b"w")], 8).unwrap_err();
    let conflict = key_error(&error).conflict.unwrap();
    assert_eq!((conflict.start_ts, conflict.conflict_ts, conflict.conflict_commit_ts), (8, 5, 10));
    assert_eq!((conflict.reason(), conflict.key), (Reason::Optimistic, b"k".to_vec()));
    store.must_get(b"k", 20, b"v");
}

#[test]
fn a_locked_key_stops_the_whole_prewrite() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    let result = store.prewrite(vec![put(b"a", b"x"), put(b"k", b"w")], 7).unwrap();
    let [Err(error)] = result.locks.as_slice() else { panic!("expected one lock, found {:?}", result.locks) };
    assert_eq!(key_error(error).locked.unwrap().lock_version, 5);
    store.must_get_none(b"a", 100);
}

#[test]
fn repeated_requests_succeed() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    store.commit(&[b"k"], 5, 10).unwrap();
    store.commit(&[b"k"], 5, 10).unwrap();
    // A prewrite after its own commit finds the commit.
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    store.must_get(b"k", 10, b"v");
    store.rollback(&[b"z"], 7).unwrap();
    store.rollback(&[b"z"], 7).unwrap();
}

#[test]
fn a_rollback_is_permanent() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"k", &[b'v'; 300])], 5);
    store.rollback(&[b"k"], 5).unwrap();
    store.must_get_none(b"k", 100);
    let lost = store.commit(&[b"k"], 5, 10).unwrap_err();
    assert_eq!(key_error(&lost).txn_lock_not_found.unwrap().key, b"k");
    let late = key_error(&store.prewrite(vec![put(b"k", b"v")], 5).unwrap_err());
    assert_eq!(late.conflict.unwrap().reason(), Reason::SelfRolledBack);
    store.must_put(b"k", b"w", 20, 30);
    store.must_get(b"k", 30, b"w");
}

#[test]
fn a_rollback_before_its_prewrite_wins() {
    let store = TestStore::new();
    store.cleanup(b"k", 5, 0).unwrap();
    let late = key_error(&store.prewrite(vec![put(b"k", b"v")], 5).unwrap_err());
    assert_eq!(late.conflict.unwrap().reason(), Reason::SelfRolledBack);
}

#[test]
fn a_committed_transaction_cannot_be_rolled_back() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let error = store.rollback(&[b"k"], 5).unwrap_err();
    assert_eq!(extract_committed(&error), Some(10.into()));
    store.must_get(b"k", 10, b"v");
}

#[test]
fn a_commit_needs_its_lock_and_a_later_timestamp() {
    let store = TestStore::new();
    let error = store.commit(&[b"k"], 5, 10).unwrap_err();
    assert!(key_error(&error).txn_lock_not_found.is_some());
    assert!(!key_error(&error).retryable.is_empty());
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    assert!(key_error(&store.commit(&[b"k"], 5, 5).unwrap_err()).abort.contains("InvalidTxnTso"));
    assert!(store.commit(&[b"k"], 4, 10).is_err());
    store.commit(&[b"k"], 5, 6).unwrap();
}

#[test]
fn an_impossible_error_of_a_commit_has_all_records_of_the_key() {
    let store = TestStore::new();
    store.must_put(b"s", &[b'v'; 300], 1, 2);
    store.rollback(&[b"s"], 5).unwrap();
    let commit = |key: &[u8], role: CommitRole, start_version, commit_version| {
        let keys = vec![key.to_vec()];
        let commit_role = role.into();
        let req =
            CommitRequest { keys, start_version, commit_version, commit_role, ..CommitRequest::default() };
        let result: Result<TxnStatus> = store.run(Commit::from(req));
        key_error(&result.unwrap_err())
    };
    for role in [CommitRole::Unknown, CommitRole::Primary] {
        assert_eq!(commit(b"s", role, 5, 10).debug_info, None, "a client may roll back its primary");
    }
    let lost = commit(b"s", CommitRole::Secondary, 5, 10);
    assert!(lost.txn_lock_not_found.is_some() && !lost.retryable.contains("MvccInfo"), "{lost:?}");
    let debug = lost.debug_info.unwrap().mvcc_info.remove(0);
    let records = debug.mvcc.unwrap();
    assert_eq!((debug.key, records.lock), (b"s".to_vec(), None));
    assert_eq!(records.writes.iter().map(|w| w.start_ts).collect::<Vec<_>>(), [5, 1]);
    assert!(records.values.is_empty(), "the reply stays small");

    let request = prewrite_request(vec![put(b"p", b"v"), put(b"q", b"v")], 15);
    store.prewrite_with(PrewriteRequest { min_commit_ts: 20, ..request }).unwrap();
    let pushed = commit(b"p", CommitRole::Primary, 15, 17);
    assert!(pushed.commit_ts_expired.is_some() && pushed.debug_info.is_none(), "{pushed:?}");
    let late = commit(b"q", CommitRole::Secondary, 15, 17);
    assert_eq!(late.commit_ts_expired.map(|e| e.min_commit_ts), Some(20));
    let records = late.debug_info.unwrap().mvcc_info.remove(0).mvcc.unwrap();
    assert_eq!(records.lock.map(|lock| lock.start_ts), Some(15));
}

#[test]
fn cleanup_respects_the_ttl() {
    let store = TestStore::new();
    let start = at_ms(1000);
    store.must_prewrite(vec![put(b"k", b"v")], start);
    let alive = store.cleanup(b"k", start, at_ms(4000)).unwrap_err();
    assert_eq!(key_error(&alive).locked.unwrap().lock_version, start);
    store.cleanup(b"k", start, at_ms(4001)).unwrap();
    store.must_get_none(b"k", at_ms(5000));
}

#[test]
fn long_values_are_stored_in_cf_default() {
    let store = TestStore::new();
    for len in [0, 1, 255, 256, 100_000] {
        let (key, value) = (format!("k{len}"), vec![b'x'; len]);
        store.must_put(key.as_bytes(), &value, 5, 10);
        let (got, stats) = store.get_with(Default::default(), key.as_bytes(), 10).unwrap();
        assert_eq!(got.unwrap(), value);
        assert_eq!(stats.stats.data.get, usize::from(len > 255));
        assert_eq!(
            (stats.stats.lock.get, stats.stats.write.seek, stats.stats.write.processed_keys),
            (1, 1, 1)
        );
    }
}

/// A transaction commits at the start_ts of another one, whose rollback must not erase that commit.
#[test]
fn a_rollback_keeps_a_commit_at_its_timestamp() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    store.cleanup(b"k", 10, 0).unwrap();
    store.must_get(b"k", 10, b"v");
    let late = key_error(&store.prewrite(vec![put(b"k", b"w")], 10).unwrap_err());
    assert_eq!(late.conflict.unwrap().reason(), Reason::SelfRolledBack);
    // Unprotected rollbacks leave no record here.
    store.must_put(b"l", b"v", 5, 10);
    store.rollback(&[b"l"], 10).unwrap();
    store.must_get(b"l", 10, b"v");
    // The rewritten record is still the transaction's own commit.
    store.commit(&[b"k"], 5, 10).unwrap();
}

/// Unprotected rollbacks collapse into the newest one; a primary's rollback stays.
#[test]
fn rollbacks_collapse_but_protected_ones_stay() {
    let store = TestStore::new();
    for ts in [5, 6, 7] {
        store.must_prewrite(vec![put(b"p", b"v"), put(b"s", b"v")], ts);
        store.rollback(&[b"p", b"s"], ts).unwrap();
    }
    let refused = |key: &[u8], ts| {
        let mutation = vec![put(key, b"x")];
        match store.prewrite(mutation, ts) {
            Ok(result) => result.locks.len() > 1,
            Err(e) => key_error(&e).conflict.is_some_and(|c| c.reason() == Reason::SelfRolledBack),
        }
    };
    assert!(refused(b"p", 7));
    assert!(refused(b"s", 7));
    // On the secondary, the newest rollback has replaced the others.
    let rollbacks = |key: &[u8]| {
        let snapshot = wait(store.storage.get_engine().async_snapshot(SnapContext::default())).unwrap();
        let rows = mvcc_rows(&snapshot, &Key::from_raw(key), 0.into(), None);
        assert!(rows.writes.iter().all(|w| w.kind == "Rollback"), "{rows:?}");
        rows.writes.iter().map(|w| w.start_ts).collect::<Vec<_>>()
    };
    assert_eq!(rollbacks(b"s"), [7]);
    assert_eq!(rollbacks(b"p"), [7, 6, 5]);
    let status = |ts| {
        store.check_txn_status(kvproto::kvrpcpb::CheckTxnStatusRequest {
            primary_key: b"p".to_vec(),
            lock_ts: ts,
            ..Default::default()
        })
    };
    assert_eq!(status(5).unwrap(), TxnStatus::RolledBack);
    assert_eq!(status(6).unwrap(), TxnStatus::RolledBack);
}

#[test]
fn inserts_and_checks_require_an_absent_value() {
    let store = TestStore::new();
    let insert = |key: &[u8]| {
        let mut m = put(key, b"v");
        m.op = Op::Insert.into();
        vec![m]
    };
    store.must_prewrite(insert(b"k"), 5);
    store.commit(&[b"k"], 5, 10).unwrap();
    let exists = key_error(&store.prewrite(insert(b"k"), 15).unwrap_err());
    assert_eq!(exists.already_exist.unwrap().key, b"k");
    let check = |key: &[u8], ts| store.prewrite(vec![op(Op::CheckNotExists, key)], ts);
    assert!(key_error(&check(b"k", 16).unwrap_err()).already_exist.is_some());
    store.must_delete(b"k", 20, 30);
    assert!(check(b"k", 40).unwrap().locks.is_empty());
    // A check leaves no lock.
    store.must_get_none(b"k", 50);
    store.must_prewrite(insert(b"k"), 60);
}

#[test]
fn assertions_are_checked() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let prewrite = |key: &[u8], assertion: Assertion, ts| {
        let mut m = put(key, b"w");
        m.assertion = assertion.into();
        let mut req = prewrite_request(vec![m], ts);
        req.assertion_level = AssertionLevel::Strict.into();
        store.prewrite_with(req)
    };
    let failed = key_error(&prewrite(b"k", Assertion::NotExist, 20).unwrap_err()).assertion_failed.unwrap();
    assert_eq!((failed.existing_start_ts, failed.existing_commit_ts), (5, 10));
    assert!(key_error(&prewrite(b"z", Assertion::Exist, 20).unwrap_err()).assertion_failed.is_some());
    assert!(prewrite(b"k", Assertion::Exist, 20).unwrap().locks.is_empty());
    assert!(prewrite(b"z", Assertion::NotExist, 20).unwrap().locks.is_empty());
}

#[test]
fn a_bad_request_is_reported() {
    let store = TestStore::new();
    let error = store.prewrite(vec![op(Op::Rollback, b"k")], 5).unwrap_err();
    assert!(key_error(&error).abort.contains("InvalidRequest"), "{error:?}");
    let error = store.prewrite(vec![put(&[b'k'; 9000], b"v")], 5).unwrap_err();
    assert!(error.to_string().contains("max key size exceeded"), "{error}");
    store.must_become_idle();
}

/// A record rewritten for a rollback outlives GC of newer versions; its fence marks it as removed.
#[test]
fn a_version_hidden_by_its_gc_fence_is_gone() {
    let store = TestStore::new();
    store.must_put(b"k", b"v1", 5, 10);
    store.must_put(b"k", b"v2", 15, 20);
    store.cleanup(b"k", 10, 0).unwrap();
    store.must_get(b"k", 15, b"v1");
    store.must_get(b"k", 25, b"v2");
    let newest = Key::from_raw(b"k").append_ts(20.into()).into_encoded();
    wait(store.storage.raw_delete(Context::default(), "write".into(), newest, Req::NONE)).unwrap();
    store.must_get_none(b"k", 25);
    assert!(store.scan(range(b"", b"", 9), 25).is_empty());
    assert!(store.scan(ScanRange { reverse: true, ..range(b"", b"", 9) }, 25).is_empty());
    let mut insert = put(b"k", b"v3");
    insert.op = Op::Insert.into();
    store.must_prewrite(vec![insert], 30);
}
