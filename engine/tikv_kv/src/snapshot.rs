//! Snapshots and iterators. Keys are encoded user keys, without RocksDB's data prefix `z`.
use txn_types::{Key, Value};

use crate::{Result, modify::CfName};

/// Bounds of an iterator: encoded keys without the data prefix; `None`: the region's own bound.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    pub lower_bound: Option<Vec<u8>>,
    pub upper_bound: Option<Vec<u8>>,
    /// Stay within the user key of the first seek, to use the bloom filter of CF write.
    pub prefix_same_as_start: bool,
    pub fill_cache: bool,
}

/// Consistent view of one region.
pub trait Snapshot: Clone + Send + Sync + 'static {
    type Iter: Iterator;

    fn get_cf(&self, cf: CfName, key: &Key) -> Result<Option<Value>>;
    fn iter(&self, cf: CfName, opts: IterOptions) -> Result<Self::Iter>;

    /// Returns the region's first key, encoded; `None` if the engine has no regions.
    /// TiKV: `Snapshot::lower_bound`.
    fn lower_bound(&self) -> Option<&[u8]> {
        None
    }
    /// Returns the region's end key, encoded and excluded; empty: unbounded. TiKV: `Snapshot::upper_bound`.
    fn upper_bound(&self) -> Option<&[u8]> {
        None
    }
    /// Returns the region's id; 0 if the engine has no regions.
    fn region_id(&self) -> u64 {
        0
    }
    /// Returns the term in which a leader took the snapshot.
    fn term(&self) -> Option<u64> {
        None
    }
    /// Whether max_ts covers all reads at earlier leaders, which async commit and 1PC require; otherwise they
    /// fail with `MaxTimestampNotSynced`, and clients retry. TiKV: `SnapshotExt::is_max_ts_synced`.
    fn is_max_ts_synced(&self) -> bool {
        false
    }
    /// Returns the index up to which the snapshot is applied.
    fn apply_index(&self) -> Option<u64> {
        None
    }
}

/// Cursor. `seek` and its variants return whether it is on an entry; an error never looks like the end.
pub trait Iterator: Send + 'static {
    fn seek(&mut self, key: &Key) -> Result<bool>;
    /// Moves to the last entry at or before `key`.
    fn seek_for_prev(&mut self, key: &Key) -> Result<bool>;
    fn seek_to_first(&mut self) -> Result<bool>;
    fn seek_to_last(&mut self) -> Result<bool>;
    fn next(&mut self) -> Result<bool>;
    fn prev(&mut self) -> Result<bool>;
    fn valid(&self) -> Result<bool>;
    /// Returns the current key; call it only if the cursor is valid.
    fn key(&self) -> &[u8];
    /// Returns the current value; call it only if the cursor is valid.
    fn value(&self) -> &[u8];
}
