//! Writes with many clients and searches for stalls:
//! `cargo run -p recipes --example soak -- SECONDS [CLIENTS] [STORES]`.
//!
//! Run it while the machine has other work. It prints each put that takes longer than 1 s, with the times of
//! its stages from the store's recording. It exits with 1 if any `raft_route` took longer than 1 s.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use recipes::{
    Cluster, ClusterConfig,
    client::Clients,
    directive::{Commit, Op},
};
use tracepoints::{Req, RequestKind, collector};

/// A put or a stage that takes longer counts as a stall.
const STALL: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let mut number = |otherwise: u64| args.next().unwrap_or(Ok(otherwise));
    let usage = "expected the numbers SECONDS [CLIENTS] [STORES]";
    let (seconds, clients) = (number(30).context(usage)?, number(8).context(usage)?);
    let stores = number(3).context(usage)? as usize;
    let cluster = Cluster::start(ClusterConfig { stores, log_gc: true, ..ClusterConfig::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(Clients::connect(&cluster.pd_endpoint(), cluster.api()))?;
    let (stop, puts, worst) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let shared = Arc::new((stop, puts, worst));
    let tasks: Vec<_> = (0..clients).map(|n| runtime.spawn(put(client.clone(), shared.clone(), n))).collect();
    let stalled = watch(Duration::from_secs(seconds));
    shared.0.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for task in tasks {
        failed += runtime.block_on(task)?;
    }
    let (puts, worst) = (shared.1.load(Ordering::Relaxed), shared.2.load(Ordering::Relaxed));
    println!("{puts} puts, {failed} failed, the longest took {worst} ms; raft_route stalled {stalled} times");
    if stalled > 0 {
        bail!("expected no raft_route longer than {STALL:?}, found {stalled}");
    }
    Ok(())
}

/// Runs one client: raw puts and transactions in turn. Returns the number of failures.
async fn put(client: Clients, shared: Arc<(AtomicBool, AtomicU64, AtomicU64)>, n: u64) -> u64 {
    let (mut failed, names) = (0, Default::default());
    for i in 0u64.. {
        if shared.0.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("soak-{n}-{}", i % 1000).into_bytes(), vec![b'v'; 64]);
        let op = if i % 4 == 0 {
            Op::Put { key, value, commit: Commit::TwoPhase }
        } else {
            Op::RawPut { key, value, ttl: 0 }
        };
        let from = Instant::now();
        if let Err(e) = client.run(&op, Req::NONE, &names, None).await {
            failed += 1;
            println!("{op}: {e:#}");
        }
        let took = from.elapsed();
        shared.1.fetch_add(1, Ordering::Relaxed);
        shared.2.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
        if took > STALL {
            println!("{op} took {took:?} for its client");
        }
    }
    failed
}

/// Reads the stores' recorded requests until `time` has passed; counts stalls in `raft_route`.
fn watch(time: Duration) -> usize {
    let (end, mut stalled, mut seen) = (Instant::now() + time, 0, std::collections::HashSet::new());
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
        let Some(collector) = collector::current() else { continue };
        let slow = collector.recent().into_iter().filter(|r| {
            r.kind != RequestKind::Tso && r.took_ns() > STALL.as_nanos() as u64 && seen.insert(r.id)
        });
        for request in slow {
            let steps = request.trace().steps;
            println!("{} {} took {} ms", request.kind.name(), request.id, request.took_ns() / 1_000_000);
            for step in &steps {
                println!(
                    "  {:>9} us {:<18} store {} {}",
                    step.dur_ns / 1000,
                    step.stage,
                    step.store,
                    step.thread
                );
            }
            let routed =
                |s: &&tracepoints::trace::Step| s.stage == "raft_route" && s.dur_ns > STALL.as_nanos() as u64;
            stalled += steps.iter().filter(routed).count();
        }
    }
    stalled
}
