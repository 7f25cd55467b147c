//! Internal keys: the keys in SSTs and logs (RocksDB `db/dbformat.h`).
//!
//! ```text
//! field     bytes   meaning
//! user key
//! packed    8       sequence number << 8 | type, little-endian
//! ```
use std::cmp::Ordering;

/// The type of an entry (RocksDB `ValueType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// The key is deleted.
    Deletion,
    /// A value.
    Value,
    /// An operand of a merge operator, which TiKV does not use.
    Merge,
    /// The key is deleted, and was written once.
    SingleDeletion,
    /// All keys of a range are deleted.
    RangeDeletion,
    /// A reference into a blob file (in TiKV, a Titan blob file).
    BlobIndex,
    /// Several named columns, which TiKV does not write.
    WideColumnEntity,
    /// A type that TiKV does not write, by its number.
    Other(u8),
}

impl ValueType {
    /// Decodes the type byte, the eighth from the end of an internal key.
    pub fn from_u8(byte: u8) -> ValueType {
        match byte {
            0x0 => ValueType::Deletion,
            0x1 => ValueType::Value,
            0x2 => ValueType::Merge,
            0x7 => ValueType::SingleDeletion,
            0xf => ValueType::RangeDeletion,
            0x11 => ValueType::BlobIndex,
            0x16 => ValueType::WideColumnEntity,
            other => ValueType::Other(other),
        }
    }

    /// Returns RocksDB's number of the type.
    pub fn to_u8(self) -> u8 {
        match self {
            ValueType::Deletion => 0x0,
            ValueType::Value => 0x1,
            ValueType::Merge => 0x2,
            ValueType::SingleDeletion => 0x7,
            ValueType::RangeDeletion => 0xf,
            ValueType::BlobIndex => 0x11,
            ValueType::WideColumnEntity => 0x16,
            ValueType::Other(byte) => byte,
        }
    }
}

/// A user key with its sequence number and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalKey<'a> {
    /// The key as written by the user of the database.
    pub user_key: &'a [u8],
    /// Sequence number << 8 | type.
    pub packed: u64,
}

impl<'a> InternalKey<'a> {
    /// Splits an encoded internal key. Returns `None` if it is shorter than its trailer.
    pub fn decode(encoded: &'a [u8]) -> Option<InternalKey<'a>> {
        let (user_key, trailer) = encoded.split_last_chunk::<8>()?;
        Some(InternalKey { user_key, packed: u64::from_le_bytes(*trailer) })
    }

    /// The sequence number.
    pub fn sequence(&self) -> u64 {
        self.packed >> 8
    }

    /// The type of the entry.
    pub fn value_type(&self) -> ValueType {
        ValueType::from_u8(self.packed as u8)
    }
}

/// Compares in RocksDB's order: user keys ascending, the newest entry of a key first.
pub fn compare(a: (&[u8], u64), b: (&[u8], u64)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}

/// Whether two keys are equal. Compares the ends first, since neighbouring keys differ there.
#[inline(always)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.split_last_chunk::<8>(), b.split_last_chunk::<8>()) {
        (Some((a, a_end)), Some((b, b_end))) => a_end == b_end && a == b,
        _ => a == b,
    }
}
