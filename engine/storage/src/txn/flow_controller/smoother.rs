//! The last values of a measurement. Mirrors `components/tikv_util/src/smoother.rs`.
use std::collections::VecDeque;

/// Keeps the last `N` values.
#[derive(Debug, Default)]
pub(super) struct Smoother<const N: usize> {
    values: VecDeque<f64>,
}

impl<const N: usize> Smoother<N> {
    pub fn observe(&mut self, value: f64) {
        if self.values.len() == N {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Returns the newest value; 0 without any.
    pub fn recent(&self) -> f64 {
        self.values.back().copied().unwrap_or(0.0)
    }

    pub fn max(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }

    pub fn avg(&self) -> f64 {
        mean(self.values.iter())
    }

    /// Returns the value that nine of ten do not exceed; 0 without any.
    pub fn percentile_90(&self) -> f64 {
        let mut sorted: Vec<f64> = self.values.iter().copied().collect();
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

fn mean<'a>(values: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    let count = values.len();
    if count == 0 { 0.0 } else { values.sum::<f64>() / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_values_count() {
        let mut smoother = Smoother::<4>::default();
        assert_eq!((smoother.recent(), smoother.avg(), smoother.percentile_90()), (0.0, 0.0, 0.0));
        assert!(!smoother.is_increasing());
        for value in [100.0, 1.0, 2.0, 3.0, 6.0] {
            smoother.observe(value);
        }
        assert_eq!((smoother.recent(), smoother.max(), smoother.avg()), (6.0, 6.0, 3.0));
        assert_eq!(smoother.percentile_90(), 6.0);
        assert!(smoother.is_increasing());
        [5.0, 4.0, 3.0].into_iter().for_each(|value| smoother.observe(value));
        assert!(!smoother.is_increasing());
    }
}
