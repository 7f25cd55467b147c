//! Throughput of point gets over gRPC and in process, with and without recording, and of RocksDB's get.
//!
//! `cargo bench --profile dev --workspace --bench point_get`. `tikv-tui overhead` is a shorter version.
use std::time::{Duration, Instant};

use anyhow::Result;
use engine_rocks::{CF_DEFAULT, DbConfig, RocksEngine};
use recipes::overhead::{Paired, Plan, measure};

const KEYS: u64 = 10_000;

fn main() -> Result<()> {
    let plan = Plan { keys: KEYS, round: Duration::from_millis(500), pairs: 31, ..Plan::default() };
    println!(
        "{KEYS} keys of 100 B, {} clients, {} pairs of rounds of {:?}; medians\n",
        plan.clients, plan.pairs, plan.round
    );
    let receipt = measure(&plan)?;
    println!(
        "{:<20} {:>15} {:>12} {:>8} {:>19} {:>8}",
        "", "recorded, op/s", "not", "cost", "CPU us, rec/not", "cost"
    );
    row("kv_get over gRPC", &receipt.over_grpc);
    row("kv_get in process", &receipt.in_process);
    let dir = tempfile::tempdir()?;
    println!("{:<20} {:>15.0}", "RocksDB get", raw_rocks(&open_rocks(dir.path())?)?);
    let (stamps, ns) = (receipt.collector.stamps, receipt.collector.cpu_ns_per_stamp);
    println!("\ncollector: {stamps} stamps, {ns:.0} ns of CPU each; dropped: {}", receipt.dropped);
    println!(
        "stamps a get: {:.1}; unaccounted: {:.3} %",
        receipt.stamps_per_get,
        receipt.unaccounted * 100.0
    );
    Ok(())
}

fn row(name: &str, p: &Paired) {
    println!(
        "{name:<20} {:>15.0} {:>12.0} {:>7.1}% {:>11.2} / {:>5.2} {:>7.1}%",
        p.recorded_per_s,
        p.not_recorded_per_s,
        p.throughput_cost_percent,
        p.recorded_cpu_us,
        p.not_recorded_cpu_us,
        p.cpu_cost_percent,
    );
}

fn key(i: u64) -> Vec<u8> {
    format!("bench-{:08}", i % KEYS).into()
}

fn open_rocks(dir: &std::path::Path) -> Result<RocksEngine> {
    let db = RocksEngine::open(dir, &DbConfig::default())?;
    for i in 0..KEYS {
        db.put_cf(CF_DEFAULT, &key(i), &[b'v'; 100])?;
    }
    Ok(db)
}

/// Reads per second of one thread.
fn raw_rocks(db: &RocksEngine) -> Result<f64> {
    let (start, mut n) = (Instant::now(), 0u64);
    while start.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            n += 1;
            anyhow::ensure!(db.get_value_cf(CF_DEFAULT, &key(n * 7919))?.is_some(), "a key is missing");
        }
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}
