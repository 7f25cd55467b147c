//! Measures the cost of a stamp, enabled and disabled, compared with `tracing` and `fastrace`, and the
//! collector's throughput.
//!
//! `cargo bench -p tracepoints --profile dev --bench stamp`. Shows the best of several rounds, since noise
//! only adds time.
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tracepoints::{
    Collector, CollectorConfig, RequestKind,
    overhead::{best_of, empty_rings, stamp_ns},
    request, ring,
};
use tracing_subscriber::prelude::*;

const ROUNDS: usize = 200;
/// Stamps per round: fewer than the capacity of a ring, so that none is dropped.
const STAMPS: u64 = 4000;

/// Returns the ns per call of the best round.
fn best(call: impl FnMut(u64), between: impl FnMut()) -> f64 {
    best_of(ROUNDS, STAMPS, call, between)
}

fn tracing_event(i: u64) {
    tracing::info!(region = i, ts = i, "mvcc_get");
}

fn tracing_span(i: u64) {
    let _entered = tracing::info_span!("mvcc_get", region = i, ts = i).entered();
}

fn fastrace_span(_: u64) {
    let _span = fastrace::local::LocalSpan::enter_with_local_parent("mvcc_get");
}

/// fastrace keeps local spans until their parent ends, so each round has its own parent.
fn fastrace_round() -> f64 {
    let mut best_ns = f64::MAX;
    for _ in 0..ROUNDS {
        let root = fastrace::Span::root("request", fastrace::prelude::SpanContext::random());
        let from = {
            let _local = root.set_local_parent();
            let from = Instant::now();
            (0..STAMPS).for_each(|i| fastrace_span(black_box(i)));
            from.elapsed()
        };
        best_ns = best_ns.min(from.as_nanos() as f64 / STAMPS as f64);
    }
    best_ns
}

/// Returns the M stamps/s that the collector folds while two threads stamp at full speed, and the percentage
/// dropped.
fn collector() -> (f64, f64) {
    let config = CollectorConfig { interval: Duration::from_micros(200), ..CollectorConfig::default() };
    let collector = Collector::start(config).expect("the only collector of this process");
    let (before, dropped) = (collector.stats().stamps, ring::dropped());
    let from = Instant::now();
    let threads = [1, 2].map(|n| {
        std::thread::spawn(move || {
            tracepoints::register_thread(&format!("unified-read-pool-{n}"), 1);
            while from.elapsed() < Duration::from_secs(1) {
                point_get();
            }
        })
    });
    threads.into_iter().for_each(|t| _ = t.join());
    collector.flush();
    let taken = (collector.stats().stamps - before) as f64;
    let lost = (ring::dropped() - dropped) as f64;
    (taken / from.elapsed().as_secs_f64() / 1e6, lost / (taken + lost))
}

/// Returns the M stamps/s that the collector folds on its own: its cost per stamp.
fn collector_alone() -> f64 {
    let config = CollectorConfig { interval: Duration::from_secs(60), ..CollectorConfig::default() };
    let collector = Collector::start(config).expect("the only collector of this process");
    std::thread::sleep(Duration::from_millis(20));
    collector.flush();
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        (0..STAMPS / 16).for_each(|_| point_get());
        let (before, from) = (collector.stats().stamps, Instant::now());
        collector.flush();
        let spent = from.elapsed();
        let taken = (collector.stats().stamps - before) as f64;
        best = best.max(taken / spent.as_secs_f64() / 1e6);
    }
    best
}

/// Stamps a point get: its start, 14 stamps and its end.
fn point_get() {
    let req = request::begin(RequestKind::KvGet, b"key", 1);
    tracepoints::stamp!(GRPC_RECEIVE, req);
    tracepoints::stamp!(GRPC_DECODE, req, region = 1u64);
    tracepoints::stamp!(READ_POOL_QUEUE, req);
    tracepoints::stamp!(READ_POOL_RUN, req);
    tracepoints::stamp!(MEM_LOCK_CHECK, req);
    tracepoints::stamp!(SNAPSHOT_REQUEST, req);
    tracepoints::stamp!(LOCAL_READ, req, region = 1u64, term = 6u64);
    tracepoints::stamp!(SNAPSHOT_READY, req);
    tracepoints::stamp!(MVCC_GET, req, ts = 7u64);
    tracepoints::stamp!(LOCK_CF_GET, req);
    tracepoints::stamp!(WRITE_CF_SEEK, req);
    tracepoints::stamp!(WRITE_CF_FOUND, req);
    tracepoints::stamp!(READ_DONE, req);
    tracepoints::stamp!(GRPC_REPLY, req);
    request::end(req);
}

fn main() {
    tracepoints::register_thread("bench", 1);
    let loop_alone = best(|i| _ = black_box(i), || ());
    let (on, off) = stamp_ns();
    let whole = best(
        |i| {
            if i % 16 == 0 {
                point_get()
            }
        },
        empty_rings,
    ) * 16.0;
    let mut rows = vec![("stamp, on (2 fields)", on), ("stamp, off", off)];
    rows.push(("begin, 14 stamps, end of a point get", whole));
    rows.push(("tracing event, no subscriber", best(tracing_event, || ())));
    rows.push(("tracing span, no subscriber", best(tracing_span, || ())));
    fastrace::set_reporter(Forget, fastrace::collector::Config::default());
    rows.push(("fastrace local span", fastrace_round()));
    tracing_subscriber::registry().init();
    rows.push(("tracing event, registry", best(tracing_event, || ())));
    rows.push(("tracing span, registry", best(tracing_span, || ())));
    println!("{:<40} {:>10} {:>12}", "", "ns", "x stamp on");
    println!("{:<40} {loop_alone:>10.2}", "the loop itself");
    for (name, ns) in &rows {
        println!("{name:<40} {ns:>10.2} {:>12.2}", ns / on);
    }
    let ((live, lost), alone) = (collector(), collector_alone());
    println!("{:<40} {alone:>10.1} M stamps/s", "collector alone");
    println!(
        "{:<40} {live:>10.1} M stamps/s, {:.1} % dropped",
        "collector, two writers at full speed",
        lost * 100.0
    );
    println!(
        "bars: stamp on <= 25 ns: {}; off <= 1 ns: {}",
        verdict(on <= 25.0),
        verdict(off - loop_alone <= 1.0)
    );
}

/// Discards fastrace's spans.
struct Forget;

impl fastrace::collector::Reporter for Forget {
    fn report(&mut self, spans: Vec<fastrace::collector::SpanRecord>) {
        drop(spans);
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}
