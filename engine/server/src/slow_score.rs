//! The slow score of a store: from 1 (healthy) to 100, by the latency of inspections.
//!
//! Mirrors `components/health_controller/src/slow_score.rs`. All times are engine times. TiKV does not count late
//! inspections while the store's processors are busy; this store counts them.
use std::time::Duration;

use tracepoints::{EngineClock, clock::EngineInstant};

/// Number of inspections between two updates of the score.
const ROUND_TICKS: u64 = 30;
/// Time in which the score of a store without late inspections falls from 100 to 1.
const RECOVERY: Duration = Duration::from_secs(5 * 60);
/// Share from which late inspections double the score.
const RATIO_THRESHOLD: f64 = 0.1;
/// Limit of the score.
const MAX_SCORE: f64 = 100.0;

/// Counts the inspections of a round; late ones raise the score, and rounds without them lower it.
#[derive(Debug)]
pub struct SlowScore {
    value: f64,
    /// Time from which an inspection is late.
    timeout: Duration,
    late: usize,
    total: usize,
    tick: u64,
    tick_finished: bool,
    recorded: EngineInstant,
    updated: EngineInstant,
}

/// Outcome of a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Id of the inspection that begins.
    pub id: u64,
    /// The new score and whether any inspection ended since the last update, at the end of a round.
    pub updated: Option<(f64, bool)>,
}

impl SlowScore {
    /// Creates the score of a store whose inspections are late from `timeout`.
    pub fn new(timeout: Duration) -> Self {
        let now = EngineClock::now();
        Self {
            value: 1.0,
            timeout,
            late: 0,
            total: 0,
            tick: 0,
            tick_finished: true,
            recorded: now,
            updated: now,
        }
    }

    /// Whether the last inspection has ended.
    pub fn last_tick_finished(&self) -> bool {
        self.tick_finished
    }

    /// Ends the inspection `id`; one that is not the last counts as late already.
    pub fn record(&mut self, id: u64, duration: Duration) {
        self.recorded = EngineClock::now();
        if id == self.tick {
            self.tick_finished = true;
            self.total += 1;
            self.late += usize::from(duration >= self.timeout);
        }
    }

    /// Begins an inspection. If the last one has not ended, it is late.
    pub fn tick(&mut self) -> Tick {
        if !self.tick_finished {
            self.total += 1;
            self.late += 1;
        }
        self.tick += 1;
        self.tick_finished = false;
        let updated = self.tick.is_multiple_of(ROUND_TICKS).then(|| {
            let recorded = self.recorded >= self.updated;
            self.update(self.updated.elapsed());
            (self.value, recorded)
        });
        Tick { id: self.tick, updated }
    }

    fn update(&mut self, elapsed: Duration) {
        if self.late == 0 {
            let recovered = MAX_SCORE * elapsed.as_secs_f64() / RECOVERY.as_secs_f64();
            self.value = (self.value - recovered).max(1.0);
        } else {
            let ratio = (self.late as f64 / self.total as f64).min(RATIO_THRESHOLD);
            self.value = (self.value * (1.0 + ratio / RATIO_THRESHOLD)).min(MAX_SCORE);
        }
        (self.late, self.total, self.updated) = (0, 0, EngineClock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    /// Runs one round of inspections, of which `late` end late; returns the new score.
    fn round(score: &mut SlowScore, late: u64) -> f64 {
        loop {
            let tick = score.tick();
            let is_late = tick.id % ROUND_TICKS < late;
            score.record(tick.id, if is_late { TIMEOUT } else { Duration::ZERO });
            if let Some((value, recorded)) = tick.updated {
                assert!(recorded);
                return value;
            }
        }
    }

    #[test]
    fn late_inspections_raise_the_score_up_to_its_limit() {
        let mut score = SlowScore::new(TIMEOUT);
        assert_eq!(round(&mut score, 0), 1.0);
        // The last inspection of a round counts for the next one, so a round has late ones from its first tick.
        round(&mut score, ROUND_TICKS);
        for _ in 0..10 {
            round(&mut score, ROUND_TICKS);
        }
        assert_eq!(score.value, MAX_SCORE);
    }

    #[test]
    fn a_smaller_share_raises_it_by_less() {
        let mut score = SlowScore::new(TIMEOUT);
        (score.late, score.total) = (1, 20);
        score.update(Duration::from_secs(3));
        assert!((score.value - 1.5).abs() < 1e-9, "{}", score.value);
        (score.late, score.total) = (5, 20);
        score.update(Duration::from_secs(3));
        assert!((score.value - 3.0).abs() < 1e-9, "at most doubled: {}", score.value);
    }

    #[test]
    fn the_score_recovers_in_five_minutes() {
        let mut score = SlowScore { value: MAX_SCORE, ..SlowScore::new(TIMEOUT) };
        score.update(Duration::from_secs(150));
        assert!((score.value - 50.0).abs() < 1e-9, "{}", score.value);
        score.update(Duration::from_secs(150));
        assert_eq!(score.value, 1.0);
    }

    #[test]
    fn an_unfinished_inspection_is_late() {
        let mut score = SlowScore::new(TIMEOUT);
        let first = score.tick();
        assert!(!score.last_tick_finished());
        score.tick();
        // Its late end does not count twice.
        score.record(first.id, Duration::ZERO);
        assert_eq!((score.late, score.total), (1, 1));
    }
}
