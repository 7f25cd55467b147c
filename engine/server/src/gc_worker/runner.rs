//! The GC worker: deletes old versions from RocksDB, past Raft (TiKV `src/server/gc_worker/gc_worker.rs`).
use std::{
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    thread::{self, JoinHandle},
};

use api_version::KvFormat;
use engine_rocks::{CF_DEFAULT, RocksEngine};
use storage::{
    mvcc::{MvccReader, ScanMode},
    ttl_current_ts,
    txn::actions::gc::gc,
};
use tikv_kv::{Engine, IterOptions, Iterator, Modify, RocksKv, SnapContext, Snapshot, WriteData};
use tracepoints::{Facts, Req, facts::shown, request, stage};
use txn_types::{Key, TimeStamp};

use super::{GcContext, GcTask, metrics::GcKeyMode};
use crate::runtime::ThreadsError;

type Result<T> = std::result::Result<T, storage::Error>;

/// The running worker; it keeps RocksDB open until [`GcWorker::stop`].
pub struct GcWorker {
    gc: Arc<GcContext>,
    thread: JoinHandle<()>,
}

impl GcWorker {
    /// Starts the thread `gc-worker`. It reads and deletes `batch_keys` keys together.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        kv: RocksEngine,
        gc: Arc<GcContext>,
        tasks: Receiver<(Req, GcTask)>,
        batch_keys: usize,
        store_id: u64,
    ) -> std::result::Result<Self, ThreadsError> {
        let runner = Runner { engine: RocksKv::new(kv), gc: gc.clone(), batch_keys };
        let work = move || {
            tracepoints::register_thread("gc-worker", store_id);
            runner.work(&tasks);
        };
        let started = thread::Builder::new().name("gc-worker".into()).spawn(work);
        let thread = started.map_err(|error| ThreadsError { name: "gc-worker", error })?;
        Ok(Self { gc, thread })
    }

    /// Returns the state that the worker shares with the filters.
    pub fn context(&self) -> &Arc<GcContext> {
        &self.gc
    }

    /// Ends the thread after its current batch.
    pub fn stop(self) {
        self.gc.stopped.store(true, Ordering::Release);
        // If the queue is full, the thread has tasks and sees the flag before the next one.
        let _ = self.gc.tasks.try_send((Req::NONE, GcTask::Stop));
        if self.thread.join().is_err() {
            log::error!("the GC worker panicked");
        }
    }
}

/// Counts of one collection of some keys.
#[derive(Default)]
struct Collected {
    deleted_versions: u64,
    /// Number of keys with nothing to delete.
    wasted_keys: u64,
}

struct Runner {
    engine: RocksKv,
    gc: Arc<GcContext>,
    batch_keys: usize,
}

