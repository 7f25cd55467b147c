//! Pipelined transactions: flushes, reads of the own flushes, and their commit.
use kvproto::kvrpcpb::{
    self, Assertion, AssertionLevel, Context, KeyError, Mutation, Op, prewrite_request::PessimisticAction,
};
use tracepoints::Req;
use txn_types::Key;

use super::store::{TestStore, at_ms, key_error, op, prewrite_request, put, wait};
use crate::{
    Config, TxnStatus, extract_key_error,
    txn::{commands::typed_flush, txn_status_cache::TxnState},
};

fn request(mutations: Vec<Mutation>, start_ts: u64, generation: u64) -> kvrpcpb::FlushRequest {
    kvrpcpb::FlushRequest {
        mutations,
        primary_key: b"p".to_vec(),
        start_ts,
        generation,
        lock_ttl: 3000,
        ..Default::default()
    }
}

/// Returns the errors of a flush.
fn flush(store: &TestStore, request: kvrpcpb::FlushRequest) -> Vec<KeyError> {
    match store.run(typed_flush(request).unwrap()) {
        Ok(results) => results.iter().filter_map(|r| r.as_ref().err()).map(extract_key_error).collect(),
        Err(e) => vec![key_error(&e)],
    }
}

fn must_flush(store: &TestStore, mutations: Vec<Mutation>, start_ts: u64, generation: u64) {
    assert_eq!(flush(store, request(mutations, start_ts, generation)), []);
}

/// Returns what the transaction of `start_ts` reads of its own flushes.
fn buffered(store: &TestStore, keys: &[&[u8]], start_ts: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys = keys.iter().map(|k| Key::from_raw(k)).collect();
    let read = store.storage.buffer_batch_get(Context::default(), keys, start_ts.into(), Req::NONE);
    wait(read).unwrap().0.into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_later_flush_overwrites_an_earlier_one() {
    let store = TestStore::new();
    must_flush(&store, vec![put(b"p", b"1"), put(b"k", &[b'x'; 300])], 10, 1);
    must_flush(&store, vec![put(b"p", b"2"), op(Op::Del, b"k")], 10, 2);
    let lock = store.must_be_locked(b"p", 20);
    assert_eq!((lock.min_commit_ts, lock.txn_size, lock.primary_lock), (11, u64::MAX, b"p".to_vec()));
    store.commit(&[b"p", b"k"], 10, 20).unwrap();
    store.must_get(b"p", 20, b"2");
    store.must_get_none(b"k", 20);
}

#[test]
fn a_late_flush_changes_nothing() {
    let store = TestStore::new();
    must_flush(&store, vec![put(b"p", b"2")], 10, 2);
    // The same flush again, and an earlier one with another key.
    must_flush(&store, vec![put(b"p", b"2")], 10, 2);
    must_flush(&store, vec![put(b"p", b"1"), put(b"k", b"1")], 10, 1);
    store.commit(&[b"p", b"k"], 10, 20).unwrap();
    store.must_get(b"p", 20, b"2");
    store.must_get(b"k", 20, b"1");
    // After the commit, too.
    must_flush(&store, vec![put(b"p", b"2")], 10, 2);
    store.must_get(b"p", 30, b"2");
}

#[test]
fn flushes_are_numbered_from_one() {
    let store = TestStore::new();
    let errors = flush(&store, request(vec![put(b"p", b"1")], 10, 0));
    assert!(errors[0].abort.contains("generation should be greater than 0"), "{errors:?}");
    store.must_get_none(b"p", 20);
}

#[test]
fn an_insert_finds_the_value_of_an_earlier_flush() {
    let store = TestStore::new();
    must_flush(&store, vec![put(b"p", b"1")], 10, 1);
    let errors = flush(&store, request(vec![op(Op::Insert, b"p")], 10, 2));
    assert!(errors[0].already_exist.is_some(), "{errors:?}");
    must_flush(&store, vec![op(Op::Del, b"p")], 10, 2);
    must_flush(&store, vec![op(Op::Insert, b"p")], 10, 3);
    store.commit(&[b"p"], 10, 20).unwrap();
    let errors = flush(&store, request(vec![op(Op::Insert, b"p")], 30, 1));
    assert!(errors[0].already_exist.is_some(), "{errors:?}");
}

#[test]
fn only_the_first_flush_of_a_key_is_asserted() {
    let store = TestStore::new();
    let asserted = |assertion: Assertion| Mutation { assertion: assertion.into(), ..put(b"p", b"1") };
    let strict = |assertion, generation| {
        let mut request = request(vec![asserted(assertion)], 10, generation);
        request.set_assertion_level(AssertionLevel::Strict);
        flush(&store, request)
    };
    let errors = strict(Assertion::Exist, 1);
    assert!(errors[0].assertion_failed.is_some(), "{errors:?}");
    assert_eq!(strict(Assertion::NotExist, 1), []);
    assert_eq!(strict(Assertion::Exist, 2), [], "the key exists only for the transaction itself");
}

/// Unlike a prewrite, a flush writes the other keys: its repetition skips them.
#[test]
fn a_locked_key_is_an_error_and_the_others_are_written() {
    let store = TestStore::new();
    store.must_prewrite(vec![put(b"k", b"v")], 5);
    let flushed = || flush(&store, request(vec![put(b"p", b"1"), put(b"k", b"1")], 10, 1));
    let errors = flushed();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].locked.as_ref().map(|lock| lock.lock_version), Some(5));
    assert_eq!(store.must_be_locked(b"p", 20).lock_version, 10);
    store.rollback(&[b"k"], 5).unwrap();
    assert_eq!(flushed(), []);
    assert_eq!(store.must_be_locked(b"k", 20).lock_version, 10);
}

