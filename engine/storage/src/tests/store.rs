//! Storage on a temporary RocksDB with an API for raw keys; every wait is bounded.
use std::{future::Future, sync::Arc, time::Duration};

use engine_rocks::{DbConfig, RocksEngine};
use kvproto::kvrpcpb::{self, Context, IsolationLevel, Mutation, Op};
use tempfile::TempDir;
use tikv_kv::RocksKv;
use tracepoints::Req;
use txn_types::{Key, TimeStamp};

use super::lock_manager::MockLockManager;
use crate::{
    CommandOutput, ConcurrencyManager, Config, Error, KvGetStatistics, Result, ScanRange, Storage, TxnStatus,
    extract_key_error,
    txn::commands::{
        CheckTxnStatus, Cleanup, Commit, Rollback, TxnHeartBeat, TypedCommand, typed_prewrite,
        typed_resolve_lock,
    },
    types::PrewriteResult,
};

/// Maximum wait of a test.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Runs `f` to completion within [`LIMIT`].
pub fn wait<T>(f: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, f).await.expect("no answer in time") })
}

#[derive(Clone)]
pub struct TestStore {
    pub storage: Storage<RocksKv>,
    pub lock_mgr: Arc<MockLockManager>,
    _dir: Arc<TempDir>,
}

/// Returns a timestamp at this millisecond.
pub fn at_ms(ms: u64) -> u64 {
    TimeStamp::compose(ms, 0).into_inner()
}

pub fn put(key: &[u8], value: &[u8]) -> Mutation {
    Mutation { op: Op::Put.into(), key: key.to_vec(), value: value.to_vec(), ..Default::default() }
}

pub fn op(op: Op, key: &[u8]) -> Mutation {
    Mutation { op: op.into(), key: key.to_vec(), ..Default::default() }
}

/// Creates a prewrite of `mutations`; the first key is the primary, the TTL is three seconds.
pub fn prewrite_request(mutations: Vec<Mutation>, start_ts: u64) -> kvrpcpb::PrewriteRequest {
    let primary_lock = mutations.first().map(|m| m.key.clone()).unwrap_or_default();
    kvrpcpb::PrewriteRequest {
        mutations,
        primary_lock,
        start_version: start_ts,
        lock_ttl: 3000,
        ..Default::default()
    }
}

impl TestStore {
    pub fn new() -> Self {
        Self::with_config(Config { read_pool_threads: 2, scheduler_worker_pool_size: 2, ..Config::default() })
    }

    pub fn with_config(config: Config) -> Self {
        let dir = TempDir::new().unwrap();
        let db = RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap();
        let lock_mgr = Arc::<MockLockManager>::default();
        let manager = ConcurrencyManager::new(TimeStamp::zero());
        let storage = Storage::new(RocksKv::new(db), manager, lock_mgr.clone(), config, None, 1).unwrap();
        Self { storage, lock_mgr, _dir: Arc::new(dir) }
    }

    pub fn run<T: CommandOutput>(&self, cmd: impl Into<TypedCommand<T>>) -> Result<T> {
        wait(self.storage.sched_txn_command(cmd, Req::NONE)).0
    }

    pub fn prewrite(&self, mutations: Vec<Mutation>, start_ts: u64) -> Result<PrewriteResult> {
        self.prewrite_with(prewrite_request(mutations, start_ts))
    }

    pub fn prewrite_with(&self, req: kvrpcpb::PrewriteRequest) -> Result<PrewriteResult> {
        self.run(typed_prewrite(req)?)
    }

    pub fn must_prewrite(&self, mutations: Vec<Mutation>, start_ts: u64) {
        let result = self.prewrite(mutations, start_ts).unwrap();
        assert!(result.locks.is_empty(), "{:?}", result.locks);
    }

    pub fn commit(&self, keys: &[&[u8]], start_ts: u64, commit_ts: u64) -> Result<TxnStatus> {
        let keys = keys.iter().map(|k| k.to_vec()).collect();
        let req = kvrpcpb::CommitRequest {
            keys,
            start_version: start_ts,
            commit_version: commit_ts,
            ..Default::default()
        };
        self.run(Commit::from(req))
    }

