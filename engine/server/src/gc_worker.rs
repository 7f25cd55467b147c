//! Garbage collection of old versions: the safe point from PD, the compaction filters, and the worker that
//! deletes what the filters hand over (TiKV `src/server/gc_worker`).
mod compaction_filter;
mod compaction_runner;
mod manager;
mod metrics;
mod runner;
mod versions;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use tracepoints::{Req, RequestKind, StageId, gate, request};
use txn_types::{Key, TimeStamp};

pub use compaction_filter::{RawCompactionFilterFactory, WriteCompactionFilterFactory};
pub use compaction_runner::CompactionRunner;
pub use manager::GcManager;
pub use metrics::GcMetrics;
pub use runner::GcWorker;

/// Maximum number of tasks that wait for the worker, as in TiKV.
const GC_MAX_PENDING_TASKS: usize = 4096;

/// Interval at which a held thread looks whether the store stops.
const HOLD_POLL: Duration = Duration::from_millis(2);

/// Work of the GC worker.
#[derive(Debug)]
pub enum GcTask {
    /// Collect all garbage of this store.
    Gc {
        /// No read is below it.
        safe_point: TimeStamp,
    },
    /// Collect the garbage of keys whose newest version below the safe point is a delete.
    GcKeys {
        /// Encoded keys.
        keys: Vec<Key>,
        /// No read is below it.
        safe_point: TimeStamp,
    },
    /// Delete raw keys whose newest version below the safe point is deleted or has expired.
    RawGcKeys {
        /// Encoded keys.
        keys: Vec<Key>,
        /// No read is below it.
        safe_point: TimeStamp,
    },
    /// Delete values in CF default whose write records a compaction has dropped.
    OrphanVersions {
        /// Encoded keys with timestamps.
        keys: Vec<Key>,
    },
    /// End the worker.
    Stop,
}

impl GcTask {
    /// Returns the keys; none for a task of the whole store.
    fn keys(&self) -> &[Key] {
        match self {
            GcTask::GcKeys { keys, .. }
            | GcTask::RawGcKeys { keys, .. }
            | GcTask::OrphanVersions { keys } => keys,
            GcTask::Gc { .. } | GcTask::Stop => &[],
        }
    }

    fn first_key(&self) -> Vec<u8> {
        let Some(key) = self.keys().first() else { return Vec::new() };
        let user_key = match self {
            GcTask::OrphanVersions { .. } => key.clone().truncate_ts().and_then(|key| key.to_raw()),
            _ => key.to_raw(),
        };
        user_key.unwrap_or_else(|_| key.as_encoded().clone())
    }

    /// Returns the name of the task, as TiKV's metrics have it.
    fn name(&self) -> &'static str {
        match self {
            GcTask::Gc { .. } => "gc",
            GcTask::GcKeys { .. } => "gc_keys",
            GcTask::RawGcKeys { .. } => "raw_gc_keys",
            GcTask::OrphanVersions { .. } => "orphan_versions",
            GcTask::Stop => "stop",
        }
    }
}

/// State that the filters, the manager and the worker share. TiKV: `GcContext`.
#[derive(Debug)]
pub struct GcContext {
    /// 0 until PD has answered.
    safe_point: AtomicU64,
    enable_compaction_filter: bool,
    tasks: SyncSender<(Req, GcTask)>,
    /// Number of tasks that are not done.
    pending: AtomicUsize,
    stopped: AtomicBool,
    metrics: GcMetrics,
}

impl GcContext {
    /// Creates the state of one store, and the receiver of its worker.
    pub fn new(enable_compaction_filter: bool) -> (Arc<Self>, Receiver<(Req, GcTask)>) {
        let (tasks, receiver) = sync_channel(GC_MAX_PENDING_TASKS);
        let context = Self {
            safe_point: AtomicU64::new(0),
            enable_compaction_filter,
            tasks,
            pending: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            metrics: GcMetrics::default(),
        };
        (Arc::new(context), receiver)
    }

    /// Returns the metrics of GC.
    pub fn metrics(&self) -> &GcMetrics {
        &self.metrics
    }

    /// Returns the number of tasks that wait or run.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Returns the safe point; zero until PD has answered.
    pub fn safe_point(&self) -> TimeStamp {
        self.safe_point.load(Ordering::Relaxed).into()
    }

    /// Returns the safe point if a compaction filter may use it.
    fn filter_safe_point(&self) -> Option<TimeStamp> {
        Some(self.safe_point()).filter(|ts| self.enable_compaction_filter && !ts.is_zero())
    }

    /// Holds this thread at the gate of the last stamp, but only until the store stops: the stop waits for the worker,
    /// and for the compactions.
    fn hold(&self, stage: StageId, req: Req) {
        if !req.stepped() {
            return;
        }
        let mut held = pin!(gate::hold(stage, req));
        let mut context = Context::from_waker(Waker::noop());
        while held.as_mut().poll(&mut context).is_pending() && !self.stopped.load(Ordering::Acquire) {
            thread::sleep(HOLD_POLL);
        }
    }

    /// Hands a task to the worker. If its queue is full the garbage stays, as in TiKV.
    fn schedule(&self, task: GcTask) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        let req = request::begin(RequestKind::GcTask, &task.first_key(), 0);
        tracepoints::stamp!(GC_SCHEDULE, req, keys = task.keys().len());
        if self.tasks.try_send((req, task)).is_err() {
            request::end(req);
            self.pending.fetch_sub(1, Ordering::AcqRel);
            self.metrics.dropped_task();
            log::warn!("the GC worker is busy or has stopped: dropped a task, its garbage stays on the disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tracepoints::{
        Session, SessionConfig,
        session::{Matcher, Mode},
        stage,
    };

    use super::*;

    #[test]
    fn a_hold_ends_when_the_store_stops() {
        let (gc, _tasks) = GcContext::new(true);
        let matcher = Matcher { kinds: vec![RequestKind::GcTask], ..Default::default() };
        let config = SessionConfig { matcher, mode: Mode::Step, ..Default::default() };
        let session = Session::start(config).unwrap();
        let req = request::begin(RequestKind::GcTask, b"k", 0);
        thread::scope(|s| {
            let held = s.spawn(|| gc.hold(stage::GC_TASK, req));
            let end = Instant::now() + Duration::from_secs(60);
            while session.held().is_empty() && Instant::now() < end {
                thread::sleep(HOLD_POLL);
            }
            let holds = !session.held().is_empty() && !held.is_finished();
            gc.stopped.store(true, Ordering::Release);
            held.join().unwrap();
            assert!(holds, "the thread was never held");
        });
        assert!(session.held().is_empty());
    }
}
