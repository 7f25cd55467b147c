//! Counts of requests by type, under TiKV's metric names, in Prometheus' text form.
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracepoints::{RequestKind, clock};

const BUCKETS: usize = 22;
/// Upper bound of the first bucket; each next one is twice as wide (TiKV: exponential_buckets(5e-5, 2.0, 22)).
const FIRST_BUCKET_NS: u64 = 50_000;

/// Kinds that a server serves, in the order of their counters.
const KINDS: [RequestKind; 25] = [
    RequestKind::KvGet,
    RequestKind::KvBatchGet,
    RequestKind::KvScan,
    RequestKind::KvPrewrite,
    RequestKind::KvCommit,
    RequestKind::KvBatchRollback,
    RequestKind::KvCleanup,
    RequestKind::KvCheckTxnStatus,
    RequestKind::KvCheckSecondaryLocks,
    RequestKind::KvTxnHeartBeat,
    RequestKind::KvResolveLock,
    RequestKind::KvScanLock,
    RequestKind::KvPessimisticLock,
    RequestKind::KvPessimisticRollback,
    RequestKind::KvGc,
    RequestKind::KvDeleteRange,
    RequestKind::RawGet,
    RequestKind::RawBatchGet,
    RequestKind::RawPut,
    RequestKind::RawBatchPut,
    RequestKind::RawDelete,
    RequestKind::RawBatchDelete,
    RequestKind::RawScan,
    RequestKind::RawDeleteRange,
    RequestKind::Other,
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Histogram {
    fn observe(&self, ns: u64) {
        let doublings = (ns / FIRST_BUCKET_NS).checked_ilog2().map_or(0, |n| n as usize + 1);
        if let Some(bucket) = self.buckets.get(doublings) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, kind: &str) -> std::fmt::Result {
        let mut below = 0;
        for (i, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Ordering::Relaxed);
            let bound = (FIRST_BUCKET_NS << i) as f64 / 1e9;
            writeln!(out, "{name}_bucket{{type=\"{kind}\",le=\"{bound}\"}} {below}")?;
        }
        let count = self.count.load(Ordering::Relaxed);
        writeln!(out, "{name}_bucket{{type=\"{kind}\",le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{type=\"{kind}\"}} {}", self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9)?;
        writeln!(out, "{name}_count{{type=\"{kind}\"}} {count}")
    }
}

#[derive(Debug)]
struct Counters {
    started_ns: u64,
    store_id: u64,
    durations: [Histogram; KINDS.len()],
    raft_messages: AtomicU64,
    raft_batches: AtomicU64,
}

/// The metrics of one store.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counters>);

impl Metrics {
    pub fn new(store_id: u64) -> Self {
        Self(Arc::new(Counters {
            started_ns: clock::now_ns(),
            store_id,
            durations: Default::default(),
            raft_messages: AtomicU64::new(0),
            raft_batches: AtomicU64::new(0),
        }))
    }

    /// Counts one request; `ns` from its arrival to its reply.
    pub fn request(&self, kind: RequestKind, ns: u64) {
        let at = KINDS.iter().position(|k| *k == kind).unwrap_or(KINDS.len() - 1);
        self.0.durations[at].observe(ns);
    }

    /// Counts the Raft messages of one received batch.
    pub fn raft_batch(&self, messages: u64) {
        self.0.raft_batches.fetch_add(1, Ordering::Relaxed);
        self.0.raft_messages.fetch_add(messages, Ordering::Relaxed);
    }

    /// Prometheus' text format, version 0.0.4.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let name = "tikv_grpc_msg_duration_seconds";
        writeln!(out, "# HELP {name} Time from a request's arrival to its reply.\n# TYPE {name} histogram")?;
        for (kind, histogram) in KINDS.iter().zip(&self.0.durations) {
            if histogram.count.load(Ordering::Relaxed) > 0 {
                histogram.write(out, name, &kind.name())?;
            }
        }
        let uptime = clock::now_ns().saturating_sub(self.0.started_ns) as f64 / 1e9;
        let store = self.0.store_id;
        for (name, kind, help, value) in [
            (
                "tikv_server_raft_message_recv_total",
                "counter",
                "Raft messages received.",
                self.0.raft_messages.load(Ordering::Relaxed) as f64,
            ),
            (
                "tikv_server_raft_message_batch_total",
                "counter",
                "Batches of Raft messages received.",
                self.0.raft_batches.load(Ordering::Relaxed) as f64,
            ),
            (
                "tikv_trace_stamps_dropped_total",
                "counter",
                "Stamps lost because a ring was full.",
                tracepoints::ring::dropped() as f64,
            ),
            ("tikv_server_uptime_seconds", "gauge", "Real time since this store started.", uptime),
        ] {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{store=\"{store}\"}} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_falls_into_all_buckets_above_its_time() {
        let metrics = Metrics::new(1);
        metrics.request(RequestKind::KvGet, 60_000);
        metrics.request(RequestKind::KvGet, 10_000_000_000_000);
        let text = metrics.to_text();
        let line = |le: &str, n: u64| {
            format!("tikv_grpc_msg_duration_seconds_bucket{{type=\"kv_get\",le=\"{le}\"}} {n}")
        };
        assert!(text.contains(&line("0.00005", 0)), "{text}");
        assert!(text.contains(&line("0.0001", 1)), "{text}");
        assert!(text.contains(&line("+Inf", 2)), "{text}");
        assert!(!text.contains("raw_put"), "kinds never met are left out");
    }
}
