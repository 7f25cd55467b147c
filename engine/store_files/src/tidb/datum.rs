//! One column value in TiDB's datum codec: a flag byte and the value.
use std::fmt;

use keys::{codec, escape, hex_upper};
use serde_json::{Value, json};

use super::decimal;

const NIL: u8 = 0;
const BYTES: u8 = 1;
const COMPACT_BYTES: u8 = 2;
const INT: u8 = 3;
const UINT: u8 = 4;
const FLOAT: u8 = 5;
const DECIMAL: u8 = 6;
const DURATION: u8 = 7;
const VARINT: u8 = 8;
const VARUINT: u8 = 9;
const JSON: u8 = 10;
/// A vector of 32-bit floats.
const VECTOR: u8 = 20;
const MAX: u8 = 250;

const SIGN: u64 = 1 << 63;

/// A decoded column value.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// A string or bytes.
    Bytes(Vec<u8>),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer. TiDB also stores dates, times, enums, sets and bits as one.
    Uint(u64),
    /// A double.
    Float(f64),
    /// A decimal, as text.
    Decimal(String),
    /// A duration in nanoseconds.
    Duration(i64),
    /// TiDB's binary JSON, as bytes.
    Json(Vec<u8>),
    /// A vector of 32-bit floats.
    Vector(Vec<f32>),
    /// The bound above all values.
    Max,
}

/// Takes the next datum off `input`. Returns `None` if the bytes are not a datum.
pub fn decode(input: &mut &[u8]) -> Option<Datum> {
    let flag = codec::decode_u8(input).ok()?;
    Some(match flag {
        NIL => Datum::Null,
        BYTES => Datum::Bytes(codec::decode_bytes_from(input).ok()?),
        COMPACT_BYTES => Datum::Bytes(codec::decode_compact_bytes(input).ok()?.to_vec()),
        INT => Datum::Int(codec::decode_i64(input).ok()?),
        UINT => Datum::Uint(codec::decode_u64(input).ok()?),
        FLOAT => Datum::Float(comparable_float(codec::decode_u64(input).ok()?)),
        DECIMAL => Datum::Decimal(decimal::decode(input)?),
        DURATION => Datum::Duration(codec::decode_i64(input).ok()?),
        VARINT => Datum::Int(codec::decode_var_i64(input).ok()?),
        VARUINT => Datum::Uint(codec::decode_var_u64(input).ok()?),
        JSON => Datum::Json(codec::take(input, super::json::len(input)?, "JSON").ok()?.to_vec()),
        VECTOR => Datum::Vector(vector(input)?),
        MAX => Datum::Max,
        _ => return None,
    })
}

/// Decodes all datums of `input`. Returns `None` if some bytes are not a datum.
pub fn decode_all(mut input: &[u8]) -> Option<Vec<Datum>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        all.push(decode(&mut input)?);
    }
    Some(all)
}

/// Takes a vector: the number of elements, then the elements, all little-endian with 4 bytes.
fn vector(input: &mut &[u8]) -> Option<Vec<f32>> {
    let count = u32::from_le_bytes(*codec::take(input, 4, "length").ok()?.first_chunk()?) as usize;
    let bytes = codec::take(input, count.checked_mul(4)?, "vector").ok()?;
    Some(bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(f32::from_le_bytes)).collect())
}

/// Decodes a float whose bytes sort as the numbers do.
fn comparable_float(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN != 0 { bits & !SIGN } else { !bits })
}

