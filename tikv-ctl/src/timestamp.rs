//! Formats timestamps of transactions with their wall-clock time.
use serde_json::{Value, json};

/// The physical part, in milliseconds, is above these bits of the logical part (TiKV `TimeStamp`).
const LOGICAL_BITS: u32 = 18;
const DAY: i64 = 86_400;

/// Formats a timestamp with its time in UTC, such as `5 (1970-01-01 00:00:00.000 UTC, logical 5)`.
pub fn text(ts: u64) -> String {
    let (ms, logical) = parts(ts);
    format!("{ts} ({}, logical {logical})", wall_clock(ms))
}

/// Returns the timestamp as JSON: number, time, logical part.
pub fn json(ts: u64) -> Value {
    let (ms, logical) = parts(ts);
    json!({ "ts": ts, "time": wall_clock(ms), "logical": logical })
}

/// Returns the physical milliseconds and the logical part.
fn parts(ts: u64) -> (u64, u64) {
    (ts >> LOGICAL_BITS, ts & ((1 << LOGICAL_BITS) - 1))
}

/// Formats milliseconds since 1970 as a date and a time of day in UTC.
pub fn wall_clock(ms: u64) -> String {
    let seconds = (ms / 1000) as i64;
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03} UTC", ms % 1000)
}

/// Returns year, month and day of the date `days` after 1970-01-01. Years are counted from March, in eras of
/// 400 years.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400, "2000-02-29 00:00:00.000 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59.000 UTC"),
            (4_102_444_800, "2100-01-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(wall_clock(seconds * 1000), want);
        }
        assert_eq!(text(7), "7 (1970-01-01 00:00:00.000 UTC, logical 7)");
        // The greatest timestamp, which locks and readers may carry.
        assert!(text(u64::MAX).starts_with("18446744073709551615 ("));
    }
}