impl Runner {
    fn work(&self, tasks: &Receiver<(Req, GcTask)>) {
        while !self.stopped() {
            match tasks.recv() {
                Ok((_, GcTask::Stop)) | Err(_) => break,
                Ok((req, task)) => {
                    self.run(req, task);
                    request::end(req);
                    self.gc.pending.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
        // Otherwise the collector shows these requests as long as the process runs.
        for (req, task) in tasks.try_iter() {
            if !matches!(task, GcTask::Stop) {
                request::end(req);
                self.gc.pending.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn stopped(&self) -> bool {
        self.gc.stopped.load(Ordering::Acquire)
    }

    fn run(&self, req: Req, task: GcTask) {
        let gc = &self.gc;
        tracepoints::stamp!(GC_TASK, req, keys = task.keys().len());
        tracepoints::facts!(req, Facts::new("Task").text("task", task.name()).outcome(task.name()));
        gc.hold(stage::GC_TASK, req);
        let (index, result) = match task {
            GcTask::Gc { safe_point } => (0, self.gc_all(req, safe_point)),
            GcTask::GcKeys { keys, safe_point } => {
                let result = self.gc_keys(req, &keys, safe_point).map(|done| {
                    gc.metrics.deletions_handled(GcKeyMode::Txn, keys.len() as u64, done.wasted_keys);
                    gc.metrics.deleted(done.deleted_versions);
                });
                (1, result)
            }
            GcTask::RawGcKeys { keys, safe_point } => {
                let result = self.raw_gc_keys(req, &keys, safe_point).map(|wasted| {
                    gc.metrics.deletions_handled(GcKeyMode::Raw, keys.len() as u64, wasted);
                });
                (2, result)
            }
            GcTask::OrphanVersions { keys } => {
                gc.metrics.orphans(keys.len() as u64);
                let delete = |key: Key| {
                    if req.stepped() {
                        tracepoints::stamp!(GC_DELETE_VALUE, req);
                        tracepoints::facts!(req, value_facts(&key));
                        gc.hold(stage::GC_DELETE_VALUE, req);
                    }
                    Modify::Delete(CF_DEFAULT, key)
                };
                (3, self.write(req, keys.into_iter().map(delete).collect()))
            }
            GcTask::Stop => return,
        };
        gc.metrics.task(index, result.is_err());
        if let Err(e) = result {
            log::warn!("a GC task failed, its garbage stays: {e}");
        }
    }

    /// Collects the garbage of all keys of this store.
    fn gc_all(&self, req: Req, safe_point: TimeStamp) -> Result<()> {
        let mut next = None;
        loop {
            if self.stopped() {
                return Ok(());
            }
            let (keys, after) = self.reader()?.scan_keys(next, self.batch_keys)?;
            self.gc.metrics.deleted(self.gc_keys(req, &keys, safe_point)?.deleted_versions);
            match after {
                Some(key) => next = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Collects the garbage of keys.
    fn gc_keys(&self, req: Req, keys: &[Key], safe_point: TimeStamp) -> Result<Collected> {
        let (mut reader, mut modifies, mut done) = (self.reader()?, Vec::new(), Collected::default());
        reader.req = req;
        let hold = |stage, req| self.gc.hold(stage, req);
        for key in keys {
            let deleted = gc(&mut reader, key, safe_point, &mut modifies, hold)?.deleted_versions as u64;
            done.deleted_versions += deleted;
            done.wasted_keys += u64::from(deleted == 0);
        }
        self.write(req, modifies)?;
        Ok(done)
    }

    /// Deletes raw keys whose newest version at or below the safe point is deleted or has expired, with all
    /// their older versions. Returns the number of keys with nothing to delete.
    fn raw_gc_keys(&self, req: Req, keys: &[Key], safe_point: TimeStamp) -> Result<u64> {
        let snapshot = self.snapshot()?;
        let (now, mut modifies, mut wasted) = (ttl_current_ts(), Vec::new(), 0);
        for key in keys {
            let upper_bound = Some(key.clone().append_ts(TimeStamp::zero()).into_encoded());
            let mut iter = snapshot.iter(CF_DEFAULT, IterOptions { upper_bound, ..Default::default() })?;
            let mut found = iter.seek(&key.clone().append_ts(safe_point))?;
            if !found || KvFormat::V2.decode_raw_value(iter.value())?.is_valid(now) {
                wasted += 1;
                continue;
            }
            while found {
                modifies.push(Modify::Delete(CF_DEFAULT, Key::from_encoded_slice(iter.key())));
                found = iter.next()?;
            }
        }
        self.write(req, modifies)?;
        Ok(wasted)
    }

    fn snapshot(&self) -> Result<<RocksKv as Engine>::Snap> {
        // This engine answers at once.
        Ok(futures::executor::block_on(self.engine.async_snapshot(SnapContext::default()))?)
    }

    fn reader(&self) -> Result<MvccReader<<RocksKv as Engine>::Snap>> {
        Ok(MvccReader::new(self.snapshot()?, Some(ScanMode::Forward), false))
    }

    /// TiKV: `modify_on_kv_engine`.
    fn write(&self, req: Req, modifies: Vec<Modify>) -> Result<()> {
        if modifies.is_empty() {
            return Ok(());
        }
        tracepoints::stamp!(GC_WRITE, req, modifies = modifies.len());
        self.gc.hold(stage::GC_WRITE, req);
        let data = WriteData::from_modifies(modifies);
        futures::executor::block_on(self.engine.async_write(SnapContext::default(), data))?;
        Ok(())
    }
}

/// Shows a value that is deleted.
fn value_facts(key: &Key) -> Facts {
    let (user_key, start_ts) = Key::split_readable(key.as_encoded());
    let start_ts = start_ts.unwrap_or_default();
    Facts::new("Value")
        .text("key", shown(&user_key))
        .ts("start_ts", start_ts.into_inner())
        .outcome(format!("{} at {start_ts}", shown(&user_key)))
}