    /// Puts one key in two phases.
    pub fn must_put(&self, key: &[u8], value: &[u8], start_ts: u64, commit_ts: u64) {
        self.must_prewrite(vec![put(key, value)], start_ts);
        self.commit(&[key], start_ts, commit_ts).unwrap();
    }

    /// Deletes one key in two phases.
    pub fn must_delete(&self, key: &[u8], start_ts: u64, commit_ts: u64) {
        self.must_prewrite(vec![op(Op::Del, key)], start_ts);
        self.commit(&[key], start_ts, commit_ts).unwrap();
    }

    pub fn rollback(&self, keys: &[&[u8]], start_ts: u64) -> Result<()> {
        let keys = keys.iter().map(|k| k.to_vec()).collect();
        let req = kvrpcpb::BatchRollbackRequest { keys, start_version: start_ts, ..Default::default() };
        self.run(Rollback::from(req))
    }

    pub fn cleanup(&self, key: &[u8], start_ts: u64, current_ts: u64) -> Result<()> {
        let key = key.to_vec();
        let req = kvrpcpb::CleanupRequest { key, start_version: start_ts, current_ts, ..Default::default() };
        self.run(Cleanup::from(req))
    }

    pub fn check_txn_status(&self, req: kvrpcpb::CheckTxnStatusRequest) -> Result<TxnStatus> {
        self.run(CheckTxnStatus::from(req))
    }

    pub fn heart_beat(&self, primary: &[u8], start_ts: u64, ttl: u64) -> Result<TxnStatus> {
        let req = kvrpcpb::TxnHeartBeatRequest {
            primary_lock: primary.to_vec(),
            start_version: start_ts,
            advise_lock_ttl: ttl,
            ..Default::default()
        };
        self.run(TxnHeartBeat::from(req))
    }

    pub fn resolve(&self, req: kvrpcpb::ResolveLockRequest) -> Result<()> {
        self.run(typed_resolve_lock(req))
    }

    pub fn get_with(&self, ctx: Context, key: &[u8], ts: u64) -> Result<(Option<Vec<u8>>, KvGetStatistics)> {
        wait(self.storage.get(ctx, Key::from_raw(key), ts.into(), Req::NONE))
    }

    pub fn get(&self, key: &[u8], ts: u64) -> Result<Option<Vec<u8>>> {
        self.get_with(Context::default(), key, ts).map(|(value, _)| value)
    }

    pub fn must_get(&self, key: &[u8], ts: u64, value: &[u8]) {
        assert_eq!(self.get(key, ts).unwrap().as_deref(), Some(value));
    }

    pub fn must_get_none(&self, key: &[u8], ts: u64) {
        assert_eq!(self.get(key, ts).unwrap(), None);
    }

    /// Returns the lock that blocks a read.
    pub fn must_be_locked(&self, key: &[u8], ts: u64) -> kvrpcpb::LockInfo {
        let error = self.get(key, ts).expect_err("the key should be locked");
        key_error(&error).locked.unwrap_or_else(|| panic!("expected a lock, found {error}"))
    }

    /// Returns keys and values of a scan; `None` for a locked key.
    pub fn scan(&self, range: ScanRange, ts: u64) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
        let (pairs, _) = wait(self.storage.scan(Context::default(), range, ts.into(), Req::NONE)).unwrap();
        pairs.into_iter().map(std::result::Result::ok).collect()
    }

    /// Waits until every latch is released: responses are sent before the release.
    pub fn must_become_idle(&self) {
        wait(async {
            while !self.storage.get_scheduler().is_idle() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        // The last clone stops the threads before the directory is removed.
        if Arc::strong_count(&self._dir) == 1 {
            self.storage.stop();
        }
    }
}

pub fn key_error(e: &Error) -> kvrpcpb::KeyError {
    extract_key_error(e)
}

pub fn rc() -> Context {
    Context { isolation_level: IsolationLevel::Rc.into(), ..Default::default() }
}

/// Returns a scan range between two raw keys; empty: unbounded.
pub fn range(start: &[u8], end: &[u8], limit: usize) -> ScanRange {
    ScanRange {
        start_key: Key::from_raw_maybe_unbounded(start),
        end_key: Key::from_raw_maybe_unbounded(end),
        limit,
        ..Default::default()
    }
}
