//! `tikv-tui overhead`: prints a receipt of the cost of recording on this machine.
use std::time::Duration;

use anyhow::{Context as _, Result};
use recipes::overhead::{Paired, Plan, Receipt, measure};
use tracepoints::printable::{note, print};

/// Rounds of a pair: over gRPC and in process, each with and without recording.
const ROUNDS_OF_A_PAIR: u32 = 4;

/// Measures for about `seconds` and prints the receipt.
pub fn run(seconds: u64, json: bool) -> Result<()> {
    let plan = plan(seconds);
    if !json {
        note(format_args!(
            "starting one store and reading from it with and without recording, for about {seconds} s"
        ));
    }
    let receipt = measure(&plan)?;
    let text = if json { format!("{}\n", serde_json::to_string(&receipt)?) } else { text(&receipt) };
    print(&text).context("cannot write to standard output")
}

/// Plans many short pairs instead of few long ones, because their median varies less.
fn plan(seconds: u64) -> Plan {
    let round = Plan::default().round;
    let pair = round * ROUNDS_OF_A_PAIR;
    let pairs = Duration::from_secs(seconds).as_millis() / pair.as_millis();
    Plan { pairs: (pairs as usize).max(1), ..Plan::default() }
}

/// Formats the receipt as text.
pub fn text(r: &Receipt) -> String {
    let (on, off) = (r.stamp_on_ns, r.stamp_off_ns);
    let mut out = format!(
        "a stamp             {on:.1} ns recorded, {off:.2} ns not, {} bytes\n\
         a point get         {:.1} stamps; {:.3} % of its time is in no stage\n",
        r.stamp_bytes,
        r.stamps_per_get,
        r.unaccounted * 100.0,
    );
    out += &row("kv_get over gRPC", &r.over_grpc);
    out += &row("kv_get in process", &r.in_process);
    let made = r.collector.stamps + r.dropped;
    out += &format!(
        "the collector       {} stamps, {:.0} ns of CPU each\n\
         dropped             {} stamps, {:.3} % (a full ring drops and counts; it never waits)\n",
        r.collector.stamps,
        r.collector.cpu_ns_per_stamp,
        r.dropped,
        r.dropped as f64 * 100.0 / made.max(1) as f64,
    );
    out
}

fn row(name: &str, p: &Paired) -> String {
    format!(
        "{name:<19} {:.0} a second recorded, {:.0} not: {}; {:.2} us of CPU each, {:.2} not: {}\n",
        p.recorded_per_s,
        p.not_recorded_per_s,
        cost(p.throughput_cost_percent, p.throughput_noise_percent, "fewer"),
        p.recorded_cpu_us,
        p.not_recorded_cpu_us,
        cost(p.cpu_cost_percent, p.cpu_noise_percent, "more"),
    )
}

fn cost(percent: f64, noise: f64, what: &str) -> String {
    if percent > 0.0 {
        format!("{percent:.1} % {what} (noise {noise:.1} %)")
    } else {
        format!("no cost above the noise of {noise:.1} %")
    }
}

#[cfg(test)]
mod tests {
    use recipes::overhead::CollectorShare;

    use super::*;

    fn paired() -> Paired {
        Paired {
            recorded_per_s: 9900.0,
            not_recorded_per_s: 10_000.0,
            throughput_cost_percent: 1.0,
            throughput_noise_percent: 0.4,
            recorded_cpu_us: 20.2,
            not_recorded_cpu_us: 20.0,
            cpu_cost_percent: 1.0,
            cpu_noise_percent: 0.2,
        }
    }

    #[test]
    fn the_receipt_contains_every_figure() {
        let receipt = Receipt {
            stamp_on_ns: 10.44,
            stamp_off_ns: 0.25,
            stamp_bytes: 64,
            over_grpc: paired(),
            in_process: Paired { recorded_per_s: 10_100.0, throughput_cost_percent: 0.0, ..paired() },
            collector: CollectorShare { stamps: 900, cpu_ns_per_stamp: 42.0 },
            dropped: 100,
            stamps_per_get: 15.0,
            unaccounted: 0.000_1,
        };
        insta::assert_snapshot!(text(&receipt));
    }

    #[test]
    fn a_plan_takes_about_as_long_as_asked() {
        for seconds in [1, 15, 60] {
            let plan = plan(seconds);
            let takes = plan.round * ROUNDS_OF_A_PAIR * plan.pairs as u32;
            assert!(takes.abs_diff(Duration::from_secs(seconds)) <= plan.round * ROUNDS_OF_A_PAIR);
        }
    }
}
