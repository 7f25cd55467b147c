//! Values of rows. Format v1 is a sequence of column ids and datums. Format v2 is, with little-endian
//! numbers:
//!
//! ```text
//! field      bytes       meaning
//! version    1           128
//! flags      1           bit 0: large ids and offsets; bit 1: checksums follow
//! not null   2           number of columns with a value
//! null       2           number of columns that are NULL
//! ids        1 or 4 each of the columns with a value, then of those that are NULL
//! ends       2 or 4 each end of each value
//! values
//! checksum   1 and 4     header, checksum; if bit 3 of the header is set, a second checksum (4)
//! ```
use keys::{codec, escape, hex_upper};
use serde_json::{Value, json};

use super::{
    datum::{self, Datum},
    decimal,
};

const V2: u8 = 128;
const BIG: u8 = 1;
const CHECKSUM: u8 = 2;

/// A decoded row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Format version, 1 or 2.
    pub version: u8,
    /// Ids and values of columns.
    pub columns: Vec<(i64, Column)>,
    /// Header byte and checksums of a row of v2, if it has any.
    pub checksum: Option<(u8, Vec<u32>)>,
}

/// The value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// A value of v1, with its type.
    Datum(Datum),
    /// A value of v2, whose type only the schema has.
    Bytes(Vec<u8>),
}

/// Decodes the value of a row. Returns `None` if it is not one.
pub fn decode(value: &[u8]) -> Option<Row> {
    match value.first() {
        Some(&V2) => decode_v2(value),
        _ => decode_v1(value),
    }
}

fn decode_v1(value: &[u8]) -> Option<Row> {
    // TiDB writes one zero byte for a row without columns.
    if value == [0] {
        return Some(Row { version: 1, columns: Vec::new(), checksum: None });
    }
    let datums = datum::decode_all(value)?;
    if datums.is_empty() || datums.len() % 2 != 0 {
        return None;
    }
    let columns = datums.chunks_exact(2).map(|pair| match &pair[0] {
        Datum::Int(id) => Some((*id, Column::Datum(pair[1].clone()))),
        _ => None,
    });
    Some(Row { version: 1, columns: columns.collect::<Option<_>>()?, checksum: None })
}

