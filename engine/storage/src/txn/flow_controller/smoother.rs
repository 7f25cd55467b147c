//! The last values of a measurement. Mirrors `components/tikv_util/src/smoother.rs`.
use std::{collections::VecDeque, time::Duration};

use tracepoints::clock::EngineInstant;

/// Age above which a value no longer counts. TiKV: `SMOOTHER_STALE_RECORD_THRESHOLD`.
pub(super) const STALE_RECORD_THRESHOLD: Duration = Duration::from_secs(300);

/// Keeps the last `N` values. Drops values that are too old, but never the last two.
#[derive(Debug, Default)]
pub(super) struct Smoother<const N: usize> {
    values: VecDeque<(f64, EngineInstant)>,
}

impl<const N: usize> Smoother<N> {
    pub fn observe(&mut self, value: f64, now: EngineInstant) {
        if self.values.len() == N {
            self.values.pop_front();
        }
        self.values.push_back((value, now));
        while self.values.len() > 2
            && self.values.front().is_some_and(|(_, at)| now.saturating_since(*at) > STALE_RECORD_THRESHOLD)
        {
            self.values.pop_front();
        }
    }

    /// Returns the newest value; 0 without any.
    pub fn recent(&self) -> f64 {
        self.values.back().map_or(0.0, |(value, _)| *value)
    }

    pub fn max(&self) -> f64 {
        self.values.iter().map(|(value, _)| *value).fold(0.0, f64::max)
    }

    pub fn avg(&self) -> f64 {
        mean(self.values.iter())
    }

    /// Returns the value that nine of ten do not exceed; 0 without any.
    pub fn percentile_90(&self) -> f64 {
        let mut sorted: Vec<f64> = self.values.iter().map(|(value, _)| *value).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let place = (sorted.len() * 9).div_ceil(10).saturating_sub(1);
        sorted.get(place).copied().unwrap_or(0.0)
    }

    /// Whether the newer half of the values is greater than the older half, on average.
    pub fn is_increasing(&self) -> bool {
        let half = self.values.len() / 2;
        half > 0 && mean(self.values.range(half..)) > mean(self.values.range(..half))
    }
}

fn mean<'a>(values: impl ExactSizeIterator<Item = &'a (f64, EngineInstant)>) -> f64 {
    let count = values.len();
    if count == 0 { 0.0 } else { values.map(|(value, _)| value).sum::<f64>() / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EngineInstant = EngineInstant(1_000_000_000);

    #[test]
    fn only_the_last_values_count() {
        let mut smoother = Smoother::<4>::default();
        assert_eq!((smoother.recent(), smoother.avg(), smoother.percentile_90()), (0.0, 0.0, 0.0));
        assert!(!smoother.is_increasing());
        for value in [100.0, 1.0, 2.0, 3.0, 6.0] {
            smoother.observe(value, NOW);
        }
        assert_eq!((smoother.recent(), smoother.max(), smoother.avg()), (6.0, 6.0, 3.0));
        assert_eq!(smoother.percentile_90(), 6.0);
        assert!(smoother.is_increasing());
        [5.0, 4.0, 3.0].into_iter().for_each(|value| smoother.observe(value, NOW));
        assert!(!smoother.is_increasing());
    }

    #[test]
    fn old_values_are_dropped_except_for_a_pair() {
        let mut smoother = Smoother::<8>::default();
        [9.0, 8.0, 7.0].into_iter().for_each(|value| smoother.observe(value, NOW));
        let limit = NOW + STALE_RECORD_THRESHOLD;
        smoother.observe(6.0, limit);
        assert_eq!((smoother.max(), smoother.avg()), (9.0, 7.5), "not older than the limit");
        smoother.observe(4.0, limit + Duration::from_secs(1));
        assert_eq!((smoother.max(), smoother.avg()), (6.0, 5.0));
        smoother.observe(1.0, limit + 3 * STALE_RECORD_THRESHOLD);
        assert_eq!((smoother.max(), smoother.avg()), (4.0, 2.5), "two values stay");
    }
}
