//! TiDB's binary JSON (TiDB `pkg/types/json_binary.go`, TiKV `tidb_query_datatype::codec::mysql::json`): a
//! type byte and a value. Offsets count from the byte after the type byte. Numbers are little-endian.
//!
//! ```text
//! an array or an object:
//! field          bytes    meaning
//! count          4        number of elements
//! size           4        bytes of the value
//! key entries    6 each   offset (4) and bytes (2) of a key; only in objects
//! value entries  5 each   type (1), and offset (4) of a value or a literal itself
//! keys, values
//! ```
use keys::{codec, hex_upper};
use serde_json::{Map, Number, Value};

const OBJECT: u8 = 0x01;
const ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT: u8 = 0x09;
const UINT: u8 = 0x0A;
const DOUBLE: u8 = 0x0B;
const STRING: u8 = 0x0C;
const OPAQUE: u8 = 0x0D;
const DATE: u8 = 0x0E;
const DATETIME: u8 = 0x0F;
const TIMESTAMP: u8 = 0x10;
const TIME: u8 = 0x11;

/// Element count and size.
const HEADER: usize = 8;
/// A key's offset and length.
const KEY_ENTRY: usize = 6;
/// A value's type, and its offset or itself.
const VALUE_ENTRY: usize = 5;
/// Maximum depth: real documents are flatter, but damaged ones may claim any depth.
const MAX_DEPTH: usize = 100;

/// Returns the bytes of the JSON at the start of `input`; `None` if there is none.
pub fn len(input: &[u8]) -> Option<usize> {
    let (kind, value) = input.split_first()?;
    let counted = |mut rest: &[u8]| {
        let before = rest.len();
        let len = usize::try_from(codec::decode_var_u64(&mut rest).ok()?).ok()?;
        (before - rest.len()).checked_add(len)
    };
    let len = match *kind {
        OBJECT | ARRAY => u32_at(value, 4)?.max(HEADER),
        LITERAL => 1,
        INT | UINT | DOUBLE | DATE | DATETIME | TIMESTAMP => 8,
        TIME => 12,
        STRING => counted(value)?,
        OPAQUE => counted(value.get(1..)?)? + 1,
        _ => return None,
    };
    (len <= value.len()).then_some(len + 1)
}

/// Decodes the whole of `input`. Returns `None` if it is not JSON.
pub fn decode(input: &[u8]) -> Option<Value> {
    if len(input)? != input.len() {
        return None;
    }
    let mut values = input.len();
    self::value(input[0], &input[1..], MAX_DEPTH, &mut values)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
}

fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

/// Decodes a value. `left` is the maximum number of values: offsets may refer to the same bytes repeatedly.
fn value(kind: u8, bytes: &[u8], depth: usize, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    let depth = depth.checked_sub(1)?;
    Some(match kind {
        OBJECT => object(bytes, depth, left)?,
        ARRAY => {
            let count = u32_at(bytes, 0)?;
            let elements = (0..count)
                .map(|i| entry(bytes, HEADER.checked_add(i.checked_mul(VALUE_ENTRY)?)?, depth, left));
            Value::Array(elements.collect::<Option<_>>()?)
        }
        LITERAL => match bytes.first()? {
            0 => Value::Null,
            1 => Value::Bool(true),
            2 => Value::Bool(false),
            _ => return None,
        },
        INT => Value::from(u64_of(bytes)? as i64),
        UINT => Value::from(u64_of(bytes)?),
        DOUBLE => Value::Number(Number::from_f64(f64::from_bits(u64_of(bytes)?))?),
        STRING => Value::String(String::from_utf8(counted(bytes)?.to_vec()).ok()?),
        OPAQUE => {
            let (kind, rest) = bytes.split_first()?;
            Value::String(format!("opaque type {kind}: x'{}'", hex_upper(counted(rest)?)))
        }
        DATE | DATETIME | TIMESTAMP => Value::String(format!("packed time {}", core_time(u64_of(bytes)?)?)),
        TIME => Value::String(format!("duration {}ns", u64_of(bytes)? as i64)),
        _ => return None,
    })
}

/// Checks TiDB's `CoreTime`, from its highest bits: 14 year, 4 month, 5 day, 5 hour, 6 minute, 6 second, 20
/// microsecond. Returns `None` if there is no such time, so that the bytes are something else.
fn core_time(packed: u64) -> Option<u64> {
    let part = |shift: u32, bits: u32| packed >> shift & ((1 << bits) - 1);
    let limits =
        [(50, 14, 9999), (46, 4, 12), (41, 5, 31), (36, 5, 23), (30, 6, 59), (24, 6, 59), (4, 20, 999_999)];
    limits.iter().all(|(shift, bits, max)| part(*shift, *bits) <= *max).then_some(packed)
}

