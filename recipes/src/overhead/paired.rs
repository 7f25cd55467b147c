//! Alternates rounds with and without recording and compares them in pairs, so that changes of the machine's
//! speed affect both alike.
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// Size and duration of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of keys that are read.
    pub keys: u64,
    /// Number of clients at a time.
    pub clients: usize,
    /// Duration of one round.
    pub round: Duration,
    /// Number of pairs of rounds.
    pub pairs: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { keys: 10_000, clients: 16, round: Duration::from_millis(250), pairs: 15 }
    }
}

/// Figures of one round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Requests per second.
    pub rate: f64,
    /// CPU time of the whole process per request, in µs. Other work affects it less than the rate.
    pub cpu_us: f64,
}

/// The pair with the median cost. Figures and percentage come from the same pair, so they fit each other.
#[derive(Debug, Serialize)]
pub struct Paired {
    /// Requests per second with recording.
    pub recorded_per_s: f64,
    /// Requests per second without recording.
    pub not_recorded_per_s: f64,
    /// Loss of throughput with recording, in percent; 0 if there is none.
    pub throughput_cost_percent: f64,
    /// Median distance of the pairs' costs from the median cost, in percentage points: the noise.
    pub throughput_noise_percent: f64,
    /// CPU time per request with recording, in µs.
    pub recorded_cpu_us: f64,
    /// CPU time per request without recording, in µs.
    pub not_recorded_cpu_us: f64,
    /// Additional CPU time per request with recording, in percent; 0 if there is none.
    pub cpu_cost_percent: f64,
    /// Median distance of the pairs' CPU costs from the median, in percentage points.
    pub cpu_noise_percent: f64,
}

/// Runs `round(recorded)` in pairs, with and without recording. The order alternates from pair to pair.
pub fn compare(plan: &Plan, round: impl Fn(bool) -> Result<Round>) -> Result<Paired> {
    round(true)?;
    let mut pairs = Vec::with_capacity(plan.pairs);
    for i in 0..plan.pairs.max(1) {
        let first = round(i % 2 == 0)?;
        let second = round(i % 2 != 0)?;
        pairs.push(if i % 2 == 0 { (first, second) } else { (second, first) });
    }
    let rate = typical(pairs.iter().map(|p| (p.0.rate, p.1.rate)), |on, off| 1.0 - on / off);
    let cpu = typical(pairs.iter().map(|p| (p.0.cpu_us, p.1.cpu_us)), |on, off| on / off - 1.0);
    Ok(Paired {
        recorded_per_s: rate.on,
        not_recorded_per_s: rate.off,
        throughput_cost_percent: rate.cost.max(0.0),
        throughput_noise_percent: rate.noise,
        recorded_cpu_us: cpu.on,
        not_recorded_cpu_us: cpu.off,
        cpu_cost_percent: cpu.cost.max(0.0),
        cpu_noise_percent: cpu.noise,
    })
}

/// One figure of the median pair, with and without recording; cost and noise in percent.
struct Typical {
    on: f64,
    off: f64,
    cost: f64,
    noise: f64,
}

fn typical(pairs: impl Iterator<Item = (f64, f64)>, share: impl Fn(f64, f64) -> f64) -> Typical {
    let cost = |on: f64, off: f64| if off > 0.0 { share(on, off) * 100.0 } else { 0.0 };
    let mut pairs: Vec<(f64, f64, f64)> = pairs.map(|(on, off)| (cost(on, off), on, off)).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cost, on, off) = pairs[pairs.len() / 2];
    let mut away: Vec<f64> = pairs.iter().map(|p| (p.0 - cost).abs()).collect();
    away.sort_by(f64::total_cmp);
    Typical { on, off, cost, noise: away[away.len() / 2] }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_machine_that_slows_down_does_not_change_the_cost() {
        let n = Cell::new(0u32);
        let plan = Plan { pairs: 8, ..Plan::default() };
        // The machine gets slower from pair to pair; recording takes a tenth.
        let paired = compare(&plan, |on| {
            n.set(n.get() + 1);
            let speed = f64::from(100 - n.get() / 2);
            let rate = if on { speed * 0.9 } else { speed };
            Ok(Round { rate, cpu_us: 1.0 / rate })
        });
        let paired = paired.unwrap();
        assert!((paired.throughput_cost_percent - 10.0).abs() < 1.5, "{paired:?}");
        assert!((paired.cpu_cost_percent - 11.1).abs() < 1.5, "{paired:?}");
        assert_eq!(n.get(), 17, "one round to warm up, and eight pairs");
    }

    /// Rounds that are faster with recording are noise, so the cost is 0. The percentage fits its figures.
    #[test]
    fn a_cost_is_never_negative_and_fits_its_figures() {
        let n = Cell::new(0u32);
        let plan = Plan { pairs: 9, ..Plan::default() };
        for faster in [true, false] {
            let paired = compare(&plan, |on| {
                n.set(n.get() + 1);
                let speed = 100.0 + f64::from(n.get() * 7 % 13);
                let rate = if on == faster { speed * 1.2 } else { speed };
                Ok(Round { rate, cpu_us: 100.0 / rate })
            });
            let p = paired.unwrap();
            assert!(p.throughput_cost_percent >= 0.0 && p.cpu_cost_percent >= 0.0, "{p:?}");
            let fewer = (1.0 - p.recorded_per_s / p.not_recorded_per_s) * 100.0;
            let more = (p.recorded_cpu_us / p.not_recorded_cpu_us - 1.0) * 100.0;
            assert!((p.throughput_cost_percent - fewer.max(0.0)).abs() < 1e-9, "{p:?}");
            assert!((p.cpu_cost_percent - more.max(0.0)).abs() < 1e-9, "{p:?}");
            assert_eq!(p.throughput_cost_percent == 0.0, faster, "{p:?}");
        }
    }
}
