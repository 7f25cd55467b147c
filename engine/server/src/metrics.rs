//! The metrics of one store, under TiKV's names, in Prometheus' text form.
//!
//! The collector derives metrics from stamps; this module has the others.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use storage::{SchedulerLoad, TxnScheduler};
use tracepoints::{
    clock,
    collector::{self, TextWriter},
};

use crate::{
    gc_worker::GcMetrics, raftkv::RaftKv, request_source::RequestSources, service::HealthController,
    ttl::TtlMetrics,
};

struct Counters {
    started_ns: u64,
    store_id: u64,
    raft_messages: AtomicU64,
    raft_batches: AtomicU64,
    sources: RequestSources,
    ttl: TtlMetrics,
    gc: GcMetrics,
    health: HealthController,
    scheduler: TxnScheduler<RaftKv>,
}

/// Counters of one store; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

impl Metrics {
    /// Creates the metrics of a store.
    pub(crate) fn new(
        store_id: u64,
        ttl: TtlMetrics,
        gc: GcMetrics,
        health: HealthController,
        scheduler: TxnScheduler<RaftKv>,
    ) -> Self {
        Self(Arc::new(Counters {
            started_ns: clock::now_ns(),
            store_id,
            raft_messages: AtomicU64::new(0),
            raft_batches: AtomicU64::new(0),
            sources: RequestSources::default(),
            ttl,
            gc,
            health,
            scheduler,
        }))
    }

    /// Counts the Raft messages of one received batch.
    pub fn raft_batch(&self, messages: u64) {
        self.0.raft_batches.fetch_add(1, Ordering::Relaxed);
        self.0.raft_messages.fetch_add(messages, Ordering::Relaxed);
    }

    /// Returns the counters of requests by their source.
    pub(crate) fn sources(&self) -> &RequestSources {
        &self.0.sources
    }

    /// Formats all metrics in Prometheus' text format, version 0.0.4. They
    /// include every request that has ended.
    pub fn to_text(&self) -> String {
        let mut out = TextWriter::default();
        if let Some(collector) = collector::current() {
            collector.write_metrics(self.0.store_id, &mut out);
        }
        let help = "Total number of raft messages received.";
        out.family("tikv_server_raft_message_recv_total", help, "counter");
        out.sample(&[], self.0.raft_messages.load(Ordering::Relaxed));
        out.family("tikv_server_raft_message_batch_total", "Batches of Raft messages received.", "counter");
        out.sample(&[], self.0.raft_batches.load(Ordering::Relaxed));
        out.family("tikv_server_uptime_seconds", "Real time since this store started.", "gauge");
        out.sample(&[], clock::now_ns().saturating_sub(self.0.started_ns) as f64 / 1e9);
        let (used, allocated) = self.0.scheduler.get_txn_status_cache().size();
        let help = "Transactions in the cache of their status, and those for which memory is reserved.";
        out.family("tikv_scheduler_txn_status_cache_size", help, "gauge");
        out.sample(&[("type", "used")], used as f64);
        out.sample(&[("type", "allocated")], allocated as f64);
        out.family("tikv_raftstore_slow_score", "Slow score of the store, from 1 to 100.", "gauge");
        out.sample(&[("type", "raft")], self.0.health.get_raftstore_slow_score() as u64);
        let help = "Bytes of the pessimistic locks in memory.";
        out.family("tikv_pessimistic_lock_memory_size", help, "gauge");
        out.sample(&[], tikv_kv::instance_memory_size() as f64);
        self.0.sources.write(&mut out);
        self.0.ttl.write(&mut out);
        self.0.gc.write(&mut out);
        write_scheduler(self.0.scheduler.load(), &mut out);
        out.finish()
    }
}

/// TiKV: `src/storage/metrics.rs`.
fn write_scheduler(load: SchedulerLoad, out: &mut TextWriter) {
    out.family("tikv_scheduler_writing_bytes", "Total number of writing kv.", "gauge");
    out.sample(&[], load.writing_bytes);
    out.family("tikv_scheduler_memory_quota_size", "Memory of unfinished commands, and its limit.", "gauge");
    out.sample(&[("type", "in_use")], load.memory_in_use);
    out.sample(&[("type", "capacity")], load.memory_capacity);
    // TiKV's gauge is an integer: the ratio times 10,000,000.
    out.family("tikv_scheduler_discard_ratio", "The discard ratio for flow control.", "gauge");
    out.sample(&[], (load.discard_ratio * 1e7) as u64);
    out.family("tikv_scheduler_throttle_flow", "The limit of flow control in bytes/s; 0: none.", "gauge");
    out.sample(&[], load.speed_limit.map_or(0, |speed| speed as u64));
}
