//! Snapshots and iterators. Keys are encoded user keys, without RocksDB's data prefix `z`.
use txn_types::{Key, Value};

use crate::{PeerPessimisticLocks, ReadIndexTimes, Result, SharedPessimisticLocks, modify::CfName};

/// Bounds of an iterator: encoded keys without the data prefix; `None`: the region's own bound.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    /// Encoded key, inclusive; `None`: unbounded.
    pub lower_bound: Option<Vec<u8>>,
    /// Encoded key, exclusive; `None`: unbounded.
    pub upper_bound: Option<Vec<u8>>,
    /// Stay within the user key of the first seek, to use the bloom filter of CF write.
    pub prefix_same_as_start: bool,
    /// Whether blocks read enter the block cache.
    pub fill_cache: bool,
}

/// Consistent view of one region.
pub trait Snapshot: Clone + Send + Sync + 'static {
    /// Iterator over one column family.
    type Iter: Iterator;

    /// Reads the value of `key` in `cf`.
    fn get_cf(&self, cf: CfName, key: &Key) -> Result<Option<Value>>;
    /// Creates an iterator over `cf`.
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
    /// Returns the time that the region's peer spent on the snapshot; zero for a local read.
    fn read_index_times(&self) -> ReadIndexTimes {
        ReadIndexTimes::default()
    }
    /// Returns the version of the region's epoch; 0 if the engine has no regions.
    fn region_version(&self) -> u64 {
        0
    }
    /// Returns the leader's table of pessimistic locks in memory; `None` if the engine has none.
    /// TiKV: `SnapshotExt::get_txn_ext`.
    fn pessimistic_locks(&self) -> Option<&SharedPessimisticLocks> {
        None
    }
    /// Runs `f` on the table of pessimistic locks in memory; `None` if the engine has none.
    ///
    /// # Errors
    /// The leader or the region has changed since the snapshot: the locks are elsewhere.
    fn read_pessimistic_locks<T>(&self, _f: impl FnOnce(&PeerPessimisticLocks) -> T) -> Result<Option<T>> {
        Ok(None)
    }
    /// Returns the index up to which the snapshot is applied.
    fn apply_index(&self) -> Option<u64> {
        None
    }
}

/// Cursor. `seek` and its variants return whether it is on an entry; an error never looks like the end.
pub trait Iterator: Send + 'static {
    /// Moves to the smallest key at or above `key`; returns whether there is one.
    fn seek(&mut self, key: &Key) -> Result<bool>;
    /// Moves to the last entry at or before `key`.
    fn seek_for_prev(&mut self, key: &Key) -> Result<bool>;
    /// Moves to the smallest key; returns whether there is one.
    fn seek_to_first(&mut self) -> Result<bool>;
    /// Moves to the greatest key; returns whether there is one.
    fn seek_to_last(&mut self) -> Result<bool>;
    /// Moves to the next key; returns whether there is one.
    fn next(&mut self) -> Result<bool>;
    /// Moves to the previous key; returns whether there is one.
    fn prev(&mut self) -> Result<bool>;
    /// Whether the iterator is on a key.
    ///
    /// # Errors
    /// A read failed: this is not the end.
    fn valid(&self) -> Result<bool>;
    /// Returns the current key; call it only if the cursor is valid.
    fn key(&self) -> &[u8];
    /// Returns the current value; call it only if the cursor is valid.
    fn value(&self) -> &[u8];
}