fn counted(mut bytes: &[u8]) -> Option<&[u8]> {
    let len = usize::try_from(codec::decode_var_u64(&mut bytes).ok()?).ok()?;
    bytes.get(..len)
}

fn object(bytes: &[u8], depth: usize, left: &mut usize) -> Option<Value> {
    let count = u32_at(bytes, 0)?;
    let values = HEADER.checked_add(count.checked_mul(KEY_ENTRY)?)?;
    let mut map = Map::new();
    for i in 0..count {
        let place = HEADER + i * KEY_ENTRY;
        let (offset, size) = (u32_at(bytes, place)?, bytes.get(place + 4..place + 6)?);
        let size = usize::from(u16::from_le_bytes(size.try_into().ok()?));
        let key = String::from_utf8(bytes.get(offset..offset.checked_add(size)?)?.to_vec()).ok()?;
        let place = values.checked_add(i.checked_mul(VALUE_ENTRY)?)?;
        map.insert(key, entry(bytes, place, depth, left)?);
    }
    Some(Value::Object(map))
}

/// Decodes the value of the entry at `place`. The entry itself contains a literal.
fn entry(bytes: &[u8], place: usize, depth: usize, left: &mut usize) -> Option<Value> {
    let kind = *bytes.get(place)?;
    let at = if kind == LITERAL { place + 1 } else { u32_at(bytes, place + 1)? };
    value(kind, bytes.get(at..)?, depth, left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Encodes a value as TiDB does.
    fn encode(value: &Value) -> (u8, Vec<u8>) {
        let varint = |bytes: &[u8]| {
            let mut out = Vec::new();
            codec::encode_var_u64(&mut out, bytes.len() as u64);
            [out, bytes.to_vec()].concat()
        };
        match value {
            Value::Null => (LITERAL, vec![0]),
            Value::Bool(b) => (LITERAL, vec![if *b { 1 } else { 2 }]),
            Value::Number(n) if n.is_i64() => (INT, n.as_i64().unwrap().to_le_bytes().to_vec()),
            Value::Number(n) if n.is_u64() => (UINT, n.as_u64().unwrap().to_le_bytes().to_vec()),
            Value::Number(n) => (DOUBLE, n.as_f64().unwrap().to_le_bytes().to_vec()),
            Value::String(text) => (STRING, varint(text.as_bytes())),
            Value::Array(list) => (ARRAY, container(&[], list.iter())),
            Value::Object(map) => {
                let keys: Vec<&String> = map.keys().collect();
                (OBJECT, container(&keys, map.values()))
            }
        }
    }

    fn container<'a>(keys: &[&String], values: impl ExactSizeIterator<Item = &'a Value>) -> Vec<u8> {
        let count = values.len();
        let mut heads = Vec::new();
        let mut body = Vec::new();
        let begin = HEADER + keys.len() * KEY_ENTRY + count * VALUE_ENTRY;
        for key in keys {
            heads.extend(((begin + body.len()) as u32).to_le_bytes());
            heads.extend((key.len() as u16).to_le_bytes());
            body.extend(key.as_bytes());
        }
        for value in values {
            let (kind, bytes) = encode(value);
            heads.push(kind);
            if kind == LITERAL {
                heads.extend([bytes[0], 0, 0, 0]);
            } else {
                heads.extend(((begin + body.len()) as u32).to_le_bytes());
                body.extend(bytes);
            }
        }
        let size = (begin + body.len()) as u32;
        [&(count as u32).to_le_bytes()[..], &size.to_le_bytes(), &heads, &body].concat()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        let (kind, bytes) = encode(value);
        [vec![kind], bytes].concat()
    }

    #[test]
    fn documents_decode() {
        for value in [
            json!({"a": [1, -2, 2.5, "x", null, true, false], "b": {"c": u64::MAX}}),
            json!([]),
            json!({}),
            json!("text"),
            json!(null),
        ] {
            let bytes = bytes(&value);
            assert_eq!(decode(&bytes), Some(value));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None);
            }
            assert_eq!(len(&[&bytes[..], b"more"].concat()), Some(bytes.len()));
        }
        // Bytes of {"a": 1} from TiDB's own test.
        let known =
            [1, 1, 0, 0, 0, 28, 0, 0, 0, 19, 0, 0, 0, 1, 0, 9, 20, 0, 0, 0, b'a', 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&known), Some(json!({"a": 1})));
    }

    #[test]
    fn values_that_contain_themselves_end() {
        // An array whose two elements are the array itself.
        let mut own = vec![ARRAY, 2, 0, 0, 0, 18, 0, 0, 0];
        for _ in 0..2 {
            own.extend([ARRAY, 0, 0, 0, 0]);
        }
        assert_eq!(decode(&own), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0u8..0x13, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = [vec![kind], rest].concat();
            let _ = (len(&bytes), decode(&bytes));
        }
    }
}
