//! RocksDB snapshot limited to one region; its keys have no data prefix.
use std::sync::Arc;

use engine_rocks::{CfName, RocksEngineIterator, RocksSnapshot};
use kvproto::{errorpb, metapb::Region};
use tikv_kv::{
    ErrorInner, IterOptions, PeerPessimisticLocks, ReadIndexTimes, Result, SharedPessimisticLocks,
};
use txn_types::{Key, Value};

use crate::{Error, store::txn_ext::TxnExt};

/// A consistent view of one region. TiKV: `raftstore::store::region_snapshot::RegionSnapshot`.
#[derive(Clone)]
pub struct RegionSnapshot {
    snap: RocksSnapshot,
    region: Arc<Region>,
    term: u64,
    apply_index: u64,
    txn_ext: Arc<TxnExt>,
    read_index_times: ReadIndexTimes,
}

impl RegionSnapshot {
    /// `term`: the leader's term at the time of the snapshot; `apply_index`: minimum applied index.
    pub fn new(
        snap: RocksSnapshot,
        region: Arc<Region>,
        term: u64,
        apply_index: u64,
        txn_ext: Arc<TxnExt>,
    ) -> Self {
        Self { snap, region, term, apply_index, txn_ext, read_index_times: ReadIndexTimes::default() }
    }

    /// Adds the times of a snapshot that the peer's FSM took.
    #[must_use]
    pub fn with_read_index_times(self, read_index_times: ReadIndexTimes) -> Self {
        Self { read_index_times, ..self }
    }

    /// Returns the region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the underlying snapshot of the whole store.
    pub fn snapshot(&self) -> &RocksSnapshot {
        &self.snap
    }

    fn check(&self, key: &[u8]) -> Result<()> {
        if self.region.contains(key) {
            return Ok(());
        }
        let err = Error::KeyNotInRegion(key.to_vec(), Box::new(Region::clone(&self.region)));
        Err(ErrorInner::Request(errorpb::Error::from(err)).into())
    }
}

impl tikv_kv::Snapshot for RegionSnapshot {
    type Iter = RegionIterator;

    fn get_cf(&self, cf: CfName, key: &Key) -> Result<Option<Value>> {
        self.check(key.as_encoded())?;
        Ok(self.snap.get_value_cf(cf, &keys::data_key(key.as_encoded()))?)
    }

    fn iter(&self, cf: CfName, opts: IterOptions) -> Result<RegionIterator> {
        let start = opts.lower_bound.unwrap_or_default();
        let lower = keys::data_key(start.as_slice().max(self.region.start_key.as_slice()));
        let end = keys::data_end_key(opts.upper_bound.as_deref().unwrap_or_default());
        let upper = end.min(keys::enc_end_key(&self.region));
        let options = engine_rocks::IterOptions {
            lower_bound: Some(lower.clone()),
            upper_bound: Some(upper.clone()),
            prefix_same_as_start: opts.prefix_same_as_start,
            fill_cache: opts.fill_cache,
            ..Default::default()
        };
        Ok(RegionIterator {
            iter: self.snap.iterator_cf(cf, options)?,
            region: self.region.clone(),
            lower,
            upper,
        })
    }

    fn lower_bound(&self) -> Option<&[u8]> {
        Some(&self.region.start_key)
    }

    fn upper_bound(&self) -> Option<&[u8]> {
        Some(&self.region.end_key)
    }

    fn region_id(&self) -> u64 {
        self.region.id
    }

    fn term(&self) -> Option<u64> {
        Some(self.term)
    }

    fn is_max_ts_synced(&self) -> bool {
        self.txn_ext.is_max_ts_synced(self.term)
    }

    fn read_index_times(&self) -> ReadIndexTimes {
        self.read_index_times
    }

    fn region_version(&self) -> u64 {
        self.region.epoch().version
    }

    fn pessimistic_locks(&self) -> Option<&SharedPessimisticLocks> {
        Some(&self.txn_ext.pessimistic_locks)
    }

    fn read_pessimistic_locks<T>(&self, f: impl FnOnce(&PeerPessimisticLocks) -> T) -> Result<Option<T>> {
        let locks = self.txn_ext.pessimistic_locks.read();
        locks.check_reader(self.term, &self.region)?;
        Ok(Some(f(&locks)))
    }

    fn apply_index(&self) -> Option<u64> {
        Some(self.apply_index)
    }
}

/// Cursor within the region. TiKV: `RegionIterator`.
pub struct RegionIterator {
    iter: RocksEngineIterator,
    region: Arc<Region>,
    lower: Vec<u8>,
    upper: Vec<u8>,
}

impl RegionIterator {
    /// Converts a key to seek, which must be in the region or equal to its end.
    fn data_key(&self, key: &Key) -> Result<Vec<u8>> {
        let (raw, region) = (key.as_encoded().as_slice(), &self.region);
        if raw >= region.start_key.as_slice()
            && (region.end_key.is_empty() || raw <= region.end_key.as_slice())
        {
            return Ok(keys::data_key(raw));
        }
        let err = Error::KeyNotInRegion(raw.to_vec(), Box::new(Region::clone(region)));
        Err(ErrorInner::Request(errorpb::Error::from(err)).into())
    }
}

impl tikv_kv::Iterator for RegionIterator {
    fn seek(&mut self, key: &Key) -> Result<bool> {
        let key = self.data_key(key)?.max(self.lower.clone());
        Ok(self.iter.seek(&key)?)
    }

    fn seek_for_prev(&mut self, key: &Key) -> Result<bool> {
        let key = self.data_key(key)?;
        if key >= self.upper { Ok(self.iter.seek_to_last()?) } else { Ok(self.iter.seek_for_prev(&key)?) }
    }

    fn seek_to_first(&mut self) -> Result<bool> {
        Ok(self.iter.seek_to_first()?)
    }

    fn seek_to_last(&mut self) -> Result<bool> {
        Ok(self.iter.seek_to_last()?)
    }

    fn next(&mut self) -> Result<bool> {
        Ok(self.iter.next()?)
    }

    fn prev(&mut self) -> Result<bool> {
        Ok(self.iter.prev()?)
    }

    fn valid(&self) -> Result<bool> {
        Ok(self.iter.valid()?)
    }

    fn key(&self) -> &[u8] {
        // Every key is within the bounds, so it has the prefix.
        keys::origin_key(self.iter.key()).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.iter.value()
    }
}
