//! TiKV's table properties: stored in the file or, if the file has none, computed from its entries as TiKV's
//! collectors do (`MvccPropertiesCollector`, `RangePropertiesCollector`).
use std::sync::Arc;

use store_files::io::Result;
use txn_types::{Key, Write, WriteType};

use crate::lsm::{BlobIndex, InternalKey, RangeOffsets, RecoveredSst, Table, ValueType};

/// Distance between two points of the range index, in bytes and in keys.
const SIZE_INDEX_DISTANCE: u64 = 4 << 20;
const KEYS_INDEX_DISTANCE: u64 = 40 * 1024;

/// MVCC properties of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MvccProperties {
    pub min_ts: u64,
    pub max_ts: u64,
    pub num_rows: u64,
    pub num_puts: u64,
    pub num_deletes: u64,
    pub num_versions: u64,
    pub max_row_versions: u64,
}

impl Default for MvccProperties {
    fn default() -> Self {
        MvccProperties {
            min_ts: u64::MAX,
            max_ts: 0,
            num_rows: 0,
            num_puts: 0,
            num_deletes: 0,
            num_versions: 0,
            max_row_versions: 0,
        }
    }
}

impl MvccProperties {
    /// Returns the properties of `table`, an SST of CF write.
    pub fn from_table(table: &Arc<Table>) -> Result<MvccProperties> {
        if let Some(stored) = MvccProperties::stored(table) {
            return Ok(stored);
        }
        let (mut collector, mut iter) = (MvccCollector::default(), table.iter()?);
        while iter.advance()? {
            collector.add(iter.key(), iter.value());
        }
        Ok(collector.all)
    }

    /// Returns the properties of the SST that recovered logs of CF write would become.
    pub fn from_recovered(sst: &RecoveredSst) -> MvccProperties {
        let mut collector = MvccCollector::default();
        sst.entries().for_each(|(key, value)| collector.add(key, value));
        collector.all
    }

    fn stored(table: &Table) -> Option<MvccProperties> {
        let number = |name: &str| table.properties().tikv_number(name);
        let (num_puts, num_versions) = (number("tikv.num_puts")?, number("tikv.num_versions")?);
        Some(MvccProperties {
            min_ts: number("tikv.min_ts")?,
            max_ts: number("tikv.max_ts")?,
            num_rows: number("tikv.num_rows")?,
            num_puts,
            // Old versions of TiKV do not store the number of deletes.
            num_deletes: number("tikv.num_deletes").unwrap_or(num_versions.saturating_sub(num_puts)),
            num_versions,
            max_row_versions: number("tikv.max_row_versions")?,
        })
    }

    /// Adds the properties of another file.
    pub fn add(&mut self, other: &MvccProperties) {
        self.min_ts = self.min_ts.min(other.min_ts);
        self.max_ts = self.max_ts.max(other.max_ts);
        self.num_rows += other.num_rows;
        self.num_puts += other.num_puts;
        self.num_deletes += other.num_deletes;
        self.num_versions += other.num_versions;
        self.max_row_versions = self.max_row_versions.max(other.max_row_versions);
    }
}

/// Counts as TiKV's `MvccPropertiesCollector` does.
#[derive(Default)]
struct MvccCollector {
    all: MvccProperties,
    row: Vec<u8>,
    row_versions: u64,
}

impl MvccCollector {
    fn add(&mut self, key: InternalKey<'_>, value: &[u8]) {
        let (all, kind) = (&mut self.all, key.value_type());
        let known = matches!(kind, ValueType::Value | ValueType::Deletion | ValueType::BlobIndex);
        if !known || !keys::validate_data_key(key.user_key) {
            return;
        }
        let Ok((user_key, ts)) = Key::split_on_ts_for(key.user_key) else { return };
        all.min_ts = all.min_ts.min(ts.into_inner());
        all.max_ts = all.max_ts.max(ts.into_inner());
        if kind == ValueType::Deletion {
            return;
        }
        all.num_versions += 1;
        if user_key == self.row.as_slice() {
            self.row_versions += 1;
        } else {
            all.num_rows += 1;
            self.row_versions = 1;
            self.row = user_key.to_vec();
        }
        all.max_row_versions = all.max_row_versions.max(self.row_versions);
        match Write::parse_type(value) {
            _ if kind == ValueType::BlobIndex => all.num_puts += 1,
            Ok(WriteType::Put) => all.num_puts += 1,
            Ok(WriteType::Delete) => all.num_deletes += 1,
            _ => {}
        }
    }
}

/// Keys in order, each with the sizes and keys before it.
pub type RangeIndex = Vec<(Vec<u8>, RangeOffsets)>;

/// Returns the range index of `table`.
pub fn range_index(table: &Arc<Table>) -> Result<RangeIndex> {
    let properties = table.properties();
    // TiKV before 3.0 wrote only an index of sizes, in the same form.
    if let Some(stored) =
        properties.range_index("tikv.range_index").or_else(|| properties.range_index("tikv.size_index"))
    {
        return Ok(stored);
    }
    let (mut collector, mut iter) = (RangeCollector::default(), table.iter()?);
    while iter.advance()? {
        collector.add(iter.key(), iter.value());
    }
    Ok(collector.finish())
}

/// Returns the range index of the SST that recovered logs would become.
pub fn recovered_index(sst: &RecoveredSst) -> RangeIndex {
    let mut collector = RangeCollector::default();
    sst.entries().for_each(|(key, value)| collector.add(key, value));
    collector.finish()
}

/// Makes points as TiKV's `RangePropertiesCollector` does.
#[derive(Default)]
struct RangeCollector {
    index: RangeIndex,
    now: RangeOffsets,
    last: RangeOffsets,
    last_key: Vec<u8>,
}

impl RangeCollector {
    fn add(&mut self, key: InternalKey<'_>, value: &[u8]) {
        let blob = match key.value_type() {
            ValueType::Value => 0,
            ValueType::BlobIndex => match BlobIndex::decode(value) {
                Some(index) => index.size,
                None => return,
            },
            _ => return,
        };
        let (now, last) = (&mut self.now, self.last);
        now.size += (key.user_key.len() + value.len()) as u64 + blob;
        now.keys += 1;
        let far = now.size - last.size >= SIZE_INDEX_DISTANCE || now.keys - last.keys >= KEYS_INDEX_DISTANCE;
        if self.last_key.is_empty() || far {
            self.index.push((key.user_key.to_vec(), *now));
            self.last = *now;
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key.user_key);
    }

    fn finish(mut self) -> RangeIndex {
        if self.now != self.last {
            self.index.push((self.last_key, self.now));
        }
        self.index
    }
}
