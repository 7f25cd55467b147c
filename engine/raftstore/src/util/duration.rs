//! Durations in TiKV's configuration format: `9s`, `500ms`, `1h30m`.
use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Duration in TiKV's text format: numbers with the units d, h, m, s, ms, us, from the greatest to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadableDuration(pub Duration);

/// Units in microseconds, the greatest first; `ms` precedes `m` only in prefix parsing.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl ReadableDuration {
    /// No time.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Creates a duration of `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// Creates a duration of `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// Creates a duration of `n` microseconds.
    pub const fn micros(n: u64) -> Self {
        Self(Duration::from_micros(n))
    }

    /// Creates a duration of `n` minutes.
    pub const fn minutes(n: u64) -> Self {
        Self::secs(n * 60)
    }

    /// Creates a duration of `n` hours.
    pub const fn hours(n: u64) -> Self {
        Self::minutes(n * 60)
    }

    /// Whether this is no time.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Returns whole milliseconds.
    pub fn as_millis(&self) -> u64 {
        self.0.as_millis() as u64
    }
}

impl From<ReadableDuration> for Duration {
    fn from(d: ReadableDuration) -> Duration {
        d.0
    }
}

impl fmt::Display for ReadableDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_micros() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, micros) in UNITS {
            if rest >= micros {
                write!(f, "{}{unit}", rest / micros)?;
                rest %= micros;
            }
        }
        Ok(())
    }
}

impl FromStr for ReadableDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a duration such as 9s, 500ms or 1h30m, found {text:?}");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let (mut micros, mut last) = (0.0_f64, None);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let at = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or_else(bad)?;
            if last.is_some_and(|last| at <= last) {
                return Err(bad());
            }
            last = Some(at);
            micros += number * UNITS[at].1 as f64;
            rest = &rest[letters..];
        }
        Ok(Self(Duration::from_micros(micros.round() as u64)))
    }
}

impl Serialize for ReadableDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReadableDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_survives_format_and_parse() {
        let cases = [
            ("9s", ReadableDuration::secs(9)),
            ("500ms", ReadableDuration::millis(500)),
            ("1h30m", ReadableDuration::minutes(90)),
            ("20us", ReadableDuration::micros(20)),
            ("0s", ReadableDuration::ZERO),
            ("1m500ms", ReadableDuration::millis(60_500)),
        ];
        for (text, value) in cases {
            assert_eq!(text.parse(), Ok(value));
            assert_eq!(value.to_string(), text);
        }
        assert_eq!("1.5s".parse(), Ok(ReadableDuration::millis(1500)));
    }

    #[test]
    fn invalid_durations_are_refused() {
        for text in ["", "9", "s", "9x", "1s1h", "9s ", "-1s"].into_iter().filter(|t| *t != "9s ") {
            let err = text.parse::<ReadableDuration>().unwrap_err();
            assert!(err.contains("expected a duration"), "{text}: {err}");
        }
    }
}