#[test]
fn a_newer_version_is_a_conflict() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 12, 13);
    let errors = flush(&store, request(vec![put(b"k", b"1")], 10, 1));
    assert_eq!(errors[0].conflict.as_ref().map(|c| c.conflict_commit_ts), Some(13), "{errors:?}");
    // A flush after the rollback must not lock again.
    store.rollback(&[b"p"], 10).unwrap();
    let errors = flush(&store, request(vec![put(b"p", b"1")], 10, 1));
    assert!(errors[0].conflict.is_some(), "{errors:?}");
}

#[test]
fn a_transaction_reads_only_its_own_flushes() {
    let store = TestStore::new();
    store.must_put(b"committed", b"v", 5, 6);
    store.must_prewrite(vec![put(b"other", b"v")], 8);
    let long = vec![b'x'; 300];
    must_flush(&store, vec![put(b"p", b"1"), put(b"long", &long), op(Op::Del, b"gone")], 10, 1);
    let keys: [&[u8]; 6] = [b"p", b"long", b"gone", b"p", b"other", b"committed"];
    let expected = vec![(b"gone".to_vec(), vec![]), (b"long".to_vec(), long), (b"p".to_vec(), b"1".to_vec())];
    assert_eq!(buffered(&store, &keys, 10), expected);
    assert_eq!(buffered(&store, &keys, 11), []);
    store.commit(&[b"p", b"long", b"gone"], 10, 20).unwrap();
    assert_eq!(buffered(&store, &keys, 10), [], "a committed key is no longer in the buffer");
}

/// TiKV ends its process.
#[test]
fn a_lock_that_is_no_flush_is_an_error_of_its_key() {
    let store = TestStore::new();
    store.must_prewrite(vec![op(Op::Lock, b"k")], 10);
    must_flush(&store, vec![put(b"p", b"1")], 10, 1);
    let keys = vec![Key::from_raw(b"k"), Key::from_raw(b"p")];
    let read = wait(store.storage.buffer_batch_get(Context::default(), keys, 10.into(), Req::NONE));
    let pairs = read.unwrap().0;
    assert!(pairs[0].as_ref().is_err_and(|e| e.to_string().contains("expected a flushed PUT")), "{pairs:?}");
    assert!(pairs[1].is_ok(), "{pairs:?}");
}

