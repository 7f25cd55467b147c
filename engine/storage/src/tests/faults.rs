//! Engine that fails, blocks or panics: every command gets a response, every latch is released.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine_rocks::{DbConfig, RocksEngine};
use futures::{FutureExt, future::BoxFuture};
use kvproto::{
    errorpb,
    kvrpcpb::{self, Context},
};
use tempfile::TempDir;
use tikv_kv::{Engine, RocksKv, SnapContext, WriteData, WriteTimes};
use tokio::sync::Notify;
use tracepoints::Req;
use txn_types::TimeStamp;

use super::{
    lock_manager::MockLockManager,
    store::{prewrite_request, put, wait},
};
use crate::{
    ConcurrencyManager, Config, PrewriteResult, Result, Storage, extract_region_error,
    txn::commands::{RESOLVE_LOCK_BATCH_SIZE, typed_prewrite, typed_resolve_lock},
};

const FINE: u8 = 0;
const FAIL_SNAPSHOT: u8 = 1;
const FAIL_WRITE: u8 = 2;
const PANIC_IN_WRITE: u8 = 3;
const HOLD_WRITE: u8 = 4;
/// Fails the write that is held, and no other.
const FAIL_HELD_WRITE: u8 = 5;

#[derive(Clone)]
struct FaultyEngine {
    below: RocksKv,
    fault: Arc<AtomicU8>,
    /// Total number of writes that were held.
    held: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

fn not_leader() -> tikv_kv::Error {
    let not_leader = Some(errorpb::NotLeader { region_id: 7, ..Default::default() });
    tikv_kv::ErrorInner::Request(errorpb::Error { not_leader, ..Default::default() }).into()
}

impl Engine for FaultyEngine {
    type Snap = <RocksKv as Engine>::Snap;

    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, tikv_kv::Result<Self::Snap>> {
        match self.fault.load(Ordering::SeqCst) {
            FAIL_SNAPSHOT => async { Err(not_leader()) }.boxed(),
            _ => self.below.async_snapshot(ctx),
        }
    }

    fn async_write(
        &self,
        ctx: SnapContext,
        data: WriteData,
    ) -> BoxFuture<'static, tikv_kv::Result<WriteTimes>> {
        let this = self.clone();
        async move {
            match this.fault.load(Ordering::SeqCst) {
                FAIL_WRITE => return Err(not_leader()),
                PANIC_IN_WRITE => panic!("a fault of this test"),
                HOLD_WRITE => {
                    let released = this.release.notified();
                    this.held.fetch_add(1, Ordering::SeqCst);
                    released.await;
                    if this.fault.load(Ordering::SeqCst) == FAIL_HELD_WRITE {
                        return Err(not_leader());
                    }
                }
                _ => {}
            }
            this.below.async_write(ctx, data).await
        }
        .boxed()
    }
}

struct Faulty {
    storage: Storage<FaultyEngine>,
    engine: FaultyEngine,
    _dir: TempDir,
}

impl Faulty {
    fn new(config: Config) -> Self {
        let dir = TempDir::new().unwrap();
        let db = RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap();
        let engine = FaultyEngine {
            below: RocksKv::new(db),
            fault: Arc::default(),
            held: Arc::default(),
            release: Arc::default(),
        };
        let manager = ConcurrencyManager::new(TimeStamp::zero());
        let lock_mgr = Arc::<MockLockManager>::default();
        Self {
            storage: Storage::new(engine.clone(), manager, lock_mgr, config, None, 1).unwrap(),
            engine,
            _dir: dir,
        }
    }

    fn set(&self, fault: u8) {
        self.engine.fault.store(fault, Ordering::SeqCst);
    }

    fn prewrite(&self, key: &'static [u8], ts: u64) -> impl Future<Output = Result<PrewriteResult>> + use<> {
        let storage = self.storage.clone();
        async move {
            let cmd = typed_prewrite(prewrite_request(vec![put(key, b"v")], ts))?;
            storage.sched_txn_command(cmd, Req::NONE).await.0
        }
    }

