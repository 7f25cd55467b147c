//! Snapshots and iterators. Keys are encoded user keys, without RocksDB's data prefix `z`.
use txn_types::{Key, Value};

use crate::{Result, modify::CfName};

/// Bounds of an iterator: encoded keys without the data prefix; None: the region's own bound.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    pub lower_bound: Option<Vec<u8>>,
    pub upper_bound: Option<Vec<u8>>,
    /// Stay within the user key of the first seek: uses the bloom filter of CF write.
    pub prefix_same_as_start: bool,
    pub fill_cache: bool,
}

/// A consistent view of one region.
pub trait Snapshot: Clone + Send + Sync + 'static {
    type Iter: Iterator;

    fn get_cf(&self, cf: CfName, key: &Key) -> Result<Option<Value>>;
    fn iter(&self, cf: CfName, opts: IterOptions) -> Result<Self::Iter>;

    /// The region's first key, encoded; None if the engine has no regions. TiKV: `Snapshot::lower_bound`.
    fn lower_bound(&self) -> Option<&[u8]> {
        None
    }
    /// The key behind the region's last, encoded; empty: without end. TiKV: `Snapshot::upper_bound`.
    fn upper_bound(&self) -> Option<&[u8]> {
        None
    }
    /// The region's id; 0 if the engine has no regions.
    fn region_id(&self) -> u64 {
        0
    }
    /// Term in which the snapshot was taken by a leader.
    fn term(&self) -> Option<u64> {
        None
    }
    /// Whether max_ts covers all reads at earlier leaders, so that async commit and 1PC are safe; without it they are
    /// refused with `MaxTimestampNotSynced`, and clients try again. TiKV: `SnapshotExt::is_max_ts_synced`.
    fn is_max_ts_synced(&self) -> bool {
        false
    }
    /// Index up to which the snapshot is applied.
    fn apply_index(&self) -> Option<u64> {
        None
    }
}

/// A cursor. `seek` and friends return whether it stands on an entry; errors are never taken for the end.
pub trait Iterator: Send + 'static {
    fn seek(&mut self, key: &Key) -> Result<bool>;
    /// To the last entry at or before `key`.
    fn seek_for_prev(&mut self, key: &Key) -> Result<bool>;
    fn seek_to_first(&mut self) -> Result<bool>;
    fn seek_to_last(&mut self) -> Result<bool>;
    fn next(&mut self) -> Result<bool>;
    fn prev(&mut self) -> Result<bool>;
    fn valid(&self) -> Result<bool>;
    /// Only when valid.
    fn key(&self) -> &[u8];
    /// Only when valid.
    fn value(&self) -> &[u8];
}
