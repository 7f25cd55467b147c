//! Measures the cost of recording every request on this machine, on a cluster of one store.
mod load;
mod paired;

use std::time::Duration;

use anyhow::{Context as _, Result};
pub use paired::{Paired, Plan, Round};
use serde::Serialize;
use tracepoints::{
    RequestKind, Stamp,
    collector::{self, RecordedRequest},
    overhead::stamp_ns,
};

use crate::{Cluster, ClusterConfig};

/// The figures of one measurement. Times are in ns unless the name has another unit.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// Time of a stamp while recording is on.
    pub stamp_on_ns: f64,
    /// Time of a stamp while recording is off.
    pub stamp_off_ns: f64,
    /// Size of a stamp in a ring, in bytes.
    pub stamp_bytes: usize,
    /// `kv_get` by clients over gRPC, in this process.
    pub over_grpc: Paired,
    /// Point gets on the storage layer, without gRPC.
    pub in_process: Paired,
    /// Work of the collector's thread.
    pub collector: CollectorShare,
    /// Number of stamps that full rings dropped.
    pub dropped: u64,
    /// Mean number of stamps of a point get.
    pub stamps_per_get: f64,
    /// Share of the recent point gets' wall time outside of all stages, 0 to 1.
    pub unaccounted: f64,
}

/// Work of the collector's thread.
#[derive(Debug, Serialize)]
pub struct CollectorShare {
    /// Number of collected stamps.
    pub stamps: u64,
    /// CPU time of the collector's thread for each stamp.
    pub cpu_ns_per_stamp: f64,
}

/// Runs the measurement. Takes about four times `plan.round * plan.pairs` and keeps the machine busy.
///
/// # Errors
/// If the cluster does not start, a read fails, or the store records no requests.
pub fn measure(plan: &Plan) -> Result<Receipt> {
    let (stamp_on_ns, stamp_off_ns) = stamp_ns();
    let cluster = Cluster::start(ClusterConfig { stores: 1, ..ClusterConfig::default() })?;
    cluster.settle()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = cluster.servers().next().context("the store runs")?;
    let target = load::Target::new(&runtime, server, cluster.context(b"")?, plan.keys)?;
    // The cost of recording includes the store's collector, which reads, folds and counts the stamps.
    let collector = collector::current().context("the store records no requests")?;
    let over_grpc = paired::compare(plan, |on| runtime.block_on(target.over_grpc(plan, on)))?;
    let in_process = paired::compare(plan, |on| runtime.block_on(target.in_process(plan, on)))?;
    // A few gets over gRPC at the end, so that the recent requests contain all stages.
    let settle = Plan { round: Duration::from_millis(50), clients: 1, ..*plan };
    runtime.block_on(target.over_grpc(&settle, true))?;
    let gets: Vec<RecordedRequest> =
        collector.recent().into_iter().filter(|r| r.kind == RequestKind::KvGet).collect();
    anyhow::ensure!(!gets.is_empty(), "the collector kept no kv_get");
    let stats = collector.stats();
    Ok(Receipt {
        stamp_on_ns,
        stamp_off_ns,
        stamp_bytes: size_of::<Stamp>(),
        over_grpc,
        in_process,
        collector: CollectorShare {
            stamps: stats.stamps,
            cpu_ns_per_stamp: stats.cpu_ns as f64 / stats.stamps.max(1) as f64,
        },
        dropped: stats.dropped,
        stamps_per_get: gets.iter().map(|r| r.stamps.len()).sum::<usize>() as f64 / gets.len() as f64,
        unaccounted: unaccounted(&gets),
    })
}

fn unaccounted(gets: &[RecordedRequest]) -> f64 {
    let sums = gets.iter().map(|r| r.trace().summary());
    let (stages, wall) = sums.fold((0, 0), |(s, w), x| (s + x.stage_ns, w + x.wall_ns));
    (1.0 - stages as f64 / wall.max(1) as f64).max(0.0)
}
