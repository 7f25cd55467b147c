//! Reads: from the gRPC handler through the read pool to a snapshot, and back.
//!
//! Mirrors `Storage::get`, `batch_get`, `scan` and `scan_lock` of `src/storage/mod.rs`.
use std::time::Duration;

use kvproto::kvrpcpb::{Context, IsolationLevel, KeyRange, LockInfo, RequestOrigin};
use tikv_kv::{Engine, SnapContext, Snapshot};
use tracepoints::{EngineClock, Req, clock::EngineInstant};
use txn_types::{Key, KvPair, Lock, LockOrSharedLocks, TimeStamp, TsSet, Value};

use crate::{
    command_kind::CommandKind,
    concurrency_manager::ConcurrencyManager,
    deadline::Deadline,
    errors::{Error, Result},
    mvcc::{self, BufferGetter, MvccReader, ScanMode, ValueEntry, need_check_locks},
    perf::with_perf_context,
    statistics::{KvGetStatistics, StageLatencyStats, Statistics},
    storage::Storage,
    txn::store::{EntryResult, ScanParams, SnapshotStore},
};

/// Range as in the request: a reverse scan runs from `start` (excluded) down to `end` (included).
#[derive(Clone, Debug, Default)]
pub struct ScanRange {
    /// Encoded; None: unbounded.
    pub start_key: Option<Key>,
    /// Encoded; None: unbounded.
    pub end_key: Option<Key>,
    /// Maximum number of pairs.
    pub limit: usize,
    /// Returns only every n-th key; 0 and 1: every key.
    pub sample_step: usize,
    /// Whether to leave values empty.
    pub key_only: bool,
    /// Whether to read in descending order.
    pub reverse: bool,
}

impl ScanRange {
    /// Returns the lower (included) and upper (excluded) bound.
    fn into_bounds(self) -> (Option<Key>, Option<Key>) {
        if self.reverse { (self.end_key, self.start_key) } else { (self.start_key, self.end_key) }
    }
}

/// Keys or ranges to check against the memory locks.
pub(crate) enum LockCheck {
    /// No check, for raw reads.
    None,
    Keys(TimeStamp, Vec<Key>, TsSet),
    Range(TimeStamp, Option<Key>, Option<Key>, TsSet),
    /// Any lock up to the timestamp, of any type.
    AllUpTo(TimeStamp, Option<Key>, Option<Key>),
}

impl LockCheck {
    fn ts(&self) -> TimeStamp {
        match self {
            LockCheck::None => TimeStamp::zero(),
            LockCheck::Keys(ts, ..) | LockCheck::Range(ts, ..) | LockCheck::AllUpTo(ts, ..) => *ts,
        }
    }

    /// Returns the ranges that a replica's leader must check for memory locks.
    /// TiKV: `need_check_locks_in_replica_read`.
    fn key_ranges(&self, ctx: &Context) -> Vec<KeyRange> {
        if !ctx.replica_read || ctx.isolation_level() != IsolationLevel::Si {
            return Vec::new();
        }
        let bytes = |key: &Option<Key>| key.as_ref().map(|k| k.as_encoded().clone()).unwrap_or_default();
        match self {
            LockCheck::Keys(_, keys, _) => keys.iter().map(point_key_range).collect(),
            LockCheck::Range(_, start, end, _) => {
                vec![KeyRange { start_key: bytes(start), end_key: bytes(end) }]
            }
            LockCheck::None | LockCheck::AllUpTo(..) => Vec::new(),
        }
    }

    /// Raises max_ts. For callers other than TiDB, GC's timestamp is allowed no drift.
    fn raise_max_ts(&self, ctx: &Context, cm: &ConcurrencyManager) -> mvcc::Result<()> {
        let origin = match self {
            LockCheck::AllUpTo(..) => ctx.request_origin(),
            _ => RequestOrigin::TiDb,
        };
        Ok(cm.update_max_ts_of(self.ts(), "read", origin)?)
    }

