//! Numbers, times and texts in Go's forms.
use std::{
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

/// A float in Go's form: without a point if it is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Float(pub f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// Formats `1.5GiB` with at most four digits, as docker's `units.BytesSize`, which PD uses.
pub fn bytes_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size {
        size if size < 10.0 => 3,
        size if size < 100.0 => 2,
        size if size < 1000.0 => 1,
        _ => 0,
    };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// Formats `1h2m3.5s`, as Go's `time.Duration`.
pub fn duration(duration: Duration) -> String {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let fraction = |whole: u64, nanos: u32, digits: usize| {
        let text = format!("{whole}.{nanos:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match (secs, nanos) {
        (0, 0) => "0s".to_owned(),
        (0, 1..1_000) => format!("{nanos}ns"),
        (0, 1_000..1_000_000) => format!("{}µs", fraction((nanos / 1_000).into(), nanos % 1_000, 3)),
        (0, _) => format!("{}ms", fraction((nanos / 1_000_000).into(), nanos % 1_000_000, 6)),
        _ => {
            let seconds = format!("{}s", fraction(secs % 60, nanos, 9));
            match (secs / 3600, secs / 60 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// Formats RFC 3339 in UTC, with a fraction of a second only if it is not zero.
pub fn time(since_epoch: Duration) -> String {
    let text = humantime::format_rfc3339(UNIX_EPOCH + since_epoch).to_string();
    match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{whole}Z"),
            fraction => format!("{whole}.{fraction}Z"),
        },
        None => text,
    }
}

/// Parses a number of a path or query; the error is that of Go's `strconv`.
pub fn parse_u64(text: &str) -> Result<u64, String> {
    parse(text, "ParseUint")
}

/// As [`parse_u64`], for signed numbers.
pub fn parse_i64(text: &str) -> Result<i64, String> {
    parse(text, "Atoi")
}

/// Parses a number; the error is that of the `function` of Go's `strconv`.
pub fn parse<T: FromStr<Err = ParseIntError>>(text: &str, function: &str) -> Result<T, String> {
    text.parse().map_err(|e: ParseIntError| {
        let why = match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {why}")
    })
}

/// Parses pairs of hex digits.
pub fn parse_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| {
        let value = char::from(byte).to_digit(16);
        value
            .map(|value| value as u8)
            .ok_or_else(|| format!("invalid byte: {:?} in a hex key", char::from(byte)))
    };
    if !text.len().is_multiple_of(2) {
        return Err("odd length hex string".to_owned());
    }
    text.chunks_exact(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Formats upper-case hex, as PD writes keys.
pub fn to_hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (1 << 30, "1GiB"),
            (994_662_584_320, "926.4GiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(bytes_size(bytes), text);
        }
    }

    #[test]
    fn durations_and_times_have_gos_form() {
        for (millis, text) in [
            (0, "0s"),
            (5, "5ms"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (1_800_000, "30m0s"),
            (90_061_000, "25h1m1s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration(Duration::from_nanos(1_500)), "1.5µs");
        assert_eq!(time(Duration::from_secs(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(time(Duration::from_millis(1_700_000_000_250)), "2023-11-14T22:13:20.25Z");
    }

    #[test]
    fn invalid_numbers_and_keys_are_named() {
        assert_eq!(parse_u64("x").unwrap_err(), "strconv.ParseUint: parsing \"x\": invalid syntax");
        assert!(parse_u64("99999999999999999999").unwrap_err().ends_with("value out of range"));
        assert_eq!(parse_hex(b"7a5F"), Ok(vec![0x7a, 0x5f]));
        assert!(parse_hex(b"7").is_err() && parse_hex(b"zz").is_err());
        assert_eq!(to_hex(&[0x7a, 0x0f]), "7A0F");
    }

    #[test]
    fn whole_floats_have_no_point() {
        let text = |value| serde_json::to_string(&Float(value)).unwrap();
        assert_eq!((text(3.0), text(0.25)), ("3".to_owned(), "0.25".to_owned()));
    }
}
