//! Table properties: RocksDB's own and those of TiKV's collectors. A range index of TiKV has for each of its
//! keys, all numbers big-endian:
//!
//! ```text
//! field       bytes       meaning
//! key length  8
//! key         key length
//! size        8           bytes of keys and values up to this key
//! keys        8           number of entries up to this key
//! ```
use std::collections::BTreeMap;

use crate::io::Cursor;

/// The properties of an SST by name, values as stored.
#[derive(Clone, Debug, Default)]
pub struct TableProperties {
    all: BTreeMap<String, Vec<u8>>,
}

/// Amount of data in the file up to a key (TiKV `RangeOffsets`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeOffsets {
    /// Bytes of keys and values.
    pub size: u64,
    /// Number of entries.
    pub keys: u64,
}

impl TableProperties {
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        self.all.insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
    }

    /// Sets the properties that RocksDB writes by default, for a table whose properties block cannot be read.
    pub(super) fn assume(&mut self, format_version: u32) {
        if format_version >= 3 {
            self.insert(b"rocksdb.index.key.is.user.key", &[1]);
        }
        if format_version >= 4 {
            self.insert(b"rocksdb.index.value.is.delta.encoded", &[1]);
        }
    }

    /// Returns all properties by name.
    pub fn all(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.all
    }

    /// Returns the bytes of a property.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all.get(name).map(Vec::as_slice)
    }

    /// Returns a number that RocksDB wrote.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| Cursor::new(value).varint())
    }

    /// Returns a text that RocksDB wrote.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Returns a number that TiKV's collectors wrote: 8 bytes, big-endian.
    pub fn tikv_number(&self, name: &str) -> Option<u64> {
        let bytes: [u8; 8] = self.get(name)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    /// Number of entries of the table.
    pub fn num_entries(&self) -> u64 {
        self.number("rocksdb.num.entries").unwrap_or_default()
    }

    fn index_type(&self) -> u32 {
        self.get("rocksdb.block.based.table.index.type")
            .and_then(|v| Cursor::new(v).u32())
            .unwrap_or_default()
    }

    /// RocksDB's name of the index type.
    pub fn index_type_name(&self) -> &'static str {
        match self.index_type() {
            0 => "binary search",
            1 => "hash search",
            2 => "two-level (partitioned)",
            3 => "binary search with first keys",
            _ => "unknown",
        }
    }

    pub(super) fn is_partitioned(&self) -> bool {
        self.index_type() == 2
    }

    pub(super) fn index_has_first_key(&self) -> bool {
        self.index_type() == 3
    }

    pub(super) fn index_key_is_user_key(&self) -> bool {
        self.number("rocksdb.index.key.is.user.key").unwrap_or_default() != 0
    }

    pub(super) fn index_value_is_delta_encoded(&self) -> bool {
        self.number("rocksdb.index.value.is.delta.encoded").unwrap_or_default() != 0
    }

    /// Whether the file was written outside of a database and ingested.
    pub(super) fn is_external(&self) -> bool {
        let version = self.get("rocksdb.external_sst_file.version").and_then(|v| Cursor::new(v).u32());
        version.is_some_and(|version| version >= 2)
    }

    /// Decodes the range index `name`, `tikv.range_index` or `tikv.rows_index`. Returns `None` if the table
    /// has none or it does not decode.
    pub fn range_index(&self, name: &str) -> Option<Vec<(Vec<u8>, RangeOffsets)>> {
        let mut rest = self.get(name)?;
        let mut index = Vec::new();
        while !rest.is_empty() {
            let len = keys::codec::decode_u64(&mut rest).ok()?;
            let key = keys::codec::take(&mut rest, len.try_into().ok()?, "key").ok()?.to_vec();
            let size = keys::codec::decode_u64(&mut rest).ok()?;
            let keys = keys::codec::decode_u64(&mut rest).ok()?;
            index.push((key, RangeOffsets { size, keys }));
        }
        Some(index)
    }
}