    /// Checks the memory locks. Raises max_ts first, so that a later writer commits above this read.
    ///
    /// TiKV: `prepare_snap_ctx`.
    fn run(&self, ctx: &Context, cm: &ConcurrencyManager) -> mvcc::Result<()> {
        if !ctx.stale_read {
            self.raise_max_ts(ctx, cm)?;
        }
        let level = ctx.isolation_level();
        let all_levels = matches!(self, LockCheck::AllUpTo(..));
        if !all_levels && !need_check_locks(level) {
            return Ok(());
        }
        match self {
            LockCheck::None => Ok(()),
            LockCheck::Keys(ts, keys, bypass) => keys.iter().try_for_each(|key| {
                cm.read_key_check(key, |lock| {
                    Ok(txn_types::check_ts_conflict(lock, key, *ts, bypass, level)?)
                })
            }),
            LockCheck::Range(ts, start, end, bypass) => {
                cm.read_range_check(start.as_ref(), end.as_ref(), |key, lock| {
                    Ok(txn_types::check_ts_conflict(lock, key, *ts, bypass, level)?)
                })
            }
            LockCheck::AllUpTo(ts, start, end) => {
                cm.read_range_check(start.as_ref(), end.as_ref(), |key, lock| {
                    if lock.ts > *ts {
                        return Ok(());
                    }
                    let info = lock.clone().into_lock_info(key.to_raw()?);
                    Err(mvcc::ErrorInner::KeyIsLocked(Box::new(info)).into())
                })
            }
        }
    }
}

/// Times at which a read reached its stages, in engine time.
struct Times {
    begin: EngineInstant,
    scheduled: EngineInstant,
    snapshot: EngineInstant,
}

impl Times {
    fn stats(&self) -> StageLatencyStats {
        let between = |a: EngineInstant, b: EngineInstant| b.saturating_since(a).as_nanos() as u64;
        StageLatencyStats {
            schedule_wait_time_ns: between(self.begin, self.scheduled),
            snapshot_wait_time_ns: between(self.scheduled, self.snapshot),
            wait_wall_time_ns: between(self.begin, self.snapshot),
            process_wall_time_ns: between(self.snapshot, EngineClock::now()),
        }
    }
}

impl<E: Engine> Storage<E> {
    /// Reads the value of one key at `start_ts`.
    pub async fn get(
        &self,
        ctx: Context,
        key: Key,
        start_ts: TimeStamp,
        req: Req,
    ) -> Result<(Option<Value>, KvGetStatistics)> {
        let (entry, stats) = self.get_entry(ctx, key, start_ts, false, req).await?;
        Ok((entry.map(|e| e.value), stats))
    }

    /// Like [`Storage::get`], with the commit timestamp if `load_commit_ts`.
    pub async fn get_entry(
        &self,
        ctx: Context,
        key: Key,
        start_ts: TimeStamp,
        load_commit_ts: bool,
        req: Req,
    ) -> Result<(Option<ValueEntry>, KvGetStatistics)> {
        self.check_api_version(&ctx, CommandKind::get, [key.as_encoded().as_slice()])?;
        let (store, bypass) = store_builder(&ctx, start_ts, req);
        let check = LockCheck::Keys(start_ts, vec![key.clone()], bypass);
        let get =
            move |snapshot, stats: &mut Statistics| store(snapshot).get_entry(&key, load_commit_ts, stats);
        self.read(ctx, check, req, get).await
    }

    /// Reads several keys at `start_ts`; omits keys without a value, returns an error for each locked key.
    pub async fn batch_get(
        &self,
        ctx: Context,
        keys: Vec<Key>,
        start_ts: TimeStamp,
        req: Req,
    ) -> Result<(Vec<Result<KvPair>>, KvGetStatistics)> {
        let (entries, stats) = self.batch_get_entry(ctx, keys, start_ts, false, req).await?;
        Ok((entries.into_iter().map(|e| e.map(|(key, entry)| (key, entry.value))).collect(), stats))
    }

    /// Like [`Storage::batch_get`], with commit timestamps if `load_commit_ts`.
    pub async fn batch_get_entry(
        &self,
        ctx: Context,
        keys: Vec<Key>,
        start_ts: TimeStamp,
        load_commit_ts: bool,
        req: Req,
    ) -> Result<(Vec<EntryResult>, KvGetStatistics)> {
        self.check_api_version(&ctx, CommandKind::batch_get, keys.iter().map(|k| k.as_encoded().as_slice()))?;
        let (store, bypass) = store_builder(&ctx, start_ts, req);
        let check = LockCheck::Keys(start_ts, keys.clone(), bypass);
        let get =
            move |snapshot, stats: &mut Statistics| store(snapshot).batch_get(&keys, load_commit_ts, stats);
        self.read(ctx, check, req, get).await
    }

