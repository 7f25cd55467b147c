//! Keys of tables. Numbers are big-endian with the sign bit flipped, so that they sort as bytes.
//!
//! ```text
//! t  table id (8)  _r  handle (8), or the datums of a clustered primary key
//! t  table id (8)  _i  index id (8)  datums of the index
//! ```
use std::fmt;

use keys::{codec, escape};
use serde_json::{Value, json};

use super::datum::{self, Datum};

/// A key of a TiDB table, or the beginning of one.
#[derive(Clone, Debug, PartialEq)]
pub struct TableKey {
    /// Id of the table or the partition.
    pub table_id: i64,
    /// The part of the table.
    pub kind: TableKeyKind,
}

/// The part of a table to which a key belongs.
#[derive(Clone, Debug, PartialEq)]
pub enum TableKeyKind {
    /// All of the table: `t100`.
    Table,
    /// All rows: `t100_r`.
    Rows,
    /// A row by its integer handle: `t100_r5`.
    Row(i64),
    /// A row by the columns of its clustered primary key: `t100_r{"a",5}`.
    CommonRow(Vec<Datum>),
    /// An index, with or without values: `t100_i2`, `t100_i2_{1,"b"}`.
    Index(i64, Vec<Datum>),
}

/// Minimum bytes of a common handle: one of 8 bytes would be an integer handle (TiDB `NewCommonHandle`).
const MIN_COMMON_HANDLE: usize = 9;

/// Decodes the values of a common handle. Zeros at the end of a short one are padding, not NULLs.
fn unpadded(handle: &[u8]) -> Option<Vec<Datum>> {
    let mut values = datum::decode_all(handle)?;
    if handle.len() == MIN_COMMON_HANDLE {
        let kept = values.iter().rposition(|value| *value != Datum::Null).map_or(1, |last| last + 1);
        values.truncate(kept);
    }
    Some(values)
}

impl TableKey {
    /// Decodes a user key. Returns `None` if it is not a table's.
    pub fn decode(user_key: &[u8]) -> Option<TableKey> {
        let mut rest = user_key.strip_prefix(b"t")?;
        let table_id = codec::decode_i64(&mut rest).ok()?;
        let kind = if rest.is_empty() {
            TableKeyKind::Table
        } else if let Some(handle) = rest.strip_prefix(b"_r") {
            match handle.len() {
                0 => TableKeyKind::Rows,
                8 => TableKeyKind::Row(codec::decode_i64(&mut &*handle).ok()?),
                _ => TableKeyKind::CommonRow(unpadded(handle)?),
            }
        } else {
            let mut rest = rest.strip_prefix(b"_i")?;
            let index_id = codec::decode_i64(&mut rest).ok()?;
            TableKeyKind::Index(index_id, datum::decode_all(rest)?)
        };
        Some(TableKey { table_id, kind })
    }

    /// Parses the form that [`TableKey`]'s `Display` writes; braces around index values are optional.
    pub fn parse(text: &str) -> Option<TableKey> {
        let rest = text.strip_prefix('t')?;
        let (id, kind) = rest.split_once('_').unwrap_or((rest, ""));
        let table_id = number(id)?;
        let kind = if kind.is_empty() {
            if rest.contains('_') {
                return None;
            }
            TableKeyKind::Table
        } else if let Some(handle) = kind.strip_prefix('r') {
            match number(handle) {
                _ if handle.is_empty() => TableKeyKind::Rows,
                Some(handle) => TableKeyKind::Row(handle),
                None => TableKeyKind::CommonRow(values(handle.strip_prefix('{')?.strip_suffix('}')?)?),
            }
        } else {
            let index = kind.strip_prefix('i')?;
            let (id, list) = index.split_once('_').unwrap_or((index, ""));
            let list = list.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap_or(list);
            TableKeyKind::Index(number(id)?, values(list)?)
        };
        Some(TableKey { table_id, kind })
    }

    /// Encodes the user key. Returns `None` if a value has no form in keys.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut key = b"t".to_vec();
        codec::encode_i64(&mut key, self.table_id);
        let list = match &self.kind {
            TableKeyKind::Table => &[][..],
            TableKeyKind::Rows => {
                key.extend_from_slice(b"_r");
                &[]
            }
            TableKeyKind::Row(handle) => {
                key.extend_from_slice(b"_r");
                codec::encode_i64(&mut key, *handle);
                &[]
            }
            TableKeyKind::CommonRow(list) => {
                key.extend_from_slice(b"_r");
                list
            }
            TableKeyKind::Index(id, list) => {
                key.extend_from_slice(b"_i");
                codec::encode_i64(&mut key, *id);
                list
            }
        };
        let before = key.len();
        list.iter().try_for_each(|datum| datum.encode_key(&mut key))?;
        if matches!(self.kind, TableKeyKind::CommonRow(_)) {
            key.resize(key.len().max(before + MIN_COMMON_HANDLE), 0);
        }
        Some(key)
    }

    /// Whether a value under this key is a row.
    pub fn is_row(&self) -> bool {
        matches!(self.kind, TableKeyKind::Row(_) | TableKeyKind::CommonRow(_))
    }

    /// Converts to JSON.
    pub fn json(&self) -> Value {
        let list = |list: &[Datum]| list.iter().map(Datum::json).collect::<Vec<_>>();
        let mut object = json!({ "text": self.to_string(), "table_id": self.table_id });
        match &self.kind {
            TableKeyKind::Table | TableKeyKind::Rows => {}
            TableKeyKind::Row(handle) => object["handle"] = json!(handle),
            TableKeyKind::CommonRow(values) => object["common_handle"] = json!(list(values)),
            TableKeyKind::Index(id, values) => {
                object["index_id"] = json!(id);
                object["values"] = json!(list(values));
            }
        }
        object
    }
}

