//! Two two-sided tests of whether a difference is significant.

/// Returns p of the two-proportion z-test: `hits` of `all` samples before and after. `None` if a side is too
/// small: fewer than five expected hits or misses.
pub fn two_proportions(hits: [u64; 2], all: [u64; 2]) -> Option<f64> {
    let [n, m] = all.map(|n| n as f64);
    let pooled = (hits[0] + hits[1]) as f64 / (n + m);
    if all.contains(&0) || [n, m].iter().any(|n| n * pooled < 5.0 || n * (1.0 - pooled) < 5.0) {
        return None;
    }
    let difference = hits[0] as f64 / n - hits[1] as f64 / m;
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    Some(two_sided(difference / deviation))
}

/// Returns p of the Mann-Whitney U test over two sets of numbers, by the normal approximation, corrected for
/// ties and continuity. `zeros` is the number of additional zeros on each side. `None` below eight numbers
/// per side.
pub fn mann_whitney(values: [&[u64]; 2], zeros: [usize; 2]) -> Option<f64> {
    let [n, m] = [values[0].len() + zeros[0], values[1].len() + zeros[1]];
    if n < 8 || m < 8 {
        return None;
    }
    let mut all: Vec<(u64, usize, usize)> = vec![(0, 0, zeros[0]), (0, 1, zeros[1])];
    for (side, values) in values.iter().enumerate() {
        all.extend(values.iter().map(|v| (*v, side, 1)));
    }
    all.sort_unstable();
    let (mut rank_sum, mut ties, mut before, mut at) = (0.0, 0.0, 0.0, 0);
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|v| v.0 == all[at].0).count();
        let count: f64 = all[at..end].iter().map(|v| v.2 as f64).sum();
        let first: f64 = all[at..end].iter().filter(|v| v.1 == 0).map(|v| v.2 as f64).sum();
        rank_sum += first * (before + (count + 1.0) / 2.0);
        ties += count * count * count - count;
        before += count;
        at = end;
    }
    let [n, m] = [n as f64, m as f64];
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    let away = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    Some(two_sided(away / variance.sqrt()))
}

fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, wanted: f64) {
        let found = found.unwrap();
        assert!((found - wanted).abs() < 1e-4 * wanted.max(1e-3), "{found}, not {wanted}");
    }

    /// Values from `statsmodels.stats.proportion.proportions_ztest` and R's `prop.test(correct = FALSE)`.
    #[test]
    fn proportions_are_compared() {
        near(two_proportions([30, 50], [100, 100]), 0.003_892_4);
        near(two_proportions([500, 500], [1000, 1000]), 1.0);
        assert_eq!(two_proportions([1, 2], [100, 100]), None, "too few to test");
        assert_eq!(two_proportions([0, 0], [0, 0]), None);
        assert_eq!(two_proportions([100, 100], [100, 100]), None, "the whole of both sides");
    }

    /// Values from `scipy.stats.mannwhitneyu(x, y, method="asymptotic")`.
    #[test]
    fn ranks_are_compared() {
        let x = [1, 2, 3, 4, 5, 6, 7, 8];
        near(mann_whitney([&x, &[9, 10, 11, 12, 13, 14, 15, 16]], [0, 0]), 0.000_939_106);
        near(mann_whitney([&[3, 4, 2, 6, 2, 5, 8, 9], &[9, 7, 5, 10, 6, 8, 8, 7]], [0, 0]), 0.057_038_8);
        let with_zeros = mann_whitney([&[4, 5, 6], &[7, 8, 9, 10, 11, 12]], [6, 3]);
        let spelled = mann_whitney([&[0, 0, 0, 0, 0, 0, 4, 5, 6], &[0, 0, 0, 7, 8, 9, 10, 11, 12]], [0, 0]);
        assert_eq!(with_zeros, spelled);
        assert_eq!(mann_whitney([&x, &[1, 2]], [0, 0]), None);
        assert_eq!(mann_whitney([&[], &[]], [9, 9]), Some(1.0), "all the same");
        let turned = mann_whitney([&[7, 8, 9, 10, 11, 12], &[4, 5, 6]], [3, 6]);
        near(turned, with_zeros.unwrap());
    }
}
