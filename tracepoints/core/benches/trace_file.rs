//! Measures a trace file: write speed, time to the first page of a large file, search speed and memory.
//!
//! `cargo bench -p tracepoints --profile dev --bench trace_file -- [MiB] [FILE]`; the default is 256 MiB in a
//! temporary directory. An existing FILE is read and kept; otherwise the benchmark writes it and keeps it.
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use tracepoints::{
    RequestKind, clock, request, ring,
    trace_file::{Query, TraceFile, TraceFileWriter},
};

/// Makes the stamps of a read of typical length, with an invented key.
fn request(i: u64) {
    let req = request::begin(RequestKind::KvGet, &i.wrapping_mul(0x9e37_79b9).to_be_bytes(), i % 64 + 1);
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(GRPC_DECODE, req);
    tracepoints::stamp!(READ_POOL_QUEUE, req);
    tracepoints::stamp!(READ_POOL_RUN, req);
    tracepoints::stamp!(MEM_LOCK_CHECK, req, region = i % 64);
    tracepoints::stamp!(SNAPSHOT_REQUEST, req);
    tracepoints::stamp!(LOCK_CF_GET, req);
    tracepoints::stamp!(WRITE_CF_SEEK, req, ts = i);
    tracepoints::stamp!(MVCC_GET, req, ts = i);
    tracepoints::stamp!(GRPC_REPLY, req);
    request::end(req);
}

/// Writes until the file has `bytes` bytes; the time measured is only the writer's own.
fn write(path: &Path, bytes: u64) {
    let mut writer = TraceFileWriter::create(path).expect("a new file");
    let (mut batch, mut i, mut took) = (Vec::new(), 0, std::time::Duration::ZERO);
    while writer.len() < bytes {
        for _ in 0..300 {
            request(i);
            i += 1;
        }
        ring::rings().iter().for_each(|r| {
            r.drain(|stamp| batch.push(stamp.with_at(clock::raw_to_ns(stamp.at))));
        });
        let from = Instant::now();
        writer.stamps(&batch).expect("room on the disk");
        took += from.elapsed();
        batch.clear();
    }
    let from = Instant::now();
    let written = writer.finish().expect("room on the disk");
    let (s, sync) = (took.as_secs_f64(), from.elapsed());
    println!(
        "write   {:.2} M stamps/s, {:.0} MiB/s ({written} stamps, {i} requests; then synced in {sync:.1?})",
        written as f64 / s / 1e6,
        bytes as f64 / s / 1048576.0
    );
}

/// Returns this process's resident memory in MiB, pages of maps included: current and peak.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn report(what: &str, from: Instant, result: impl std::fmt::Display) {
    let (now, most) = memory();
    println!("{what:<8}{:>9.1?}  {result}; {now} MiB resident, {most} at peak", from.elapsed());
}

fn read(path: &Path) {
    let from = Instant::now();
    let file = TraceFile::open(path).expect("a trace file");
    let page: Vec<_> = file.heads(&Query::default()).take(50).collect();
    report("open", from, format!("first page of {} of {} requests", page.len(), file.request_count()));
    let middle = file.heads(&Query::default()).nth(file.request_count() as usize / 2).expect("requests");
    let from = Instant::now();
    let stamps = file.request(middle.id).map_or(0, |r| r.stamps.len());
    report("request", from, format!("by its number, {stamps} stamps"));
    for (what, query) in [
        ("key", Query { key: Some(middle.key_head.clone()), ..Query::default() }),
        ("region", Query { region: Some(7), ..Query::default() }),
        ("slow", Query { min_ns: 1_000_000, ..Query::default() }),
    ] {
        let from = Instant::now();
        let found = file.heads(&query).count();
        report(what, from, format!("{found} found in {} requests", file.request_count()));
    }
    let from = Instant::now();
    let sample = 200_000;
    let stamps: usize = file.requests().take(sample).map(|r| r.stamps.len()).sum();
    let rate = stamps as f64 / from.elapsed().as_secs_f64() / 1e6;
    report("load", from, format!("all stamps of up to {sample} requests, {rate:.2} M stamps/s"));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let mib: u64 = args.first().and_then(|a| a.parse().ok()).unwrap_or(256);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = args.get(1).map_or_else(|| dir.path().join("bench.trace"), PathBuf::from);
    if !path.exists() {
        write(&path, mib << 20);
    }
    read(&path);
}
