//! Batches of atomic writes.
use std::sync::Arc;

use prost::Message;
use rocksdb::WriteBatch;

use crate::{CF_DEFAULT, Result, database::Database};

/// Writes that take effect together or not at all.
///
/// TiKV: `engine_rocks::write_batch::RocksWriteBatchVec`.
pub struct RocksWriteBatch {
    database: Arc<Database>,
    batch: WriteBatch,
    save_points: usize,
}

impl RocksWriteBatch {
    pub(crate) fn new(database: Arc<Database>) -> RocksWriteBatch {
        RocksWriteBatch { database, batch: WriteBatch::default(), save_points: 0 }
    }

    /// Puts `value` at `key` in `cf`.
    pub fn put_cf(&mut self, cf: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.put_cf(&self.database.cf(cf)?, key, value);
        Ok(())
    }

    /// Puts `value` at `key` in CF default.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_cf(CF_DEFAULT, key, value)
    }

    /// Puts a protobuf message at `key` in `cf`.
    pub fn put_msg_cf<M: Message>(&mut self, cf: &str, key: &[u8], msg: &M) -> Result<()> {
        self.put_cf(cf, key, &msg.encode_to_vec())
    }

    /// Puts a protobuf message at `key` in CF default.
    pub fn put_msg<M: Message>(&mut self, key: &[u8], msg: &M) -> Result<()> {
        self.put_msg_cf(CF_DEFAULT, key, msg)
    }

    /// Deletes `key` in `cf`.
    pub fn delete_cf(&mut self, cf: &str, key: &[u8]) -> Result<()> {
        self.batch.delete_cf(&self.database.cf(cf)?, key);
        Ok(())
    }

    /// Deletes `key` in CF default.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.delete_cf(CF_DEFAULT, key)
    }

    /// Deletes `start..end` in `cf` by one tombstone.
    pub fn delete_range_cf(&mut self, cf: &str, start: &[u8], end: &[u8]) -> Result<()> {
        self.batch.delete_range_cf(&self.database.cf(cf)?, start, end);
        Ok(())
    }

    /// Returns the bytes of the batch, as the WAL stores it.
    pub fn data_size(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// Returns the number of writes.
    pub fn count(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are no writes.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Removes all writes and save points.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.save_points = 0;
    }

    /// Sets a save point.
    pub fn set_save_point(&mut self) {
        self.batch.set_save_point();
        self.save_points += 1;
    }

    /// Removes the last save point and keeps the writes; an error if there is none.
    pub fn pop_save_point(&mut self) -> Result<()> {
        self.batch.pop_save_point()?;
        self.save_points = self.save_points.saturating_sub(1);
        Ok(())
    }

    /// Removes the writes since the last save point, and the save point; an error if there is none.
    pub fn rollback_to_save_point(&mut self) -> Result<()> {
        self.batch.rollback_to_save_point()?;
        self.save_points = self.save_points.saturating_sub(1);
        Ok(())
    }

    /// Returns the number of save points.
    pub fn save_point_count(&self) -> usize {
        self.save_points
    }

    /// Writes the batch and keeps it; `sync` waits until the WAL is on disk.
    pub fn write_opt(&mut self, sync: bool) -> Result<()> {
        Ok(self.database.db.write_opt(&self.batch, self.database.write_options(sync))?)
    }

    /// Writes the batch without waiting for the disk, and keeps it.
    pub fn write(&mut self) -> Result<()> {
        self.write_opt(false)
    }
}

impl std::fmt::Debug for RocksWriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksWriteBatch")
            .field("count", &self.count())
            .field("data_size", &self.data_size())
            .finish()
    }
}