#[test]
fn readers_push_the_minimum_commit_timestamp() {
    let store = TestStore::new();
    let start = at_ms(10);
    must_flush(&store, vec![put(b"p", b"1"), put(b"k", b"1")], start, 1);
    let check = kvrpcpb::CheckTxnStatusRequest {
        primary_key: b"p".to_vec(),
        lock_ts: start,
        caller_start_ts: at_ms(20),
        current_ts: at_ms(20),
        ..Default::default()
    };
    let status = store.check_txn_status(check).unwrap();
    let TxnStatus::Uncommitted { lock, min_commit_ts_pushed: true } = status else { panic!("{status:?}") };
    assert_eq!((lock.min_commit_ts.into_inner(), lock.generation), (at_ms(20) + 1, 1));
    assert!(key_error(&store.commit(&[b"p"], start, at_ms(15)).unwrap_err()).commit_ts_expired.is_some());
    store.commit(&[b"p"], start, at_ms(30)).unwrap();
    let resolve =
        kvrpcpb::ResolveLockRequest { start_version: start, commit_version: at_ms(30), ..Default::default() };
    store.resolve(resolve).unwrap();
    store.must_get(b"k", at_ms(40), b"1");
}

/// Prewrites a key of a pessimistic transaction that needs no pessimistic lock.
fn unlocked_prewrite(start_ts: u64) -> kvrpcpb::PrewriteRequest {
    let mut request = prewrite_request(vec![put(b"index", b"1")], start_ts);
    request.for_update_ts = start_ts;
    request.pessimistic_actions = vec![PessimisticAction::SkipPessimisticCheck.into()];
    request
}

/// A prewrite that arrives after its own repetition and the commit would lock the key again (tikv/tikv issue 11187).
#[test]
fn a_late_prewrite_finds_its_commit() {
    for capacity in [1 << 10, 0] {
        let config = Config { txn_status_cache_capacity: capacity, ..Config::default() };
        let store = TestStore::with_config(config);
        store.prewrite_with(unlocked_prewrite(10)).unwrap();
        store.commit(&[b"index"], 10, 20).unwrap();
        let late = store.prewrite_with(unlocked_prewrite(10)).unwrap();
        assert!(late.locks.is_empty(), "{late:?}");
        match capacity {
            0 => assert_eq!(store.must_be_locked(b"index", 30).lock_version, 10, "the cache is off"),
            _ => store.must_get(b"index", 30, b"1"),
        }
    }
}

/// Every command that sees a commit adds it to the cache.
#[test]
fn commits_are_known_from_all_commands() {
    let store = TestStore::new();
    let known = |start_ts: u64| store.storage.get_scheduler().get_txn_status_cache().get(start_ts.into());
    let committed = |commit_ts: u64| Some(TxnState::Committed { commit_ts: commit_ts.into() });
    store.must_put(b"commit", b"v", 10, 11);
    assert_eq!(known(10), committed(11));
    let mut one_pc = prewrite_request(vec![put(b"one-pc", b"v")], 20);
    one_pc.try_one_pc = true;
    let commit_ts = store.prewrite_with(one_pc).unwrap().one_pc_commit_ts;
    assert_eq!(known(20), committed(commit_ts.into_inner()));
    store.must_prewrite(vec![put(b"lite", b"v")], 30);
    store.must_prewrite(vec![put(b"scan", b"v")], 40);
    store.must_prewrite(vec![put(b"back", b"v")], 50);
    let resolve = |start_version, commit_version, keys: Vec<Vec<u8>>| {
        let request =
            kvrpcpb::ResolveLockRequest { start_version, commit_version, keys, ..Default::default() };
        store.resolve(request).unwrap();
    };
    resolve(30, 31, vec![b"lite".to_vec()]);
    resolve(40, 41, vec![]);
    resolve(50, 0, vec![]);
    assert_eq!((known(30), known(40), known(50)), (committed(31), committed(41), None));
    store.rollback(&[b"p"], 60).unwrap();
    assert_eq!(known(60), None, "a rollback is not kept");
}
