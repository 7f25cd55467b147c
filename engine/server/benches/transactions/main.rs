//! Measures what transactions cost over gRPC, beside RocksDB that reads and writes the same rows directly.
//!
//! `cargo bench --profile dev --workspace --bench transactions -- [--seconds N] [--clients A,B,C]`: starts a store of its
//! own, and runs each operation for N seconds (1) with 1, 16 and 64 clients. Each client uses its own keys, so no
//! operation meets a conflict.
mod clients;
mod rocks;
mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use self::{clients::Client, rocks::Rows, store::Store};

/// Keys of each client.
const KEYS: u64 = 1000;
const VALUE: [u8; 100] = [b'v'; 100];

/// An operation of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Get,
    BatchGet,
    Scan,
    Commit(usize),
    AsyncCommit,
    OnePc,
    PessimisticLock,
}

impl Work {
    const ALL: [Work; 8] = [
        Work::Get,
        Work::BatchGet,
        Work::Scan,
        Work::Commit(1),
        Work::Commit(100),
        Work::AsyncCommit,
        Work::OnePc,
        Work::PessimisticLock,
    ];

    fn name(self) -> String {
        match self {
            Work::Get => "point get".into(),
            Work::BatchGet => "batch get, 100 keys".into(),
            Work::Scan => "scan, 1,000 keys".into(),
            Work::Commit(1) => "prewrite and commit, 1 key".into(),
            Work::Commit(n) => format!("prewrite and commit, {n} keys"),
            Work::AsyncCommit => "async commit, 1 key".into(),
            Work::OnePc => "1PC, 1 key".into(),
            Work::PessimisticLock => "pessimistic lock and rollback".into(),
        }
    }
}

/// Latencies of one operation in one run.
struct Measured {
    per_second: f64,
    sorted: Vec<Duration>,
}

impl Measured {
    fn new(began: Instant, mut latencies: Vec<Duration>) -> Self {
        let per_second = latencies.len() as f64 / began.elapsed().as_secs_f64();
        latencies.sort_unstable();
        Self { per_second, sorted: latencies }
    }

    /// Returns the latency in microseconds that this share of the operations does not exceed.
    fn percentile(&self, share: f64) -> f64 {
        let place = (self.sorted.len().saturating_sub(1) as f64 * share) as usize;
        self.sorted.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }
}

fn argument(name: &str) -> Option<String> {
    let args: Vec<String> = std::env::args().collect();
    args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned()
}

fn main() -> Result<()> {
    let seconds =
        argument("--seconds").map_or(Ok(1.0), |s| s.parse()).context("--seconds: expected a number")?;
    let counts = argument("--clients").unwrap_or_else(|| "1,16,64".into());
    let counts: Vec<u64> = counts
        .split(',')
        .map(|n| n.parse().context("--clients: expected numbers with commas between"))
        .collect::<Result<_>>()?;
    let most = counts.iter().copied().max().unwrap_or(1);
    let time = Duration::from_secs_f64(seconds);
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = Store::start(&dir.path().join("store"))?;
    let clients: Vec<Client> = runtime.block_on(store.clients(most))?;
    let rows = Arc::new(Rows::open(&dir.path().join("rocks"), most)?);
    println!(
        "{KEYS} keys of {} bytes for each client, {time:?} for each number; latencies in microseconds\n",
        VALUE.len()
    );
    println!(
        "{:<30} {:>7} {:>10} {:>9} {:>9}   {:>12} {:>9} {:>9} {:>7}",
        "over gRPC", "clients", "op/s", "p50", "p99", "RocksDB op/s", "p50", "p99", "ratio"
    );
    for work in Work::ALL {
        for count in &counts {
            let some = &clients[..*count as usize];
            let ours = runtime.block_on(clients::measure(some, work, time))?;
            let direct = rocks::measure(&rows, *count, work, time)?;
            println!(
                "{:<30} {:>7} {:>10.0} {:>9.0} {:>9.0}   {:>12.0} {:>9.1} {:>9.1} {:>7.3}",
                work.name(),
                count,
                ours.per_second,
                ours.percentile(0.5),
                ours.percentile(0.99),
                direct.per_second,
                direct.percentile(0.5),
                direct.percentile(0.99),
                ours.per_second / direct.per_second,
            );
        }
    }
    Ok(())
}
