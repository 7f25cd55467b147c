//! A histogram for a single writer thread whose bounds grow by a power of two.

/// Upper bounds of a histogram's buckets. The bounds are TiKV's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets {
    pub first_ns: u64,
    /// Log2 of the factor between two adjacent bounds.
    pub shift: u32,
    pub count: usize,
}

impl Buckets {
    /// `exponential_buckets(1e-5, 2.0, 26)`: the bounds of most of TiKV's histograms.
    pub(super) const USUAL: Buckets = Buckets { first_ns: 10_000, shift: 1, count: 26 };

    pub(super) fn bound_ns(&self, i: usize) -> u64 {
        self.first_ns << (i as u32 * self.shift)
    }

    /// Returns the first bucket whose bound is not below `ns`.
    #[inline]
    fn find(&self, ns: u64) -> usize {
        let above = ns.saturating_sub(1) / self.first_ns;
        above.checked_ilog2().map_or(0, |n| (n / self.shift) as usize + 1)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// Counts by bucket; the last one is for values above all bounds.
    counts: Box<[u64]>,
    pub(super) sum_ns: u64,
}

impl Histogram {
    pub(super) fn new(buckets: &Buckets) -> Self {
        Self { counts: vec![0; buckets.count + 1].into(), sum_ns: 0 }
    }

    #[inline]
    pub(super) fn observe(&mut self, buckets: &Buckets, ns: u64) {
        self.counts[buckets.find(ns).min(buckets.count)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Adds the counts of another histogram with the same bounds.
    pub(super) fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, n)| *sum += n);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// The number of values up to each bound, then the total number.
    pub(super) fn cumulated(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        for shift in [1, 2] {
            let buckets = Buckets { first_ns: 10_000, shift, count: 12 };
            for i in 0..12 {
                let bound = buckets.bound_ns(i);
                assert_eq!((buckets.find(bound), buckets.find(bound + 1)), (i, i + 1));
            }
            assert_eq!((buckets.find(0), buckets.find(1)), (0, 0));
        }
        let mut histogram = Histogram::new(&Buckets::USUAL);
        [0, 10_000, 10_001, u64::MAX / 2].into_iter().for_each(|ns| histogram.observe(&Buckets::USUAL, ns));
        let counts: Vec<u64> = histogram.cumulated().collect();
        assert_eq!((counts.len(), counts[0], counts[1], counts[25], counts[26]), (27, 2, 3, 3, 4));
    }
}