    async fn until_a_write_is_held(&self) {
        while self.engine.held.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn must_become_idle(&self) {
        wait(async {
            while !self.storage.get_scheduler().is_idle() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.storage.stop();
    }
}

#[test]
fn a_region_error_reaches_the_client_and_frees_the_latch() {
    let store = Faulty::new(Config::default());
    for fault in [FAIL_SNAPSHOT, FAIL_WRITE] {
        store.set(fault);
        let error = extract_region_error(&wait(store.prewrite(b"k", 5))).unwrap();
        assert_eq!(error.not_leader.unwrap().region_id, 7);
        store.must_become_idle();
    }
    store.set(FINE);
    assert!(wait(store.prewrite(b"k", 5)).unwrap().locks.is_empty());
}

#[test]
fn a_failed_write_gives_its_bytes_back_to_flow_control() {
    let store = Faulty::new(Config::default());
    let flow = store.storage.get_scheduler().flow_controller();
    store.set(HOLD_WRITE);
    let (before, after) = wait(async {
        let sent = tokio::spawn(store.prewrite(b"k", 5));
        store.until_a_write_is_held().await;
        // So slow that the bucket does not fill while the test runs.
        flow.limit_for_test(0.001);
        let before = flow.consume(1000);
        store.set(FAIL_HELD_WRITE);
        store.engine.release.notify_one();
        assert!(extract_region_error(&sent.await.unwrap()).is_some());
        (before, flow.consume(0))
    });
    // One byte needs 1000 seconds.
    assert!(before.saturating_sub(after) > Duration::from_secs(10_000), "{before:?} {after:?}");
}

#[test]
fn an_engine_panic_closes_only_its_command() {
    let store = Faulty::new(Config::default());
    store.set(PANIC_IN_WRITE);
    let error = wait(store.prewrite(b"k", 5)).unwrap_err();
    assert!(matches!(*error.0, crate::ErrorInner::Closed), "{error}");
    store.must_become_idle();
    store.set(FINE);
    assert!(wait(store.prewrite(b"k", 5)).unwrap().locks.is_empty());
}

#[test]
fn a_command_outlives_its_caller() {
    let store = Faulty::new(Config::default());
    store.set(HOLD_WRITE);
    wait(async {
        let called = tokio::spawn(store.prewrite(b"k", 5));
        store.until_a_write_is_held().await;
        called.abort();
        assert!(called.await.unwrap_err().is_cancelled());
    });
    assert!(!store.storage.get_scheduler().is_idle());
    store.set(FINE);
    store.engine.release.notify_one();
    store.must_become_idle();
    let locked = wait(store.prewrite(b"k", 6)).unwrap();
    assert_eq!(locked.locks.len(), 1);
}

#[test]
fn commands_queued_after_a_slow_one_continue() {
    let store = Faulty::new(Config::default());
    store.set(HOLD_WRITE);
    let waiting: Vec<_> = (0..10).map(|i| store.prewrite(b"k", 10 + i)).collect();
    let results = wait(async {
        let joined: Vec<_> = waiting.into_iter().map(tokio::spawn).collect();
        store.until_a_write_is_held().await;
        store.set(FAIL_WRITE);
        store.engine.release.notify_one();
        futures::future::join_all(joined).await
    });
    // The held write succeeded; the others found its lock before the fault could hit them.
    let locks: Vec<_> = results.into_iter().map(|r| r.unwrap().unwrap().locks.len()).collect();
    assert_eq!(locks.iter().filter(|n| **n == 0).count(), 1, "{locks:?}");
    store.must_become_idle();
}

#[test]
fn commands_above_the_pending_bytes_limit_are_refused() {
    let store = Faulty::new(Config { scheduler_pending_write_threshold: 1, ..Config::default() });
    store.set(HOLD_WRITE);
    let held = store.prewrite(b"k", 5);
    let (first, second) = wait(async {
        let first = tokio::spawn(held);
        store.until_a_write_is_held().await;
        let second = store.prewrite(b"l", 6).await;
        store.engine.release.notify_one();
        (first.await.unwrap(), second)
    });
    assert!(first.unwrap().locks.is_empty());
    let busy = extract_region_error(&second).unwrap().server_is_busy.unwrap();
    assert_eq!(busy.reason, "scheduler is busy");
    store.must_become_idle();
}

#[test]
fn a_command_that_waits_past_its_deadline_is_answered() {
    let store = Faulty::new(Config::default());
    store.set(HOLD_WRITE);
    let mut late = prewrite_request(vec![put(b"k", b"v")], 6);
    late.context.get_or_insert_default().max_execution_duration_ms = 50;
    let (held, next) = (store.prewrite(b"k", 5), store.prewrite(b"k", 7));
    let storage = store.storage.clone();
    let (first, refused, last) = wait(async {
        let first = tokio::spawn(held);
        store.until_a_write_is_held().await;
        let late = async move { storage.sched_txn_command(typed_prewrite(late).unwrap(), Req::NONE).await };
        let (late, next) = (tokio::spawn(late), tokio::spawn(next));
        // The response arrives while the first command still has the latch.
        let refused = late.await.unwrap().0;
        store.set(FINE);
        store.engine.release.notify_one();
        (first.await.unwrap(), refused, next.await.unwrap())
    });
    assert!(first.unwrap().locks.is_empty());
    let busy = extract_region_error(&refused).unwrap().server_is_busy.unwrap();
    assert_eq!(busy.reason, "deadline is exceeded");
    assert_eq!(last.unwrap().locks.len(), 1, "it found the first command's lock");
    store.must_become_idle();
}

#[test]
fn stopping_answers_every_command() {
    let store = Faulty::new(Config::default());
    store.set(HOLD_WRITE);
    let commands: Vec<_> = (0..5).map(|i| store.prewrite(b"k", 10 + i)).collect();
    let results = wait(async {
        let joined: Vec<_> = commands.into_iter().map(tokio::spawn).collect();
        store.until_a_write_is_held().await;
        store.storage.stop();
        futures::future::join_all(joined).await
    });
    for result in results {
        assert!(matches!(*result.unwrap().unwrap_err().0, crate::ErrorInner::Closed));
    }
}

/// A command that continues as another command keeps its deadline.
#[test]
fn all_commands_of_a_request_share_its_deadline() {
    let faulty = Faulty::new(Config::default());
    // More than one batch, so that a second command follows.
    let mutations = (0..=RESOLVE_LOCK_BATCH_SIZE).map(|n| put(format!("k{n:05}").as_bytes(), b"v")).collect();
    let prewrite = typed_prewrite(prewrite_request(mutations, 10)).unwrap();
    wait(faulty.storage.sched_txn_command(prewrite, Req::NONE)).0.unwrap();
    faulty.set(HOLD_WRITE);
    let limit = Duration::from_secs(3);
    let request = kvrpcpb::ResolveLockRequest {
        context: Some(Context { max_execution_duration_ms: limit.as_millis() as u64, ..Context::default() }),
        start_version: 10,
        ..Default::default()
    };
    let resolve = faulty.storage.sched_txn_command(typed_resolve_lock(request), Req::NONE);
    let result = wait(async {
        let resolved = async { resolve.await.0 };
        let late = async {
            faulty.until_a_write_is_held().await;
            tokio::time::sleep(limit).await;
            faulty.set(FINE);
            faulty.engine.release.notify_waiters();
        };
        futures::future::join(resolved, late).await.0
    });
    let busy = extract_region_error(&result).unwrap().server_is_busy.unwrap();
    assert_eq!(busy.reason, "deadline is exceeded");
    assert_eq!(faulty.engine.held.load(Ordering::SeqCst), 1, "the first batch was written in time");
    faulty.must_become_idle();
}
