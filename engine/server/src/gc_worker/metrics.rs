//! Counts of the garbage collection of one store, under TiKV's names.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tracepoints::collector::TextWriter;

/// Labels of the kinds of keys.
const KEY_MODES: [&str; 2] = ["txn", "raw"];
/// Labels of the tasks.
const TASKS: [&str; 4] = ["gc", "gc_keys", "raw_gc_keys", "orphan_versions"];

/// Kind of keys, as an index of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcKeyMode {
    /// Keys of transactions.
    Txn,
    /// Raw keys of API V2.
    Raw,
}

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct GcMetrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    performed: [AtomicU64; 2],
    filtered: [AtomicU64; 2],
    rollbacks: AtomicU64,
    orphans: AtomicU64,
    deletes: [AtomicU64; 2],
    deletions_handled: [AtomicU64; 2],
    deletions_wasted: [AtomicU64; 2],
    failures: AtomicU64,
    tasks: [AtomicU64; 4],
    failed_tasks: [AtomicU64; 4],
    dropped_tasks: AtomicU64,
    deleted_versions: AtomicU64,
    safe_point: AtomicU64,
    ranges_to_compact: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl GcMetrics {
    pub(super) fn filter_created(&self, mode: GcKeyMode) {
        add(&self.0.performed[mode as usize], 1);
    }

    pub(super) fn filtered(&self, mode: GcKeyMode, versions: u64, rollbacks: u64) {
        add(&self.0.filtered[mode as usize], versions);
        add(&self.0.rollbacks, rollbacks);
    }

    pub(super) fn failed_to_filter(&self) {
        add(&self.0.failures, 1);
    }

    /// Counts deletes that a filter found, alone or not.
    pub(super) fn deletes(&self, mode: GcKeyMode, found: u64) {
        add(&self.0.deletes[mode as usize], found);
    }

    /// Counts lone deletes that the worker read; the `wasted` ones had nothing left to delete.
    pub(super) fn deletions_handled(&self, mode: GcKeyMode, keys: u64, wasted: u64) {
        add(&self.0.deletions_handled[mode as usize], keys);
        add(&self.0.deletions_wasted[mode as usize], wasted);
    }

    pub(super) fn orphans(&self, versions: u64) {
        add(&self.0.orphans, versions);
    }

    pub(super) fn deleted(&self, versions: u64) {
        add(&self.0.deleted_versions, versions);
    }

    /// Counts a task by its index in [`TASKS`].
    pub(super) fn task(&self, index: usize, failed: bool) {
        add(&self.0.tasks[index], 1);
        add(&self.0.failed_tasks[index], u64::from(failed));
    }

    pub(super) fn dropped_task(&self) {
        add(&self.0.dropped_tasks, 1);
    }

    pub(super) fn ranges_to_compact(&self, ranges: u64) {
        self.0.ranges_to_compact.store(ranges, Ordering::Relaxed);
    }

    pub(super) fn safe_point(&self, ts: u64) {
        self.0.safe_point.store(ts, Ordering::Relaxed);
    }

    /// Adds the metrics in their text form.
    pub fn write(&self, out: &mut TextWriter) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, counters) in [
            ("tikv_gc_compaction_filtered", "Filtered versions by compaction", &self.0.filtered),
            ("tikv_gc_compaction_filter_perform", "Perform GC in compaction filter", &self.0.performed),
            (
                "tikv_gc_compaction_filter_mvcc_deletion_met",
                "MVCC deletion from compaction filter found",
                &self.0.deletes,
            ),
            (
                "tikv_gc_compaction_filter_mvcc_deletion_handled",
                "MVCC deletion from compaction filter handled",
                &self.0.deletions_handled,
            ),
            (
                "tikv_gc_compaction_filter_mvcc_deletion_wasted",
                "MVCC deletion from compaction filter wasted",
                &self.0.deletions_wasted,
            ),
        ] {
            out.family(name, help, "counter");
            for (mode, counter) in KEY_MODES.into_iter().zip(counters) {
                out.sample(&[("key_mode", mode)], count(counter));
            }
        }
        out.family("tikv_gc_compaction_mvcc_rollback", "Compaction of mvcc rollbacks", "counter");
        out.sample(&[("key_mode", "txn")], count(&self.0.rollbacks));
        let help = "Compaction filter orphan versions for default CF";
        out.family("tikv_gc_compaction_filter_orphan_versions", help, "counter");
        out.sample(&[("key_mode", "txn"), ("tag", "cleaned")], count(&self.0.orphans));
        out.family("tikv_gc_compaction_failure", "Compaction filter meets failure", "counter");
        out.sample(&[("key_mode", "txn"), ("type", "filter")], count(&self.0.failures));
        for (name, help, counters) in [
            ("tikv_gcworker_gc_tasks_vec", "Counter of gc tasks processed by gc_worker", &self.0.tasks),
            ("tikv_gcworker_gc_task_fail_vec", "Counter of gc tasks that is failed", &self.0.failed_tasks),
        ] {
            out.family(name, help, "counter");
            for (task, counter) in TASKS.into_iter().zip(counters) {
                out.sample(&[("task", task)], count(counter));
            }
        }
        out.family("tikv_gcworker_gc_keys", "Counter of keys affected during gc", "counter");
        let labels = [("key_mode", "txn"), ("cf", "write"), ("tag", "deleted")];
        out.sample(&labels, count(&self.0.deleted_versions));
        out.family("tikv_gcworker_autogc_safe_point", "Safe point used for auto gc", "gauge");
        out.sample(&[], count(&self.0.safe_point));
        let help = "Number of ranges that meet the compaction threshold";
        out.family("tikv_auto_compaction_regions_meet_threshold", help, "gauge");
        out.sample(&[], count(&self.0.ranges_to_compact));
    }
}