/// Parses a number of digits only, without a plus sign, so that other text is not taken for a number.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Parses values separated by commas; a comma within quotes belongs to its value.
fn values(text: &str) -> Option<Vec<Datum>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let (mut list, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                list.push(Datum::parse(text.get(start..at)?)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    list.push(Datum::parse(text.get(start..)?)?);
    Some(list)
}

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |list: &[Datum]| list.iter().map(Datum::to_string).collect::<Vec<_>>().join(",");
        write!(f, "t{}", self.table_id)?;
        match &self.kind {
            TableKeyKind::Table => Ok(()),
            TableKeyKind::Rows => f.write_str("_r"),
            TableKeyKind::Row(handle) => write!(f, "_r{handle}"),
            TableKeyKind::CommonRow(values) => write!(f, "_r{{{}}}", list(values)),
            TableKeyKind::Index(id, values) if values.is_empty() => write!(f, "_i{id}"),
            TableKeyKind::Index(id, values) => write!(f, "_i{id}_{{{}}}", list(values)),
        }
    }
}

/// Describes a key of TiDB's metadata: `m`, the name of a structure, its kind, and a field (TiDB
/// `pkg/structure`). Returns `None` if the key is not one.
pub fn meta_text(user_key: &[u8]) -> Option<String> {
    let mut rest = user_key.strip_prefix(b"m")?;
    let name = codec::decode_bytes_from(&mut rest).ok()?;
    let kind = char::from_u32(u32::try_from(codec::decode_u64(&mut rest).ok()?).ok()?)?;
    let kind_text = match kind {
        's' => "string",
        'h' => "hash field",
        'H' => "hash",
        'l' => "list item",
        'L' => "list",
        _ => return None,
    };
    let field = match kind {
        'h' => format!(" {}", escape(&codec::decode_bytes_from(&mut rest).ok()?)),
        'l' => format!(" {}", codec::decode_i64(&mut rest).ok()?),
        _ => String::new(),
    };
    rest.is_empty().then(|| format!("m {} {kind_text}{field}", escape(&name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_bytes_convert_to_each_other() {
        for text in [
            "t100",
            "t100_r",
            "t100_r5",
            "t100_r-5",
            "t-1_r9223372036854775807",
            "t100_i2",
            "t100_i2_{1,\"b,\\\"c\",null}",
            "t100_r{\"a\",5}",
        ] {
            let key = TableKey::parse(text).unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(TableKey::decode(&key.encode().unwrap()), Some(key), "{text}");
        }
        assert_eq!(TableKey::parse("t100_i2_7,abc").unwrap().to_string(), "t100_i2_{7,\"abc\"}");
        for text in ["t", "t1x", "t100_", "t100_x", "table", "t100_r5x", "t1_r{", "t+1"] {
            assert_eq!(TableKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_short_common_handle_is_padded_with_zeros() {
        let text = |hex: &str| TableKey::decode(&keys::hex_decode(hex).unwrap()).unwrap().to_string();
        assert_eq!(text("7480000000000000645f72060400800c00000000"), "t100_r{decimal 12}");
        // Longer handles have no padding, and index values may be NULL.
        assert_eq!(text("7480000000000000645f7203800000000000000500"), "t100_r{5,null}");
        assert_eq!(text("7480000000000000645f698000000000000002060400800c00"), "t100_i2_{decimal 12,null}");
        let key = TableKey { table_id: 1, kind: TableKeyKind::CommonRow(vec![Datum::Max]) };
        let bytes = key.encode().unwrap();
        assert_eq!((bytes.len(), TableKey::decode(&bytes)), (9 + 2 + 9, Some(key)));
    }

    #[test]
    fn meta_keys_print_structure_and_field() {
        let mut key = b"m".to_vec();
        codec::encode_bytes_to(&mut key, b"DBs");
        codec::encode_u64(&mut key, u64::from(b'h'));
        codec::encode_bytes_to(&mut key, b"DB:1");
        assert_eq!(meta_text(&key).unwrap(), "m DBs hash field DB:1");
        assert_eq!(meta_text(b"mx"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_input_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in ".{0,30}") {
            let _ = TableKey::decode(&[b"t", bytes.as_slice()].concat());
            let _ = meta_text(&[b"m", bytes.as_slice()].concat());
            let _ = TableKey::parse(&format!("t{text}"));
            let _ = TableKey::parse(&format!("t1_i2_{text}"));
        }
    }
}
