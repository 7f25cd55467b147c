//! Rounds with and without recording alternate and are compared in pairs, so that the machine's moods fall on both.
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// How long and how much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub keys: u64,
    pub clients: usize,
    pub round: Duration,
    pub pairs: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { keys: 10_000, clients: 16, round: Duration::from_millis(250), pairs: 15 }
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Requests per second.
    pub rate: f64,
    /// CPU time of the whole process per request, in µs. On a machine with other work it is steadier than the rate.
    pub cpu_us: f64,
}

/// Medians over the rounds, and of the cost within each pair, in percent.
#[derive(Debug, Serialize)]
pub struct Paired {
    pub recorded_per_s: f64,
    pub not_recorded_per_s: f64,
    /// How much lower the throughput is when everything is recorded.
    pub throughput_cost_percent: f64,
    pub recorded_cpu_us: f64,
    pub not_recorded_cpu_us: f64,
    /// How much more CPU time a request takes when everything is recorded.
    pub cpu_cost_percent: f64,
}

/// Runs `round(recorded)` in pairs; which of the two comes first changes from pair to pair.
pub fn compare(plan: &Plan, round: impl Fn(bool) -> Result<Round>) -> Result<Paired> {
    round(true)?;
    let mut pairs = Vec::with_capacity(plan.pairs);
    for i in 0..plan.pairs.max(1) {
        let first = round(i % 2 == 0)?;
        let second = round(i % 2 != 0)?;
        pairs.push(if i % 2 == 0 { (first, second) } else { (second, first) });
    }
    let of = |f: fn(&(Round, Round)) -> f64| median(pairs.iter().map(f).collect());
    Ok(Paired {
        recorded_per_s: of(|p| p.0.rate),
        not_recorded_per_s: of(|p| p.1.rate),
        throughput_cost_percent: of(|p| (1.0 - p.0.rate / p.1.rate) * 100.0),
        recorded_cpu_us: of(|p| p.0.cpu_us),
        not_recorded_cpu_us: of(|p| p.1.cpu_us),
        cpu_cost_percent: of(|p| (p.0.cpu_us / p.1.cpu_us - 1.0) * 100.0),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_cost_is_that_within_pairs_whatever_the_machine_does_over_time() {
        let n = Cell::new(0u32);
        let plan = Plan { pairs: 8, ..Plan::default() };
        // The machine gets slower from pair to pair; recording takes a tenth.
        let paired = compare(&plan, |on| {
            n.set(n.get() + 1);
            let mood = f64::from(100 - n.get() / 2);
            let rate = if on { mood * 0.9 } else { mood };
            Ok(Round { rate, cpu_us: 1.0 / rate })
        });
        let paired = paired.unwrap();
        assert!((paired.throughput_cost_percent - 10.0).abs() < 1.5, "{paired:?}");
        assert!((paired.cpu_cost_percent - 11.1).abs() < 1.5, "{paired:?}");
        assert_eq!(n.get(), 17, "one round to warm up, and eight pairs");
    }
}
