//! Parses and formats times and durations.
use anyhow::{Context as _, Result, bail};
use time::{Date, Month, OffsetDateTime, Time};

const DAY_NS: u64 = 86_400_000_000_000;

fn date_time(unix_ns: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Formats a time as `2026-11-21 06:40:20.123456`, UTC.
pub fn utc(unix_ns: u64) -> String {
    let t = date_time(unix_ns);
    format!("{:04}-{:02}-{:02} {}", t.year(), u8::from(t.month()), t.day(), time_of_day(unix_ns))
}

/// Formats a time of day as `06:40:20.123456`, UTC.
pub fn time_of_day(unix_ns: u64) -> String {
    let t = date_time(unix_ns);
    format!("{:02}:{:02}:{:02}.{:06}", t.hour(), t.minute(), t.second(), t.microsecond())
}

/// Parses a duration into ns: `250us`, `1.5ms`, `2s`, `1m`, or a number of nanoseconds.
pub fn duration(text: &str) -> Result<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let bad = || format!("expected a duration such as 250us, 1.5ms, 2s or 800 (nanoseconds), found `{text}`");
    let scale = match unit.trim() {
        "" | "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 6e10,
        _ => bail!(bad()),
    };
    let number: f64 = number.parse().with_context(bad)?;
    Ok((number * scale).round() as u64)
}

/// Parses a point in time into Unix ns, for a recording that began at `begin` (Unix ns).
pub fn when(text: &str, begin: u64) -> Result<u64> {
    if let Some(since_begin) = text.strip_prefix('+') {
        return Ok(begin.saturating_add(duration(since_begin)?));
    }
    let expected = || {
        format!(
            "expected 2026-11-21T06:40:20.5, 06:40:20.5 (of the day of the recording; UTC) or +1.5s (since it began), found `{text}`"
        )
    };
    let text = text.trim_end_matches('Z');
    let (day, clock) = match text.split_once(['T', ' ']) {
        Some((date, clock)) => (date_of(date).with_context(expected)?, clock),
        None => (begin - begin % DAY_NS, text),
    };
    Ok(day + clock_of(clock).with_context(expected)?)
}

fn date_of(text: &str) -> Option<u64> {
    let numbers: Vec<&str> = text.split('-').collect();
    let [year, month, day] = numbers.try_into().ok()?;
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    u64::try_from(date.midnight().assume_utc().unix_timestamp_nanos()).ok()
}

fn clock_of(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':').map(|p| p.parse::<u8>().ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nano: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let time = Time::from_hms_nano(hour, minute, second, nano).ok()?;
    let (h, m, s, ns) = time.as_hms_nano();
    Some((u64::from(h) * 3600 + u64::from(m) * 60 + u64::from(s)) * 1_000_000_000 + u64::from(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_or_refused() {
        let read: Vec<u64> =
            ["800", "5ns", "250us", "1.5ms", "2s", "1m"].map(|t| duration(t).unwrap()).into();
        assert_eq!(read, [800, 5, 250_000, 1_500_000, 2_000_000_000, 60_000_000_000]);
        for bad in ["", "ms", "5 parsecs", "-1s", "1.2.3s"] {
            assert!(duration(bad).unwrap_err().to_string().contains("expected a duration such as"), "{bad}");
        }
    }

    #[test]
    fn printed_times_are_parsed_back() {
        let begin = 1_700_000_000_123_456_000;
        assert_eq!(utc(begin), "2023-11-14 22:13:20.123456");
        for text in ["2023-11-14T22:13:20.123456", "2023-11-14 22:13:20.123456Z", "22:13:20.123456", "+0"] {
            assert_eq!(when(text, begin).unwrap(), begin, "{text}");
        }
        assert_eq!(when("22:14", begin).unwrap(), 1_700_000_040_000_000_000);
        assert_eq!(when("+1.5s", begin).unwrap(), begin + 1_500_000_000);
        for bad in ["", "yesterday", "25:00", "2023-13-01T00:00", "22:13:20.", "1:2:3:4", "22:13:20.x"] {
            assert!(when(bad, begin).is_err(), "{bad}");
        }
    }
}
