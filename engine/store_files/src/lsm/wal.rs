//! Write batches, the contents of WAL records (RocksDB `db/write_batch.cc`). Fixed numbers are little-endian.
//!
//! ```text
//! field          bytes   meaning
//! sequence       8       sequence number of the first change; each change takes the next one
//! count          4       number of changes
//! changes:
//!   tag          1       type of the change, with or without a column family
//!   family       varint  column family id; left out by tags of the default family
//!   key length   varint
//!   key
//!   value length varint  left out by deletions, as is the value
//!   value
//! ```
//!
//! Tags of log data and of two-phase commit take no sequence number and are skipped.
use super::{decode_error::BatchError, internal_key::ValueType};
use crate::io::Cursor;

/// One change of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct WalEntry<'a> {
    /// Id of the column family.
    pub cf: u32,
    /// Sequence number.
    pub sequence: u64,
    /// Type of the change.
    pub value_type: ValueType,
    /// The key; the first key of a range deletion.
    pub key: &'a [u8],
    /// The value; the end key (exclusive) of a range deletion.
    pub value: &'a [u8],
}

/// Calls `apply` for each change of the batch `record`.
///
/// # Errors
/// The batch does not decode, or has another number of changes than its header says; some may be applied.
pub fn read_batch<'a>(record: &'a [u8], mut apply: impl FnMut(WalEntry<'a>)) -> Result<(), BatchError> {
    let mut cursor = Cursor::new(record);
    let header = cursor.u64().zip(cursor.u32());
    let (mut sequence, expected) = header.ok_or(BatchError::Header { found: record.len() })?;
    let mut found = 0u64;
    while let Some(tag) = cursor.u8() {
        let at = cursor.position();
        match change(tag, &mut cursor, sequence) {
            Some(Some(entry)) => {
                apply(entry);
                sequence = sequence.wrapping_add(1);
                found += 1;
            }
            Some(None) => {}
            None => return Err(BatchError::Change { tag, at }),
        }
    }
    if found == u64::from(expected) { Ok(()) } else { Err(BatchError::Count { expected, found }) }
}

/// Encodes a write batch of `changes`. The first change has the sequence number `sequence`.
pub fn encode_batch(sequence: u64, changes: &[Change<'_>]) -> Vec<u8> {
    let mut batch = sequence.to_le_bytes().to_vec();
    // A batch of 2^32 changes does not fit in memory.
    batch.extend_from_slice(&(changes.len() as u32).to_le_bytes());
    let slice = |batch: &mut Vec<u8>, bytes: &[u8]| {
        keys::codec::encode_var_u64(batch, bytes.len() as u64);
        batch.extend_from_slice(bytes);
    };
    for (cf, key, value) in changes {
        let tag = u8::from(value.is_some());
        batch.push(if *cf == 0 { tag } else { tag + 4 });
        if *cf > 0 {
            keys::codec::encode_var_u64(&mut batch, u64::from(*cf));
        }
        slice(&mut batch, key);
        if let Some(value) = value {
            slice(&mut batch, value);
        }
    }
    batch
}

/// Column family id, key, and new value; `None` deletes the key.
pub type Change<'a> = (u32, &'a [u8], Option<&'a [u8]>);

/// Decodes one change after its tag. Returns `None` if it does not decode and `Some(None)` for a marker
/// without a change.
fn change<'a>(tag: u8, cursor: &mut Cursor<'a>, sequence: u64) -> Option<Option<WalEntry<'a>>> {
    let (with_cf, value_type) = match tag {
        0x0 | 0x1 | 0x2 | 0x7 | 0xf | 0x11 | 0x16 => (false, ValueType::from_u8(tag)),
        0x4..=0x6 => (true, ValueType::from_u8(tag - 4)),
        0x8 => (true, ValueType::SingleDeletion),
        0xe => (true, ValueType::RangeDeletion),
        0x10 => (true, ValueType::BlobIndex),
        0x17 => (true, ValueType::WideColumnEntity),
        // Log data and the markers of two-phase commit.
        0x3 | 0xa | 0xb | 0xc => return cursor.slice().map(|_| None),
        0x9 | 0xd | 0x12 | 0x13 => return Some(None),
        0x15 => {
            cursor.slice()?;
            return cursor.slice().map(|_| None);
        }
        _ => return None,
    };
    let cf = if with_cf { cursor.varint32()? } else { 0 };
    let key = cursor.slice()?;
    let value = match value_type {
        ValueType::Deletion | ValueType::SingleDeletion => &[][..],
        _ => cursor.slice()?,
    };
    Some(Some(WalEntry { cf, sequence, value_type, key, value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_batch_have_consecutive_sequence_numbers() {
        let mut batch = vec![];
        batch.extend_from_slice(&41u64.to_le_bytes());
        batch.extend_from_slice(&2u32.to_le_bytes());
        batch.extend_from_slice(b"\x01\x01k\x01v\x03\x04note\x04\x02\x01d");
        let mut seen = Vec::new();
        read_batch(&batch, |e| seen.push((e.cf, e.sequence, e.value_type, e.key.to_vec(), e.value.to_vec())))
            .unwrap();
        assert_eq!(
            seen,
            [
                (0, 41, ValueType::Value, b"k".to_vec(), b"v".to_vec()),
                (2, 42, ValueType::Deletion, b"d".to_vec(), vec![]),
            ]
        );
        let cut = batch.len() - 1;
        assert_eq!(read_batch(&batch[..cut], |_| {}), Err(BatchError::Change { tag: 4, at: cut - 2 }));
        assert_eq!(read_batch(&batch[..5], |_| {}), Err(BatchError::Header { found: 5 }));
        batch[8] = 3;
        assert_eq!(read_batch(&batch, |_| {}), Err(BatchError::Count { expected: 3, found: 2 }));
    }

    #[test]
    fn an_encoded_batch_reads_back() {
        let long = vec![9; 300];
        let changes: [Change<'_>; 4] =
            [(0, b"k", Some(b"v")), (2, b"d", None), (0, b"", None), (300, b"x", Some(&long))];
        let batch = encode_batch(7, &changes);
        let mut seen = Vec::new();
        read_batch(&batch, |e| seen.push((e.cf, e.sequence, e.value_type, e.key, e.value))).unwrap();
        let want: Vec<_> = (7..)
            .zip(&changes)
            .map(|(sequence, (cf, key, value))| {
                let kind = if value.is_some() { ValueType::Value } else { ValueType::Deletion };
                (*cf, sequence, kind, *key, value.unwrap_or_default())
            })
            .collect();
        assert_eq!(seen, want);
        read_batch(&encode_batch(7, &[]), |_| panic!("an empty batch has no change")).unwrap();
    }
}
