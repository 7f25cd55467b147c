//! Entries that are only in the WAL.
use super::{format::RangeTombstone, internal_key::ValueType};

/// An entry of a log that is not in an SST yet.
#[derive(Clone, Debug)]
pub struct MemEntry {
    /// User key.
    pub key: Vec<u8>,
    /// Sequence number << 8 | type.
    pub packed: u64,
    /// Value.
    pub value: Vec<u8>,
}

/// Sorts the entries of a column family in RocksDB's order, and separates the range deletions.
pub(super) fn sort(mut list: Vec<MemEntry>) -> (Vec<MemEntry>, Vec<RangeTombstone>) {
    let mut deletions = Vec::new();
    list.retain(|entry| {
        let deletes = ValueType::from_u8(entry.packed as u8) == ValueType::RangeDeletion;
        if deletes {
            deletions.push((entry.key.clone(), entry.value.clone(), entry.packed >> 8));
        }
        !deletes
    });
    list.sort_by(|a, b| a.key.cmp(&b.key).then(b.packed.cmp(&a.packed)));
    (list, deletions)
}
