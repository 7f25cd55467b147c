//! The special forms of OTLP's JSON: ids in hexadecimal, 64-bit numbers as text, bytes in base64.
use serde::{Deserialize, Serialize};

use super::proto::{AnyValue, ArrayValue, KeyValueList, any_value::Value};

/// A value of any type; at most one field is set, and its name is the type.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Any {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bool_value: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    int_value: Option<Int>,
    #[serde(skip_serializing_if = "Option::is_none")]
    double_value: Option<Double>,
    #[serde(skip_serializing_if = "Option::is_none")]
    array_value: Option<ArrayValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kvlist_value: Option<KeyValueList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_value: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct Int(#[serde(with = "text_i64")] i64);

#[derive(Serialize, Deserialize)]
struct Bytes(#[serde(with = "base64")] Vec<u8>);

/// A double; infinities and NaN are text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Double {
    Finite(f64),
    Text(String),
}

impl From<f64> for Double {
    fn from(x: f64) -> Self {
        match x {
            f64::INFINITY => Self::Text("Infinity".into()),
            f64::NEG_INFINITY => Self::Text("-Infinity".into()),
            x if x.is_nan() => Self::Text("NaN".into()),
            x => Self::Finite(x),
        }
    }
}

impl From<AnyValue> for Any {
    fn from(value: AnyValue) -> Self {
        let none = Self::default();
        match value.value {
            None => none,
            Some(Value::StringValue(text)) => Self { string_value: Some(text), ..none },
            Some(Value::BoolValue(b)) => Self { bool_value: Some(b), ..none },
            Some(Value::IntValue(n)) => Self { int_value: Some(Int(n)), ..none },
            Some(Value::DoubleValue(x)) => Self { double_value: Some(x.into()), ..none },
            Some(Value::ArrayValue(list)) => Self { array_value: Some(list), ..none },
            Some(Value::KvlistValue(list)) => Self { kvlist_value: Some(list), ..none },
            Some(Value::BytesValue(bytes)) => Self { bytes_value: Some(Bytes(bytes)), ..none },
        }
    }
}

impl From<Any> for AnyValue {
    fn from(any: Any) -> Self {
        let double = |d| match d {
            Double::Finite(x) => x,
            Double::Text(text) => text.parse().unwrap_or(f64::NAN),
        };
        let value = (any.string_value.map(Value::StringValue))
            .or(any.bool_value.map(Value::BoolValue))
            .or(any.int_value.map(|n| Value::IntValue(n.0)))
            .or(any.double_value.map(|d| Value::DoubleValue(double(d))))
            .or(any.array_value.map(Value::ArrayValue))
            .or(any.kvlist_value.map(Value::KvlistValue))
            .or(any.bytes_value.map(|b| Value::BytesValue(b.0)));
        Self { value }
    }
}

/// A number, or text with a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Unsigned(u64),
    Signed(i64),
}

macro_rules! number {
    ($name:ident, $type:ty) => {
        /// A 64-bit number in its JSON form: a text.
        pub mod $name {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            use super::Number;

            /// Writes a number as a text.
            pub fn serialize<S: Serializer>(n: &$type, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(n)
            }

            /// Reads a number, or a text with one.
            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                match Number::deserialize(from)? {
                    Number::Text(text) => text.parse().map_err(D::Error::custom),
                    Number::Unsigned(n) => n.try_into().map_err(D::Error::custom),
                    Number::Signed(n) => n.try_into().map_err(D::Error::custom),
                }
            }
        }
    };
}
number!(text_u64, u64);
number!(text_i64, i64);

/// An id in its JSON form: hexadecimal.
pub mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes bytes in their JSON form.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        to.serialize_str(&digits)
    }

    /// Reads bytes from their JSON form.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        decode(&text)
            .ok_or_else(|| D::Error::custom(format!("expected an id in hexadecimal, found {text:?}")))
    }

    /// Decodes hexadecimal; `None` for other text.
    pub(in crate::otlp) fn decode(text: &str) -> Option<Vec<u8>> {
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        pairs.collect()
    }
}

/// RFC 4648 with padding; readers also accept it without padding.
pub mod base64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// Writes bytes in their JSON form.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut out = String::new();
        for group in bytes.chunks(3) {
            let word = (0..3).fold(0u32, |w, i| w << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
            for i in 0..4 {
                let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
                out.push(if i <= group.len() { digit as char } else { '=' });
            }
        }
        to.serialize_str(&out)
    }

    /// Reads bytes from their JSON form.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        decode(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("expected base64"))
    }

    /// Decodes either alphabet, with padding or without; `None` for other text.
    pub(in crate::otlp) fn decode(text: &str) -> Option<Vec<u8>> {
        let plain = |b: u8| match b {
            b'-' => b'+',
            b'_' => b'/',
            b => b,
        };
        let digits = text.trim_end_matches('=').bytes().map(plain);
        let digits: Option<Vec<u32>> =
            digits.map(|b| DIGITS.iter().position(|d| *d == b).map(|d| d as u32)).collect();
        let digits = digits?;
        let mut out = Vec::new();
        for group in digits.chunks(4) {
            let word = (0..4).fold(0u32, |w, i| w << 6 | group.get(i).copied().unwrap_or(0));
            out.extend_from_slice(&word.to_be_bytes()[1..group.len().max(1)]);
        }
        Some(out)
    }
}
