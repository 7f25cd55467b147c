//! Snapshots that own their database handle, so that threads can share them.
use std::{mem, sync::Arc};

use prost::Message;
use rocksdb::{DB, ReadOptions, Snapshot};

use crate::{
    CF_DEFAULT, IterOptions, Result, RocksEngineIterator,
    database::{Database, DatabaseSnapshot, decode_msg},
};

/// The data of a database at one time. Clones share it; the last one releases it.
///
/// TiKV: `engine_rocks::snapshot::RocksSnapshot`.
#[derive(Clone)]
pub struct RocksSnapshot {
    inner: Arc<DatabaseSnapshot>,
}

impl RocksSnapshot {
    pub(crate) fn new(database: Arc<Database>) -> RocksSnapshot {
        let snapshot = database.db.snapshot();
        // SAFETY: the snapshot borrows the DB in `database`, an Arc, so its address is fixed; the DB stays
        // alive until `database` is dropped, which is after `snapshot`, since fields drop in order.
        let snapshot = unsafe { mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        let mut get = ReadOptions::default();
        get.set_snapshot(&snapshot);
        RocksSnapshot { inner: Arc::new(DatabaseSnapshot { get, snapshot, database }) }
    }

    fn db(&self) -> &DB {
        &self.inner.database.db
    }

    /// Reads the value of `key` in `cf`.
    pub fn get_value_cf(&self, cf: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.db().get_pinned_cf_opt(self.inner.database.cf(cf)?, key, &self.inner.get)?;
        Ok(value.map(|v| v.to_vec()))
    }

    /// Reads the value of `key` in CF default.
    pub fn get_value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_value_cf(CF_DEFAULT, key)
    }

    /// Reads the value of `key` in `cf`; if `fill_cache` is false, does not fill the block cache.
    pub fn get_value_cf_opt(&self, cf: &str, key: &[u8], fill_cache: bool) -> Result<Option<Vec<u8>>> {
        if fill_cache {
            return self.get_value_cf(cf, key);
        }
        let mut opts = ReadOptions::default();
        opts.set_snapshot(&self.inner.snapshot);
        opts.fill_cache(false);
        let value = self.db().get_pinned_cf_opt(self.inner.database.cf(cf)?, key, &opts)?;
        Ok(value.map(|v| v.to_vec()))
    }

    /// Reads the protobuf message at `key` in `cf`.
    pub fn get_msg_cf<M: Message + Default>(&self, cf: &str, key: &[u8]) -> Result<Option<M>> {
        let value = self.db().get_pinned_cf_opt(self.inner.database.cf(cf)?, key, &self.inner.get)?;
        value.map(|v| decode_msg(cf, key, &v)).transpose()
    }

    /// Creates an iterator over `cf`, which keeps this snapshot alive.
    pub fn iterator_cf(&self, cf: &str, options: IterOptions) -> Result<RocksEngineIterator> {
        let mut opts = options.into_read_options();
        opts.set_snapshot(&self.inner.snapshot);
        let handle = self.inner.database.cf(cf)?;
        let iter = self.db().raw_iterator_cf_opt(handle, opts);
        // SAFETY: the iterator borrows the DB that `self.inner` keeps alive; `RocksEngineIterator` owns a
        // clone of `self.inner` and drops the iterator first.
        Ok(unsafe { RocksEngineIterator::new(iter, self.inner.clone()) })
    }

    /// Calls `visit` with each key and value of `cf` in `start..end` until it returns false. Empty `end`:
    /// unbounded.
    pub fn scan_cf(
        &self,
        cf: &str,
        start: &[u8],
        end: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut iter = self.iterator_cf(cf, IterOptions::range(start, end))?;
        let mut valid = iter.seek(start)?;
        while valid && visit(iter.key(), iter.value())? {
            valid = iter.next()?;
        }
        Ok(())
    }

    /// Returns the sequence number of the last visible write.
    pub fn sequence_number(&self) -> u64 {
        self.inner.snapshot.sequence_number().unwrap_or_default()
    }
}

impl std::fmt::Debug for RocksSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksSnapshot").field("sequence_number", &self.sequence_number()).finish()
    }
}
