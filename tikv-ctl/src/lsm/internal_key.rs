use std::cmp::Ordering;

/// What an entry does to its key (RocksDB `ValueType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Deletion,
    Value,
    Merge,
    SingleDeletion,
    RangeDeletion,
    /// A reference into a blob file (TiKV: Titan's).
    BlobIndex,
    WideColumnEntity,
    Other(u8),
}

impl ValueType {
    /// The type that a key's last-but-seven byte stands for.
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

    /// The number RocksDB gives it.
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

/// A user key with the sequence number and type behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalKey<'a> {
    /// What the user put.
    pub user_key: &'a [u8],
    /// Sequence number << 8 | type.
    pub packed: u64,
}

impl<'a> InternalKey<'a> {
    /// Splits an encoded internal key; `None` when it is shorter than its trailer.
    pub fn decode(encoded: &'a [u8]) -> Option<InternalKey<'a>> {
        let (user_key, trailer) = encoded.split_last_chunk::<8>()?;
        Some(InternalKey { user_key, packed: u64::from_le_bytes(*trailer) })
    }

    /// The sequence number.
    pub fn sequence(&self) -> u64 {
        self.packed >> 8
    }

    /// What the entry does.
    pub fn value_type(&self) -> ValueType {
        ValueType::from_u8(self.packed as u8)
    }
}

/// RocksDB's order: user keys ascending, the newest entry of one key first.
pub fn compare(a: (&[u8], u64), b: (&[u8], u64)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}

/// Whether both keys are one. Keys that come in order differ at their ends, so these are looked at first.
#[inline(always)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.split_last_chunk::<8>(), b.split_last_chunk::<8>()) {
        (Some((a, a_end)), Some((b, b_end))) => a_end == b_end && a == b,
        _ => a == b,
    }
}