impl Datum {
    /// Appends the form in keys, which sorts as the values do. Returns `None` for unsupported kinds.
    pub fn encode_key(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Datum::Null => out.push(NIL),
            Datum::Bytes(bytes) => {
                out.push(BYTES);
                codec::encode_bytes_to(out, bytes);
            }
            Datum::Int(v) => {
                out.push(INT);
                codec::encode_i64(out, *v);
            }
            Datum::Uint(v) => {
                out.push(UINT);
                codec::encode_u64(out, *v);
            }
            Datum::Float(v) => {
                out.push(FLOAT);
                let bits = v.to_bits();
                codec::encode_u64(out, if bits & SIGN == 0 { bits | SIGN } else { !bits });
            }
            Datum::Max => out.push(MAX),
            Datum::Decimal(_) | Datum::Duration(_) | Datum::Json(_) | Datum::Vector(_) => return None,
        }
        Some(())
    }

    /// Parses a value as people write it: `null`, `7`, `-7`, `7u`, `1.5`, `"text"`, `x'00FF'`, or bare text.
    pub fn parse(text: &str) -> Option<Datum> {
        if let Some(inner) = text.strip_prefix('"') {
            return keys::unescape(inner.strip_suffix('"')?).ok().map(Datum::Bytes);
        }
        if let Some(inner) = text.strip_prefix("x'") {
            return keys::hex_decode(inner.strip_suffix('\'')?).ok().map(Datum::Bytes);
        }
        let unsigned = text.strip_suffix('u').and_then(|digits| digits.parse().ok());
        Some(match text {
            "null" | "NULL" => Datum::Null,
            "max" => Datum::Max,
            _ if unsigned.is_some() => Datum::Uint(unsigned?),
            _ => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(v), _) => Datum::Int(v),
                (_, Ok(v)) if v.is_finite() => Datum::Float(v),
                _ => Datum::Bytes(text.as_bytes().to_vec()),
            },
        })
    }

    /// Converts to JSON: the type and the value.
    pub fn json(&self) -> Value {
        match self {
            Datum::Null => json!({ "type": "null" }),
            Datum::Bytes(b) => json!({ "type": "bytes", "value": escape(b), "hex": hex_upper(b) }),
            Datum::Int(v) => json!({ "type": "int", "value": v }),
            Datum::Uint(v) => json!({ "type": "uint", "value": v }),
            Datum::Float(v) => json!({ "type": "float", "value": v }),
            Datum::Decimal(v) => json!({ "type": "decimal", "value": v }),
            Datum::Duration(v) => json!({ "type": "duration", "value": v }),
            Datum::Json(b) => {
                json!({ "type": "json", "value": super::json::decode(b), "hex": hex_upper(b) })
            }
            Datum::Vector(v) => json!({ "type": "vector", "value": v }),
            Datum::Max => json!({ "type": "max" }),
        }
    }
}

/// Writes the form that [`Datum::parse`] reads.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Null => f.write_str("null"),
            Datum::Bytes(b) => write!(f, "\"{}\"", escape(b)),
            Datum::Int(v) => write!(f, "{v}"),
            Datum::Uint(v) => write!(f, "{v}u"),
            Datum::Float(v) => write!(f, "{v:?}"),
            Datum::Decimal(v) => write!(f, "decimal {v}"),
            Datum::Duration(v) => write!(f, "duration {v}ns"),
            Datum::Json(b) => match super::json::decode(b) {
                Some(value) => write!(f, "json {value}"),
                None => write!(f, "json x'{}'", hex_upper(b)),
            },
            Datum::Vector(v) => write!(f, "vector {v:?}"),
            Datum::Max => f.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parsed_values_print_and_decode_as_before() {
        for text in ["null", "7", "-7", "7u", "1.5", "-2.25", "\"a,b\"", "max"] {
            let datum = Datum::parse(text).unwrap();
            assert_eq!(datum.to_string(), text);
            let mut bytes = Vec::new();
            datum.encode_key(&mut bytes).unwrap();
            assert_eq!(decode_all(&bytes).unwrap(), vec![datum]);
        }
        assert_eq!(Datum::parse("abc"), Some(Datum::Bytes(b"abc".to_vec())));
        assert_eq!(Datum::parse("x'00ff'"), Some(Datum::Bytes(vec![0, 255])));
        assert_eq!(Datum::parse("\"open"), None);
    }

    #[test]
    fn columns_after_a_document_or_a_vector_are_read() {
        // JSON `true`, a vector of one number, then 5.
        let bytes = [10, 4, 1, 20, 1, 0, 0, 0, 0, 0, 0x80, 0x3F, 8, 10];
        let all = decode_all(&bytes).unwrap();
        let texts: Vec<String> = all.iter().map(Datum::to_string).collect();
        assert_eq!(texts, ["json true", "vector [1.0]", "5"]);
        assert_eq!(decode_all(&bytes[..10]), None);
    }

    #[test]
    fn keys_sort_as_the_values_do() {
        let encoded = |datum: Datum| {
            let mut bytes = Vec::new();
            datum.encode_key(&mut bytes).unwrap();
            bytes
        };
        let floats = [f64::NEG_INFINITY, -2.5, -0.5, 0.0, 0.5, 1e300];
        assert!(floats.windows(2).all(|w| encoded(Datum::Float(w[0])) < encoded(Datum::Float(w[1]))));
        let ints = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(ints.windows(2).all(|w| encoded(Datum::Int(w[0])) < encoded(Datum::Int(w[1]))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_all(&bytes);
        }
    }
}
