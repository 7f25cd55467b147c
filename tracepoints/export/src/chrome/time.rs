//! Times of the JSON: decimal µs, read digit by digit, since a double cannot represent today's date in ns.

/// Maximum distance of a time from zero, in ns: some 580 years.
const MAX: i128 = u64::MAX as i128;
/// Maximum number of significant digits.
const DIGITS: usize = 30;

/// Converts µs, a number or text in quotes, to ns. `None` if it is not a number, or out of range.
pub(super) fn nanos(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?.trim_matches('"').trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    // The decimal point moves three digits to the right: ns.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 3;
    let ns = decimal(whole.bytes().chain(fraction.bytes()), point)?;
    let ns = if negative { -ns } else { ns };
    (-MAX..=MAX).contains(&ns).then_some(ns)
}

/// Returns the number with its point after `point` digits, rounded to an integer.
fn decimal(digits: impl Iterator<Item = u8>, point: i64) -> Option<i128> {
    let mut digits = digits.map(|b| i128::from(b - b'0')).enumerate();
    let (mut n, mut seen) = (0i128, 0i64);
    let mut significant = 0;
    while seen < point {
        let digit = digits.next().map_or(0, |(_, digit)| digit);
        significant += usize::from(n != 0 || digit != 0);
        if significant > DIGITS {
            return None;
        }
        n = n * 10 + digit;
        seen += 1;
        if n == 0 && seen > 400 {
            return Some(0);
        }
    }
    let next = if point < 0 { 0 } else { digits.next().map_or(0, |(_, digit)| digit) };
    Some(n + i128::from(next >= 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_keep_their_nanoseconds() {
        for (text, ns) in [
            ("0", 0),
            ("12", 12_000),
            ("-12.5", -12_500),
            ("1.0005", 1_001),
            ("0.0004", 0),
            ("1700000000000000.123", 1_700_000_000_000_000_123),
            ("\"1700000000000000.123\"", 1_700_000_000_000_000_123),
            ("1.7e15", 1_700_000_000_000_000_000),
            ("15e-1", 1_500),
            ("5e-4", 1),
            ("5e-9", 0),
            ("0e300", 0),
            ("+7", 7_000),
            (".5", 500),
        ] {
            assert_eq!(nanos(text.as_bytes()), Some(ns), "{text}");
        }
        for text in
            ["", "\"\"", "x", "NaN", "1e300", "-1e400", "1..2", "{}", "\"1 s\"", "99999999999999999999"]
        {
            assert_eq!(nanos(text.as_bytes()), None, "{text}");
        }
    }
}
