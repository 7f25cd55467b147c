//! Fractional counts: a unit `count/100` means that one is a hundredth.

/// Maximum number of decimal digits; further ones are rounded.
const MAX_DECIMALS: u32 = 6;
/// Maximum sum of the scaled counts.
const MAX_SUM: f64 = 9e18;

/// Returns the number of decimal digits that the counts need, limited so that their sum fits.
pub fn decimals(counts: &[f64]) -> u32 {
    let sum: f64 = counts.iter().map(|count| count.abs()).sum();
    let exact = |d: &u32| {
        let scale = 10f64.powi(*d as i32);
        counts.iter().all(|count| (count * scale - (count * scale).round()).abs() < 1e-6 * scale.min(10.0))
    };
    let needed = (0..MAX_DECIMALS).find(exact).unwrap_or(MAX_DECIMALS);
    (0..=needed).rev().find(|d| sum * 10f64.powi(*d as i32) < MAX_SUM).unwrap_or(0)
}

/// Returns the unit of counts with that number of decimal digits.
pub fn unit(unit: &str, decimals: u32) -> String {
    if decimals == 0 { unit.to_owned() } else { format!("{unit}/{}", 10u64.pow(decimals)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_the_counts() {
        for (counts, expected) in [
            (&[][..], 0),
            (&[1.0, 2.0], 0),
            (&[0.5, 0.25], 2),
            (&[0.1 + 0.2], 1),
            (&[1.0 / 3.0], 6),
            (&[1e17, 0.25], 1),
            (&[1e19, 0.5], 0),
        ] {
            assert_eq!(decimals(counts), expected, "{counts:?}");
        }
        assert_eq!((unit("count", 0), unit("count", 2)), ("count".to_owned(), "count/100".to_owned()));
    }
}
