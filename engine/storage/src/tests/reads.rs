//! Reads: isolation levels, locks to bypass or to read through, batches and scans.
use kvproto::kvrpcpb::{Context, IsolationLevel, Op};
use tracepoints::Req;
use txn_types::Key;

use super::store::{TestStore, key_error, op, put, range, rc, wait};
use crate::ScanRange;

#[test]
fn read_committed_ignores_locks() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    store.must_prewrite(vec![put(b"k", b"w")], 15);
    store.must_be_locked(b"k", 20);
    let (value, stats) = store.get_with(rc(), b"k", 20).unwrap();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert_eq!(stats.stats.lock.get, 0);
}

#[test]
fn an_unknown_isolation_level_is_refused() {
    let store = TestStore::new();
    let ctx = Context { isolation_level: 9, ..Default::default() };
    let error = key_error(&store.get_with(ctx, b"k", 10).unwrap_err()).abort;
    assert!(error.contains("isolation_level"), "{error}");
}

#[test]
fn rc_check_ts_refuses_newer_versions() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let ctx = Context { isolation_level: IsolationLevel::RcCheckTs.into(), ..Default::default() };
    assert_eq!(store.get_with(ctx.clone(), b"k", 10).unwrap().0.as_deref(), Some(&b"v"[..]));
    let error = key_error(&store.get_with(ctx, b"k", 9).unwrap_err());
    assert_eq!(error.conflict.unwrap().conflict_commit_ts, 10);
}

#[test]
fn the_latest_version_of_a_locked_primary_can_be_read() {
    let store = TestStore::new();
    store.must_put(b"p", b"v", 5, 10);
    store.must_prewrite(vec![put(b"p", b"w"), put(b"s", b"w")], 15);
    store.must_get(b"p", u64::MAX, b"v");
    store.must_be_locked(b"s", u64::MAX);
}

#[test]
fn resolved_locks_are_bypassed_and_committed_ones_read_through() {
    let store = TestStore::new();
    let long = vec![b'l'; 1000];
    for key in [&b"k"[..], b"l"] {
        store.must_put(key, b"old", 5, 10);
    }
    store.must_prewrite(vec![put(b"k", b"new"), put(b"l", &long), op(Op::Del, b"m")], 15);
    let bypass = Context { resolved_locks: vec![15], ..Default::default() };
    assert_eq!(store.get_with(bypass, b"k", 20).unwrap().0.unwrap(), b"old");
    let access = Context { committed_locks: vec![15], ..Default::default() };
    assert_eq!(store.get_with(access.clone(), b"k", 20).unwrap().0.unwrap(), b"new");
    assert_eq!(store.get_with(access.clone(), b"l", 20).unwrap().0.unwrap(), long);
    assert_eq!(store.get_with(access.clone(), b"m", 20).unwrap().0, None);
    let scan = |ctx, reverse| {
        let range = ScanRange { limit: 10, reverse, ..Default::default() };
        let (pairs, _) = wait(store.storage.scan(ctx, range, 20.into(), Req::NONE)).unwrap();
        pairs.into_iter().map(|p| p.map_err(|_| ())).collect::<Vec<_>>()
    };
    let mut all = vec![Ok((b"k".to_vec(), b"new".to_vec())), Ok((b"l".to_vec(), long))];
    assert_eq!(scan(access.clone(), false), all);
    all.reverse();
    assert_eq!(scan(access, true), all);
}

#[test]
fn a_batch_get_omits_missing_keys() {
    let store = TestStore::new();
    store.must_put(b"a", b"1", 5, 10);
    store.must_put(b"c", b"3", 5, 10);
    store.must_prewrite(vec![put(b"d", b"4")], 15);
    let keys = [b"c", b"b", b"a", b"d"].iter().map(|k| Key::from_raw(*k)).collect();
    let (pairs, stats) =
        wait(store.storage.batch_get(Context::default(), keys, 20.into(), Req::NONE)).unwrap();
    assert_eq!(pairs.len(), 3);
    assert_eq!(pairs[0].as_ref().unwrap(), &(b"c".to_vec(), b"3".to_vec()));
    assert_eq!(pairs[1].as_ref().unwrap(), &(b"a".to_vec(), b"1".to_vec()));
    assert_eq!(key_error(pairs[2].as_ref().unwrap_err()).locked.unwrap().key, b"d");
    assert_eq!(stats.stats.write.processed_keys, 2);
}

#[test]
fn a_get_can_return_the_commit_ts() {
    let store = TestStore::new();
    store.must_put(b"k", b"v", 5, 10);
    let get = store.storage.get_entry(Context::default(), Key::from_raw(b"k"), 20.into(), true, Req::NONE);
    let (entry, stats) = wait(get).unwrap();
    assert_eq!(entry.unwrap().commit_ts, Some(10.into()));
    let detail = stats.scan_detail_v2();
    assert_eq!((detail.processed_versions, detail.total_versions), (1, 1));
    assert_eq!(detail.processed_versions_size, Key::from_raw(b"k").len() as u64 + 1);
}

fn scan_fixture() -> TestStore {
    let store = TestStore::new();
    for (i, key) in [b"a", b"b", b"c", b"d", b"e"].iter().enumerate() {
        let ts = 5 + i as u64;
        store.must_put(*key, &[b'0' + i as u8], ts, ts + 10);
    }
    store.must_delete(b"c", 30, 31);
    store.must_prewrite(vec![put(b"b", b"new")], 40);
    store.must_prewrite(vec![put(b"bb", b"only a lock")], 41);
    store.must_prewrite(vec![op(Op::Lock, b"d")], 42);
    store
}

