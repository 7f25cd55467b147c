//! Removal of expired raw values from the disk (TiKV `src/server/ttl`).
mod checker;
mod compaction_filter;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tracepoints::collector::TextWriter;

pub use checker::TtlChecker;
pub use compaction_filter::TtlCompactionFilterFactory;

/// Counts of one store; clones share them.
#[derive(Clone, Debug, Default)]
pub struct TtlMetrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    expired: AtomicU64,
    expired_bytes: AtomicU64,
    undecodable: AtomicU64,
    finished: AtomicU64,
    compacted: AtomicU64,
    errors: AtomicU64,
    poll_interval_ms: AtomicU64,
}

impl TtlMetrics {
    /// Adds the metrics under TiKV's names.
    pub fn write(&self, out: &mut TextWriter) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        out.family("tikv_ttl_expire_kv_count_total", "Total number of rawkv ttl expire.", "counter");
        out.sample(&[], count(&self.0.expired));
        out.family("tikv_ttl_expire_kv_size_total", "Total size of rawkv ttl expire.", "counter");
        out.sample(&[], count(&self.0.expired_bytes));
        out.family("tikv_ttl_checker_actions", "Total number of actions of the ttl checker.", "counter");
        for (action, counter) in [
            ("ts_error", &self.0.undecodable),
            ("finish", &self.0.finished),
            ("compact", &self.0.compacted),
            ("error", &self.0.errors),
        ] {
            out.sample(&[("type", action)], count(counter));
        }
        out.family("tikv_ttl_checker_poll_interval", "Interval of the ttl checker in milliseconds.", "gauge");
        out.sample(&[], count(&self.0.poll_interval_ms));
    }
}
