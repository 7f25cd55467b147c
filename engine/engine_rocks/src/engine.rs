//! The engine: one RocksDB, shared by all threads.
use std::{path::Path, sync::Arc};

use prost::Message;
use rocksdb::{ColumnFamily, DB, IngestExternalFileOptions, Options, WriteOptions};

use crate::{
    CF_DEFAULT, DbConfig, EventCounts, IterOptions, Result, RocksEngineIterator, RocksSnapshot,
    RocksWriteBatch,
    database::{Database, decode_msg},
    open,
};

/// RocksDB with TiKV's column families. Clones share it; the last one closes it.
///
/// TiKV: `engine_rocks::engine::RocksEngine`.
#[derive(Clone)]
pub struct RocksEngine {
    inner: Arc<Database>,
}

impl From<open::Opened> for RocksEngine {
    fn from(opened: open::Opened) -> RocksEngine {
        RocksEngine { inner: Arc::new(Database::from(opened)) }
    }
}

impl RocksEngine {
    /// Opens the database in `path`, or creates it if the options allow.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::HalfWritten`], [`Error::MissingDir`], [`Error::NoDatabase`],
    /// [`Error::Open`].
    pub fn open(path: impl AsRef<Path>, config: &DbConfig) -> Result<RocksEngine> {
        open::open(path.as_ref(), config).map(RocksEngine::from)
    }

    /// Opens the database in `path` for reading, also while another process writes to it. Reads see the data
    /// at the time of opening. Writes only RocksDB's own LOG file.
    pub fn open_readonly(path: impl AsRef<Path>, config: &DbConfig) -> Result<RocksEngine> {
        open::open_readonly(path.as_ref(), config).map(RocksEngine::from)
    }

    pub(crate) fn db(&self) -> &DB {
        &self.inner.db
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Changes the bytes of the block cache.
    pub fn set_block_cache_capacity(&self, bytes: usize) {
        self.inner.cache.clone().set_capacity(bytes);
    }

    pub(crate) fn write_options(&self, sync: bool) -> &WriteOptions {
        self.inner.write_options(sync)
    }

    pub(crate) fn cf(&self, cf: &str) -> Result<&ColumnFamily> {
        self.inner.cf(cf)
    }

    /// Returns the database directory.
    pub fn path(&self) -> &Path {
        self.db().path()
    }

    /// Returns the names of the column families, sorted.
    pub fn cf_names(&self) -> Vec<String> {
        self.inner.cf_names()
    }

    /// Reads the value of `key` in `cf`.
    pub fn get_value_cf(&self, cf: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.db().get_pinned_cf(self.cf(cf)?, key)?;
        Ok(value.map(|v| v.to_vec()))
    }

    /// Reads the value of `key` in CF default.
    pub fn get_value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_value_cf(CF_DEFAULT, key)
    }

    /// Reads the protobuf message at `key` in `cf`.
    pub fn get_msg_cf<M: Message + Default>(&self, cf: &str, key: &[u8]) -> Result<Option<M>> {
        let value = self.db().get_pinned_cf(self.cf(cf)?, key)?;
        value.map(|v| decode_msg(cf, key, &v)).transpose()
    }

    /// Reads the protobuf message at `key` in CF default.
    pub fn get_msg<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>> {
        self.get_msg_cf(CF_DEFAULT, key)
    }

    /// Puts `value` at `key` in `cf`, without waiting for the disk.
    pub fn put_cf(&self, cf: &str, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db().put_cf_opt(self.cf(cf)?, key, value, self.write_options(false))?)
    }

    /// Puts `value` at `key` in CF default, without waiting for the disk.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_cf(CF_DEFAULT, key, value)
    }

    /// Puts a protobuf message at `key` in `cf`, without waiting for the disk.
    pub fn put_msg_cf<M: Message>(&self, cf: &str, key: &[u8], msg: &M) -> Result<()> {
        self.put_cf(cf, key, &msg.encode_to_vec())
    }

    /// Puts a protobuf message at `key` in CF default, without waiting for the disk.
    pub fn put_msg<M: Message>(&self, key: &[u8], msg: &M) -> Result<()> {
        self.put_msg_cf(CF_DEFAULT, key, msg)
    }

    /// Deletes `key` in `cf`, without waiting for the disk.
    pub fn delete_cf(&self, cf: &str, key: &[u8]) -> Result<()> {
        Ok(self.db().delete_cf_opt(self.cf(cf)?, key, self.write_options(false))?)
    }

    /// Deletes `key` in CF default, without waiting for the disk.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.delete_cf(CF_DEFAULT, key)
    }

    /// Creates an empty batch for this database.
    pub fn write_batch(&self) -> RocksWriteBatch {
        RocksWriteBatch::new(self.inner.clone())
    }

    /// Takes a snapshot of the current data.
    pub fn snapshot(&self) -> RocksSnapshot {
        RocksSnapshot::new(self.inner.clone())
    }

    /// Creates an iterator over the current data of `cf`.
    pub fn iterator_cf(&self, cf: &str, options: IterOptions) -> Result<RocksEngineIterator> {
        self.snapshot().iterator_cf(cf, options)
    }

    /// Calls `visit` with each key and value of `cf` in `start..end` until it returns false.
    pub fn scan_cf(
        &self,
        cf: &str,
        start: &[u8],
        end: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        self.snapshot().scan_cf(cf, start, end, visit)
    }

    /// Makes everything written so far survive a crash of the machine.
    pub fn sync_wal(&self) -> Result<()> {
        Ok(self.db().flush_wal(true)?)
    }

    /// Moves external SST files into `cf`; removes them from their old paths.
    pub fn ingest_external_file_cf(&self, cf: &str, files: &[impl AsRef<Path>]) -> Result<()> {
        let mut opts = IngestExternalFileOptions::default();
        opts.set_move_files(true);
        let files = files.iter().map(AsRef::as_ref).collect();
        Ok(self.db().ingest_external_file_cf_opts(self.cf(cf)?, &opts, files)?)
    }

    /// Returns the sequence number of the last write.
    pub fn latest_sequence_number(&self) -> u64 {
        self.db().latest_sequence_number()
    }

    /// Returns the counts of background work since the database was opened.
    pub fn event_counts(&self) -> EventCounts {
        self.inner.counters.get()
    }
}

impl std::fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksEngine").field("path", &self.path()).finish()
    }
}