fn keys(found: &[Option<(Vec<u8>, Vec<u8>)>]) -> String {
    found
        .iter()
        .map(|p| p.as_ref().map_or("!".into(), |(k, _)| String::from_utf8_lossy(k).into_owned()))
        .collect()
}

#[test]
fn scans_in_both_directions_respect_locks_and_limits() {
    let store = scan_fixture();
    let both = |start: &[u8], end: &[u8], limit, ts| {
        let forward = store.scan(range(start, end, limit), ts);
        let backward = store.scan(ScanRange { reverse: true, ..range(end, start, limit) }, ts);
        (keys(&forward), keys(&backward))
    };
    assert_eq!(both(b"", b"", 10, 35), ("abde".into(), "edba".into()));
    assert_eq!(both(b"", b"", 10, 17), ("abc".into(), "cba".into()));
    assert_eq!(both(b"", b"", 10, 50), ("a!!de".into(), "ed!!a".into()));
    assert_eq!(both(b"b", b"e", 10, 35), ("bd".into(), "db".into()));
    assert_eq!(both(b"", b"", 2, 35), ("ab".into(), "ed".into()));
    assert_eq!(both(b"", b"", 0, 35), (String::new(), String::new()));
    assert_eq!(both(b"x", b"", 10, 35), (String::new(), String::new()));
    assert_eq!(both(b"e", b"b", 10, 35), (String::new(), String::new()));
}

#[test]
fn a_scan_of_keys_only_loads_no_values() {
    let store = TestStore::new();
    store.must_put(b"k", &[b'v'; 1000], 5, 10);
    for reverse in [false, true] {
        let range = ScanRange { limit: 10, key_only: true, reverse, ..Default::default() };
        let (pairs, stats) =
            wait(store.storage.scan(Context::default(), range, 20.into(), Req::NONE)).unwrap();
        assert_eq!(pairs.into_iter().map(|p| p.unwrap()).collect::<Vec<_>>(), [(b"k".to_vec(), vec![])]);
        assert_eq!(stats.stats.data.get, 0);
    }
}

#[test]
fn a_scan_with_a_sample_step_returns_every_nth_key() {
    let store = TestStore::new();
    for i in 0..10 {
        store.must_put(format!("k{i}").as_bytes(), b"v", 5, 10);
    }
    let range = ScanRange { limit: 3, sample_step: 4, ..Default::default() };
    assert_eq!(keys(&store.scan(range, 20)), "k0k4k8");
}

/// More versions than a cursor steps over, above and below the scan's timestamp.
#[test]
fn scans_find_their_version_among_many() {
    let store = TestStore::new();
    for key in [b"a", b"b", b"c"] {
        for i in 0..30 {
            let ts = 100 + i * 10;
            store.must_put(key, format!("{i}").as_bytes(), ts, ts + 5);
        }
    }
    for i in [0_u64, 1, 7, 8, 15, 16, 22, 29] {
        for reverse in [false, true] {
            let range = ScanRange { limit: 10, reverse, ..Default::default() };
            let found = store.scan(range, 100 + i * 10 + 5);
            assert_eq!(found.len(), 3, "version {i}, reverse {reverse}");
            assert!(found.iter().all(|p| p.as_ref().unwrap().1 == format!("{i}").into_bytes()));
        }
    }
    assert!(store.scan(range(b"", b"", 10), 104).is_empty());
}

#[test]
fn a_read_raises_max_ts_and_finds_memory_locks() {
    let store = TestStore::new();
    store.must_get_none(b"k", 77);
    let cm = store.storage.get_concurrency_manager();
    assert_eq!(cm.max_ts(), 77.into());
    let guard = cm.lock_key(&Key::from_raw(b"k"));
    let zero = txn_types::TimeStamp::zero();
    let lock = txn_types::Lock::new(
        txn_types::LockType::Put,
        b"k".to_vec(),
        80.into(),
        10,
        None,
        zero,
        1,
        zero,
        false,
    );
    guard.with_lock(|slot| *slot = Some(lock));
    assert_eq!(store.must_be_locked(b"k", 90).lock_version, 80);
    store.must_get_none(b"k", 79);
    store.must_get_none(b"l", 90);
    assert_eq!(store.get_with(rc(), b"k", 90).unwrap().0, None);
    let scan = store.storage.scan(Context::default(), range(b"", b"", 9), 90.into(), Req::NONE);
    assert!(key_error(&wait(scan).unwrap_err()).locked.is_some());
    drop(guard);
    store.must_get_none(b"k", 90);
}

#[test]
fn a_request_past_its_deadline_is_refused() {
    let store = TestStore::new();
    let deadline =
        crate::Deadline::from_context(&Context { max_execution_duration_ms: 1, ..Default::default() });
    std::thread::sleep(std::time::Duration::from_millis(5));
    let error = deadline.check().unwrap_err();
    let busy = crate::extract_region_error_from_error(&error).unwrap().server_is_busy.unwrap();
    assert_eq!(busy.reason, "deadline is exceeded");
    store.storage.stop();
    let closed = store.get(b"k", 1).unwrap_err();
    assert_eq!(crate::extract_region_error_from_error(&closed).unwrap().message, "TiKV is Closing");
    let closed = store.prewrite(vec![put(b"k", b"v")], 1).unwrap_err();
    assert_eq!(crate::extract_region_error_from_error(&closed).unwrap().message, "TiKV is Closing");
}
