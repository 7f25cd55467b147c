//! Refuses timestamps that no correct caller can have, before they change any state.
use std::{sync::Arc, time::Duration};

use engine_rocks::{DbConfig, RocksEngine};
use kvproto::kvrpcpb::{self, Assertion, Context, Op};
use tempfile::TempDir;
use tikv_kv::RocksKv;
use tracepoints::Req;
use txn_types::{Key, TimeStamp};

use super::{
    lock_manager::MockLockManager,
    store::{prewrite_request, put, wait},
};
use crate::{
    CommandOutput, ConcurrencyManager, Config, Result, ScanRange, Storage, TxnStatus,
    concurrency_manager::{ActionOnInvalidMaxTs, MaxTsBound, TsoProvider},
    extract_region_error,
    txn::commands::{
        AcquirePessimisticLock, CheckSecondaryLocks, CheckTxnStatus, Cleanup, TypedCommand, typed_prewrite,
    },
};

const NOW_MS: u64 = 1_000_000;
/// Allowed lead of a caller's timestamp, in milliseconds.
const DRIFT_MS: u64 = 60_000;

struct Pd;

impl TsoProvider for Pd {
    fn get_tso(&self, _: Duration) -> Option<TimeStamp> {
        Some(now())
    }
}

fn now() -> TimeStamp {
    TimeStamp::compose(NOW_MS, 0)
}

/// Returns timestamps beyond the drift.
fn invalid() -> [u64; 3] {
    [TimeStamp::compose(NOW_MS + DRIFT_MS + 1, 0).into_inner(), u64::MAX / 2, u64::MAX - 1]
}

struct Bounded {
    storage: Storage<RocksKv>,
    _dir: TempDir,
}

impl Bounded {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let db = RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap();
        let (drift, interval) = (Duration::from_millis(DRIFT_MS), Duration::from_secs(15));
        let bound = MaxTsBound::new(drift, interval, ActionOnInvalidMaxTs::Error, Arc::new(Pd));
        bound.set_limit(now());
        let manager = ConcurrencyManager::with_bound(now(), bound);
        let config = Config { read_pool_threads: 2, scheduler_worker_pool_size: 2, ..Config::default() };
        let lock_mgr = Arc::<MockLockManager>::default();
        let storage = Storage::new(RocksKv::new(db), manager, lock_mgr, config, None, 1).unwrap();
        Self { storage, _dir: dir }
    }

    fn run<T: CommandOutput>(&self, cmd: impl Into<TypedCommand<T>>) -> Result<T> {
        wait(self.storage.sched_txn_command(cmd, Req::NONE)).0
    }

    fn max_ts(&self) -> TimeStamp {
        self.storage.get_concurrency_manager().max_ts()
    }

    fn must_refuse<T>(&self, what: &str, result: Result<T>) {
        let refused = extract_region_error(&result).unwrap_or_else(|| panic!("{what} was served"));
        assert!(refused.message.starts_with("invalid max_ts update"), "{what}: {refused:?}");
        assert_eq!(self.max_ts(), now(), "{what}");
    }
}

#[test]
fn reads_beyond_the_drift_are_refused() {
    let store = Bounded::new();
    let (key, ctx) = (Key::from_raw(b"k"), Context::default);
    for ts in invalid() {
        store.must_refuse("get", wait(store.storage.get(ctx(), key.clone(), ts.into(), Req::NONE)));
        let keys = vec![key.clone()];
        store.must_refuse("batch_get", wait(store.storage.batch_get(ctx(), keys, ts.into(), Req::NONE)));
        let range = ScanRange { limit: 1, ..ScanRange::default() };
        store.must_refuse("scan", wait(store.storage.scan(ctx(), range, ts.into(), Req::NONE)));
        let locks = store.storage.scan_lock(ctx(), ts.into(), None, None, 1, Req::NONE);
        store.must_refuse("scan_lock", wait(locks));
    }
    wait(store.storage.get(ctx(), key.clone(), TimeStamp::max(), Req::NONE)).unwrap();
    assert_eq!(store.max_ts(), now());
    let drifted = TimeStamp::compose(NOW_MS + DRIFT_MS, 0);
    wait(store.storage.get(ctx(), key, drifted, Req::NONE)).unwrap();
    assert_eq!(store.max_ts(), drifted);
}

/// Otherwise the transaction could never commit.
#[test]
fn a_timestamp_beyond_the_bound_does_not_push_a_lock() {
    let store = Bounded::new();
    let start = TimeStamp::compose(NOW_MS - 10, 0).into_inner();
    let mut request = prewrite_request(vec![put(b"k", b"v")], start);
    request.min_commit_ts = start + 1;
    store.run(typed_prewrite(request).unwrap()).unwrap();
    let check = |caller_start_ts: u64, current_ts: u64| {
        let request = kvrpcpb::CheckTxnStatusRequest {
            primary_key: b"k".to_vec(),
            lock_ts: start,
            caller_start_ts,
            current_ts,
            ..Default::default()
        };
        store.run(CheckTxnStatus::from(request))
    };
    for ts in invalid() {
        store.must_refuse("caller_start_ts", check(ts, start));
        store.must_refuse("current_ts", check(start, ts));
    }
    // Callers other than TiDB have no drift.
    store.must_refuse("caller_start_ts", check(now().next().into_inner(), start));
    match check(now().into_inner(), start).unwrap() {
        TxnStatus::Uncommitted { lock, .. } => assert_eq!(lock.min_commit_ts, now().next()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(check(u64::MAX, start).unwrap(), TxnStatus::Uncommitted { .. }));
}

#[test]
fn commands_beyond_the_drift_are_refused() {
    let store = Bounded::new();
    for ts in invalid() {
        let cleanup = kvrpcpb::CleanupRequest { key: b"k".to_vec(), start_version: ts, ..Default::default() };
        store.must_refuse("cleanup", store.run(Cleanup::from(cleanup)));
        let keys = vec![b"k".to_vec()];
        let check = kvrpcpb::CheckSecondaryLocksRequest { keys, start_version: ts, ..Default::default() };
        store.must_refuse("check_secondary_locks", store.run(CheckSecondaryLocks::from(check)));

        let prewrite = |request| store.run(typed_prewrite(request).unwrap());
        let mut request = prewrite_request(vec![put(b"k", b"v")], ts);
        request.use_async_commit = true;
        store.must_refuse("async commit", prewrite(request.clone()));
        request.try_one_pc = true;
        store.must_refuse("1PC", prewrite(request.clone()));
        request.start_version = now().into_inner();
        request.min_commit_ts = ts;
        store.must_refuse("min_commit_ts", prewrite(request.clone()));
        request.min_commit_ts = 0;
        request.for_update_ts = ts;
        request.pessimistic_actions = vec![0];
        store.must_refuse("for_update_ts", prewrite(request));
        let insert = kvrpcpb::Mutation { op: Op::Insert.into(), key: b"k".to_vec(), ..Default::default() };
        store.must_refuse("insert", prewrite(prewrite_request(vec![insert], ts)));

        let key = kvrpcpb::Mutation {
            op: Op::PessimisticLock.into(),
            key: b"k".to_vec(),
            assertion: Assertion::NotExist.into(),
            ..Default::default()
        };
        let lock = kvrpcpb::PessimisticLockRequest {
            mutations: vec![key],
            primary_lock: b"k".to_vec(),
            start_version: now().into_inner(),
            for_update_ts: ts,
            lock_ttl: 3000,
            ..Default::default()
        };
        store.must_refuse("pessimistic lock", store.run(AcquirePessimisticLock::try_from(lock).unwrap()));
    }
}
