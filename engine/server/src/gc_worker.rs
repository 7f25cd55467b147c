//! Garbage collection of old versions: the safe point from PD, the compaction filters, and the worker that
//! deletes what the filters hand over (TiKV `src/server/gc_worker`).
mod compaction_filter;
mod manager;
mod metrics;
mod runner;
mod versions;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    mpsc::{Receiver, SyncSender, sync_channel},
};

use txn_types::{Key, TimeStamp};

pub use compaction_filter::{RawCompactionFilterFactory, WriteCompactionFilterFactory};
pub use manager::GcManager;
pub use metrics::GcMetrics;
pub use runner::GcWorker;

/// Maximum number of tasks that wait for the worker, as in TiKV.
const GC_MAX_PENDING_TASKS: usize = 4096;

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

/// State that the filters, the manager and the worker share. TiKV: `GcContext`.
#[derive(Debug)]
pub struct GcContext {
    /// 0 until PD has answered.
    safe_point: AtomicU64,
    enable_compaction_filter: bool,
    tasks: SyncSender<GcTask>,
    /// Number of tasks that are not done.
    pending: AtomicUsize,
    stopped: AtomicBool,
    metrics: GcMetrics,
}

impl GcContext {
    /// Creates the state of one store, and the receiver of its worker.
    pub fn new(enable_compaction_filter: bool) -> (Arc<Self>, Receiver<GcTask>) {
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

    /// Hands a task to the worker. If its queue is full the garbage stays, as in TiKV.
    fn schedule(&self, task: GcTask) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        if self.tasks.try_send(task).is_err() {
            self.pending.fetch_sub(1, Ordering::AcqRel);
            self.metrics.dropped_task();
            log::warn!("the GC worker is busy or has stopped: dropped a task, its garbage stays on the disk");
        }
    }
}