fn take_number(input: &mut &[u8], len: usize) -> Option<u32> {
    let bytes = codec::take(input, len, "number").ok()?;
    Some(bytes.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
}

fn decode_v2(value: &[u8]) -> Option<Row> {
    let mut input = value.get(2..)?;
    let flags = value[1];
    let (id_len, offset_len) = if flags & BIG != 0 { (4, 4) } else { (1, 2) };
    let not_null = take_number(&mut input, 2)? as usize;
    let null = take_number(&mut input, 2)? as usize;
    let take = |input: &mut &[u8], count: usize, len: usize| {
        (0..count).map(|_| take_number(input, len)).collect::<Option<Vec<u32>>>()
    };
    let ids = take(&mut input, not_null + null, id_len)?;
    let ends = take(&mut input, not_null, offset_len)?;
    let mut columns = Vec::with_capacity(ids.len());
    let mut start = 0;
    for (id, end) in ids.iter().zip(&ends) {
        let end = *end as usize;
        columns.push((i64::from(*id), Column::Bytes(input.get(start..end)?.to_vec())));
        start = end;
    }
    columns.extend(ids[not_null..].iter().map(|id| (i64::from(*id), Column::Datum(Datum::Null))));
    columns.sort_by_key(|(id, _)| *id);
    input = &input[start..];
    let checksum = if flags & CHECKSUM != 0 { Some(decode_checksum(&mut input)?) } else { None };
    input.is_empty().then_some(Row { version: 2, columns, checksum })
}

/// Takes a header, a checksum and, if the header says so, a second checksum.
fn decode_checksum(input: &mut &[u8]) -> Option<(u8, Vec<u32>)> {
    let header = codec::decode_u8(input).ok()?;
    let mut sums = vec![take_number(input, 4)?];
    if header & 8 != 0 {
        sums.push(take_number(input, 4)?);
    }
    Some((header, sums))
}

/// Lists the types and values that the bytes of a v2 column may have, since the type is not stored with them.
fn readings(bytes: &[u8]) -> Vec<(&'static str, Value)> {
    let mut list = Vec::new();
    if matches!(bytes.len(), 1 | 2 | 4 | 8) {
        let unsigned = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let shift = 64 - 8 * bytes.len() as u32;
        let signed = ((unsigned << shift) as i64) >> shift;
        list.push(("int", json!(signed)));
        if signed < 0 {
            list.push(("uint", json!(unsigned)));
        }
    }
    let mut rest = bytes;
    if let Some(decimal) = decimal::decode(&mut rest).filter(|_| rest.is_empty()) {
        list.push(("decimal", json!(decimal)));
    }
    if let Some(document) = super::json::decode(bytes) {
        list.push(("json", document));
    }
    if !bytes.is_empty() && std::str::from_utf8(bytes).is_ok_and(|t| !t.chars().any(char::is_control)) {
        list.push(("text", json!(String::from_utf8_lossy(bytes))));
    }
    list
}

impl Row {
    /// Formats one line for each column.
    pub fn lines(&self) -> Vec<String> {
        self.columns.iter().map(|(id, column)| format!("column {id}: {}", column.text())).collect()
    }

    /// Converts to JSON.
    pub fn json(&self) -> Value {
        let columns = self.columns.iter().map(|(id, column)| {
            let value = match column {
                Column::Datum(datum) => datum.json(),
                Column::Bytes(bytes) => {
                    let mut object = json!({ "hex": hex_upper(bytes) });
                    readings(bytes).into_iter().for_each(|(name, value)| object[name] = value);
                    object
                }
            };
            json!({ "id": id, "value": value })
        });
        json!({ "version": self.version, "columns": columns.collect::<Vec<_>>() })
    }
}

impl Column {
    fn text(&self) -> String {
        match self {
            Column::Datum(datum) => datum.to_string(),
            Column::Bytes(bytes) => {
                let may = readings(bytes).into_iter().map(|(name, value)| format!("{name} {value}"));
                let may = may.collect::<Vec<_>>().join(" or ");
                if may.is_empty() { format!("\"{}\"", escape(bytes)) } else { may }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_formats_decode() {
        // Columns 1 and 3 have values, column 2 is NULL.
        let v2 = [128, 0, 2, 0, 1, 0, 1, 3, 2, 1, 0, 4, 0, 7, b'a', b'b', b'c'];
        let row = decode(&v2).unwrap();
        assert_eq!(row.lines(), ["column 1: int 7", "column 2: null", "column 3: text \"abc\""]);
        // 1: varint 5, 2: compact bytes "x"
        let v1 = [8, 2, 8, 10, 8, 4, 2, 2, b'x'];
        assert_eq!(decode(&v1).unwrap().lines(), ["column 1: 5", "column 2: \"x\""]);
        assert_eq!(decode(&[0]).unwrap().columns, []);
        for cut in 1..v2.len() {
            assert_eq!(decode(&v2[..cut]), None);
        }
    }

    #[test]
    fn decimals_json_and_checksums_are_recognized() {
        let decimal = [14, 4, 0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2].to_vec();
        assert_eq!(Column::Bytes(decimal).text(), "decimal \"1234567890.1234\"");
        assert!(Column::Bytes(vec![12, 2, b'h', b'i']).text().contains("json \"hi\""));
        // Large ids and offsets have 4 bytes; the header asks for a second checksum.
        let big = [
            &[128, 3, 1, 0, 0, 0][..],
            &300u32.to_le_bytes(),
            &1u32.to_le_bytes(),
            &[9],
            &[9],
            &7u32.to_le_bytes(),
            &8u32.to_le_bytes(),
        ]
        .concat();
        let row = decode(&big).unwrap();
        assert_eq!(
            (row.lines(), row.checksum),
            (vec!["column 300: int 9".to_owned()], Some((9, vec![7, 8])))
        );
        for cut in 1..big.len() {
            assert_eq!(decode(&big[..cut]), None);
        }
    }

    #[test]
    fn a_negative_integer_may_be_unsigned() {
        assert_eq!(Column::Bytes(vec![0xFF]).text(), "int -1 or uint 255");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), v2 in any::<bool>()) {
            let value = if v2 { [&[128u8][..], &bytes].concat() } else { bytes };
            let _ = decode(&value);
        }
    }
}
