//! Sizes in TiKV's configuration format: `8MiB`, `512KiB`.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Size in bytes with TiKV's text format. Units are powers of 1024, whether written `MB`, `MiB` or `M`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadableSize(pub u64);

const UNITS: [(&str, u64); 6] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ReadableSize {
    /// Creates a size of `n` KiB.
    pub const fn kb(n: u64) -> Self {
        Self(n << 10)
    }

    /// Creates a size of `n` MiB.
    pub const fn mb(n: u64) -> Self {
        Self(n << 20)
    }

    /// Creates a size of `n` GiB.
    pub const fn gb(n: u64) -> Self {
        Self(n << 30)
    }
}

impl fmt::Display for ReadableSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        match UNITS.iter().find(fits) {
            Some((unit, bytes)) if self.0 != 0 => write!(f, "{}{unit}", self.0 / bytes),
            _ => write!(f, "{}KiB", self.0 >> 10),
        }
    }
}

impl FromStr for ReadableSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a size such as 8MiB, 512KB or 100B, found {text:?}");
        let text_ = text.trim();
        let digits = text_.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text_.len());
        let number: f64 = text_[..digits].parse().map_err(|_| bad())?;
        let unit = match text_[digits..].trim() {
            "" | "B" => 1,
            "K" | "KB" | "KiB" => 1 << 10,
            "M" | "MB" | "MiB" => 1 << 20,
            "G" | "GB" | "GiB" => 1 << 30,
            "T" | "TB" | "TiB" => 1_u64 << 40,
            "P" | "PB" | "PiB" => 1_u64 << 50,
            _ => return Err(bad()),
        };
        Ok(Self((number * unit as f64) as u64))
    }
}

impl Serialize for ReadableSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Accepts a text or a number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ReadableSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Number(n) => Ok(Self(n)),
            Form::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_survives_format_and_parse() {
        let cases = [
            ("8MiB", ReadableSize::mb(8)),
            ("0KiB", ReadableSize(0)),
            ("100B", ReadableSize(100)),
            ("1GiB", ReadableSize::gb(1)),
            ("1536MiB", ReadableSize::mb(1536)),
        ];
        for (text, value) in cases {
            assert_eq!(text.parse(), Ok(value));
            assert_eq!(value.to_string(), text);
        }
        assert_eq!("1.5KB".parse(), Ok(ReadableSize(1536)));
        assert!("8 Mo".parse::<ReadableSize>().unwrap_err().contains("expected a size"));
    }
}
