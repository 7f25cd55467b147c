//! Write batches, as WAL records hold them.

use super::{Cursor, ValueType};

/// One change of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct WalEntry<'a> {
    /// The column family's id.
    pub cf: u32,
    /// Sequence number of this change.
    pub sequence: u64,
    /// What it does.
    pub value_type: ValueType,
    /// The key; the start of a range deletion.
    pub key: &'a [u8],
    /// The value; the end of a range deletion.
    pub value: &'a [u8],
}

/// Calls `apply` for each change of the batch `record`; the error says what does not decode.
pub fn read_batch<'a>(record: &'a [u8], mut apply: impl FnMut(WalEntry<'a>)) -> Result<(), String> {
    let mut cursor = Cursor::new(record);
    let header = cursor.u64().zip(cursor.u32());
    let (mut sequence, count) = header.ok_or("a write batch shorter than its 12-byte header")?;
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
            None => return Err(format!("tag {tag:#x} at byte {at} of a write batch does not decode")),
        }
    }
    if found == u64::from(count) {
        Ok(())
    } else {
        Err(format!("a write batch of {count} changes has {found}"))
    }
}

/// One change after its tag. The outer `None`: it does not decode; the inner one: a marker that changes nothing.
fn change<'a>(tag: u8, cursor: &mut Cursor<'a>, sequence: u64) -> Option<Option<WalEntry<'a>>> {
    let (with_cf, value_type) = match tag {
        0x0 | 0x1 | 0x2 | 0x7 | 0xf | 0x11 | 0x16 => (false, ValueType::from_u8(tag)),
        0x4..=0x6 => (true, ValueType::from_u8(tag - 4)),
        0x8 => (true, ValueType::SingleDeletion),
        0xe => (true, ValueType::RangeDeletion),
        0x10 => (true, ValueType::BlobIndex),
        0x17 => (true, ValueType::WideColumnEntity),
        // LogData and the markers of two-phase commit.
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
    fn a_batch_gives_its_changes_with_rising_sequence_numbers() {
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
        assert!(read_batch(&batch[..batch.len() - 1], |_| {}).is_err());
        assert!(read_batch(&batch[..5], |_| {}).is_err());
    }
}