    /// Reads these keys from the flushes of the pipelined transaction of `start_ts`, sorted by key. A deleted key
    /// has an empty value; a key that the transaction has not flushed is left out.
    pub async fn buffer_batch_get(
        &self,
        ctx: Context,
        mut keys: Vec<Key>,
        start_ts: TimeStamp,
        req: Req,
    ) -> Result<(Vec<Result<KvPair>>, KvGetStatistics)> {
        keys.sort();
        keys.dedup();
        let encoded = keys.iter().map(|k| k.as_encoded().as_slice());
        self.check_api_version(&ctx, CommandKind::buffer_batch_get, encoded)?;
        let fill_cache = !ctx.not_fill_cache;
        let check = LockCheck::Keys(start_ts, keys.clone(), TsSet::Empty);
        let get = move |snapshot, stats: &mut Statistics| {
            let mut getter = BufferGetter::new(snapshot, start_ts, fill_cache, req);
            let pairs = keys.iter().filter_map(|key| getter.get(key).transpose());
            let pairs = pairs.map(|pair| pair.map_err(Into::into)).collect();
            stats.add(&getter.take_statistics());
            Ok(pairs)
        };
        self.read(ctx, check, req, get).await
    }

    /// Scans a range at `start_ts`; returns an error for each locked key.
    pub async fn scan(
        &self,
        ctx: Context,
        range: ScanRange,
        start_ts: TimeStamp,
        req: Req,
    ) -> Result<(Vec<Result<KvPair>>, KvGetStatistics)> {
        let encoded = |key: &Option<Key>| key.as_ref().map_or_else(Vec::new, |key| key.as_encoded().clone());
        let (start, end) = (encoded(&range.start_key), encoded(&range.end_key));
        let (lower, upper) = if range.reverse { (&end, &start) } else { (&start, &end) };
        self.check_api_version_ranges(&ctx, CommandKind::scan, [(lower.as_slice(), upper.as_slice())])?;
        let (store, bypass) = store_builder(&ctx, start_ts, req);
        let (limit, key_only, desc) = (range.limit, range.key_only, range.reverse);
        let sample_step = range.sample_step;
        let (lower_bound, upper_bound) = range.into_bounds();
        let check = LockCheck::Range(start_ts, lower_bound.clone(), upper_bound.clone(), bypass);
        let params = ScanParams {
            lower_bound,
            upper_bound,
            limit,
            sample_step,
            key_only,
            desc,
            load_commit_ts: false,
        };
        let scan = move |snapshot, stats: &mut Statistics| {
            let entries = store(snapshot).scan(params, stats)?;
            Ok(entries.into_iter().map(|e| e.map(|(key, entry)| (key, entry.value))).collect())
        };
        self.read(ctx, check, req, scan).await
    }

