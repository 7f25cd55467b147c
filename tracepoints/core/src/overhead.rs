//! Measures the cost of recording on this machine.
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::{Req, RequestKind, recorder, request, ring};

/// Stamps per round: fewer than the capacity of a ring, so that none is dropped.
const STAMPS: u64 = 4000;
const ROUNDS: usize = 200;

/// Returns the ns that a stamp of two fields takes on this thread, recorded and not: the best of many rounds,
/// since noise only adds time.
///
/// Discards the contents of all rings, so no [`Collector`](crate::Collector) may run at the same time.
pub fn stamp_ns() -> (f64, f64) {
    let req = request::begin(RequestKind::Other, b"", 1);
    let measured = (best_stamp(true, req), best_stamp(false, req));
    request::end(req);
    empty_rings();
    measured
}

fn best_stamp(on: bool, req: Req) -> f64 {
    let was = recorder::set_on(on);
    let ns = best_of(ROUNDS, STAMPS, |i| crate::stamp!(MVCC_GET, req, region = i, ts = i), empty_rings);
    recorder::set_on(was);
    ns
}

/// Returns the ns per call: the best of `rounds` rounds of `calls` calls, with `between` after each round.
pub fn best_of(rounds: usize, calls: u64, mut call: impl FnMut(u64), mut between: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let from = Instant::now();
        for i in 0..calls {
            call(black_box(i));
        }
        best = best.min(from.elapsed());
        between();
    }
    best.as_nanos() as f64 / calls.max(1) as f64
}

/// Discards the contents of all rings.
pub fn empty_rings() {
    ring::rings().iter().for_each(|r| _ = r.drain(|s| _ = black_box(s)));
}