    /// Lists locks in the range of transactions that started at or before `max_ts`. Accepts any API version
    /// and reads only from the leader, like TiKV.
    pub async fn scan_lock(
        &self,
        mut ctx: Context,
        max_ts: TimeStamp,
        start_key: Option<Key>,
        end_key: Option<Key>,
        limit: usize,
        req: Req,
    ) -> Result<(Vec<LockInfo>, KvGetStatistics)> {
        ctx.replica_read = false;
        let check = LockCheck::AllUpTo(max_ts, start_key.clone(), end_key.clone());
        let fill_cache = !ctx.not_fill_cache;
        let scan = move |snapshot, stats: &mut Statistics| {
            tracepoints::step_thread!(MVCC_SCAN, req, ts = max_ts.into_inner(), limit = limit);
            let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), fill_cache);
            let old = |lock: &Lock| lock.ts <= max_ts;
            let found = reader.scan_locks(start_key.as_ref(), end_key.as_ref(), old, limit);
            stats.add(&reader.statistics);
            let info = |(key, lock): (Key, LockOrSharedLocks)| Ok(lock.into_lock_info(key.into_raw()?));
            found?.0.into_iter().map(info).collect()
        };
        // Only the leader has all locks: TiKV allows no replica here.
        self.read(Context { replica_read: false, ..ctx }, check, req, scan).await
    }

    /// Runs `f` on a snapshot in the read pool; all reads use this function.
    pub(crate) async fn read<T, F>(
        &self,
        ctx: Context,
        check: LockCheck,
        req: Req,
        f: F,
    ) -> Result<(T, KvGetStatistics)>
    where
        T: Send + 'static,
        F: FnOnce(E::Snap, &mut Statistics) -> Result<T> + Send + 'static,
    {
        if IsolationLevel::try_from(ctx.isolation_level).is_err() {
            let found = ctx.isolation_level;
            return Err(Error::other(format!(
                "expected an isolation_level of kvrpcpb.IsolationLevel in the context, found {found}"
            )));
        }
        // Like TiKV, lists locks even when the pool is busy.
        if !matches!(check, LockCheck::AllUpTo(..)) {
            let threshold = Duration::from_millis(ctx.busy_threshold_ms.into());
            self.read_pool.check_busy_threshold(threshold)?;
        }
        tracepoints::step!(READ_POOL_QUEUE, req, region = ctx.region_id, ts = check.ts().into_inner());
        let (engine, cm) = (self.engine.clone(), self.concurrency_manager.clone());
        let priority = ctx.priority();
        let (begin, deadline) = (EngineClock::now(), Deadline::from_context(&ctx));
        let task = async move {
            tracepoints::step!(READ_POOL_RUN, req, region = ctx.region_id, ts = check.ts().into_inner());
            let scheduled = EngineClock::now();
            deadline.check()?;
            if !matches!(check, LockCheck::None) {
                tracepoints::step!(
                    MEM_LOCK_CHECK,
                    req,
                    ts = check.ts().into_inner(),
                    max_ts = cm.max_ts().into_inner(),
                );
                check.run(&ctx, &cm)?;
            }
            let snap_ctx = SnapContext {
                pb_ctx: ctx.clone(),
                req,
                start_ts: check.ts().into_inner(),
                key_ranges: check.key_ranges(&ctx),
                ..SnapContext::default()
            };
            let snapshot = crate::snapshot::take(&engine, snap_ctx).await?;
            deadline.check()?;
            let times = Times { begin, scheduled, snapshot: EngineClock::now() };
            let read_index = snapshot.read_index_times();
            let mut stats = Statistics::default();
            let (result, perf) = with_perf_context(req, || f(snapshot, &mut stats));
            tracepoints::stamp!(
                READ_DONE,
                req,
                processed_keys = stats.write.processed_keys,
                processed_bytes = stats.processed_size,
                failed = result.is_err(),
            );
            Ok((result?, KvGetStatistics { stats, latency_stats: times.stats(), perf, read_index }))
        };
        self.read_pool.spawn_handle_of(priority, task)?.await
    }
}

/// Returns the range of one encoded key.
fn point_key_range(key: &Key) -> KeyRange {
    let start_key = key.as_encoded().clone();
    let mut end_key = start_key.clone();
    end_key.push(0);
    KeyRange { start_key, end_key }
}

/// Returns a constructor of the request's view of a snapshot, and the locks the request bypasses.
fn store_builder<S: Snapshot>(
    ctx: &Context,
    start_ts: TimeStamp,
    req: Req,
) -> (impl FnOnce(S) -> SnapshotStore<S> + use<S>, TsSet) {
    let isolation_level: IsolationLevel = ctx.isolation_level();
    let fill_cache = !ctx.not_fill_cache;
    let bypass_locks = TsSet::from_u64s(ctx.resolved_locks.clone());
    let access_locks = TsSet::from_u64s(ctx.committed_locks.clone());
    let bypass = bypass_locks.clone();
    let store = move |snapshot| SnapshotStore {
        snapshot,
        start_ts,
        isolation_level,
        fill_cache,
        bypass_locks,
        access_locks,
        req,
    };
    (store, bypass)
}
