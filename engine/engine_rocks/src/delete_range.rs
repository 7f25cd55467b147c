//! Deletes whole ranges: when a region leaves the store, or for a user's request.
use crate::{Error, IterOptions, Result, RocksEngine, RocksSnapshot};

/// Number of keys deleted in one batch.
const DELETE_BATCH_KEYS: usize = 256;

/// Method to delete a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteStrategy {
    /// Remove only SST files entirely within the range. Snapshots lose the data, too.
    DeleteFiles,
    /// One tombstone for the range; slows down reads until it is compacted.
    DeleteByRange,
    /// One tombstone for each key.
    DeleteByKey,
}

impl RocksEngine {
    /// Deletes `ranges` (start inclusive, end exclusive) in `cf`; `sync` waits for the disk.
    pub fn delete_ranges_cf(
        &self,
        cf: &str,
        strategy: DeleteStrategy,
        ranges: &[(&[u8], &[u8])],
        sync: bool,
    ) -> Result<()> {
        for (start, end) in ranges.iter().copied().filter(|(start, end)| start != end) {
            if start > end {
                return Err(Error::BadRange);
            }
            match strategy {
                DeleteStrategy::DeleteFiles => self.delete_files_in_range_cf(cf, start, end)?,
                DeleteStrategy::DeleteByRange => {
                    self.db().delete_range_cf_opt(self.cf(cf)?, start, end, self.write_options(sync))?;
                }
                DeleteStrategy::DeleteByKey => self.delete_by_key(cf, start, end, sync)?,
            }
        }
        Ok(())
    }

    /// Removes the SST files whose keys are all in `start..end`; L0 files stay.
    pub fn delete_files_in_range_cf(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<()> {
        // RocksDB treats the end as included, so a file may end at a neighbour's first key.
        let Some(last) = self.last_key_below(cf, start, end)? else { return Ok(()) };
        Ok(self.db().delete_file_in_range_cf(self.cf(cf)?, start, &last[..])?)
    }

    fn last_key_below(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut iter = self.iterator_cf(cf, IterOptions::range(start, end))?;
        Ok(iter.seek_to_last()?.then(|| iter.key().to_vec()))
    }

    fn delete_by_key(&self, cf: &str, start: &[u8], end: &[u8], sync: bool) -> Result<()> {
        let snapshot: RocksSnapshot = self.snapshot();
        let mut batch = self.write_batch();
        snapshot.scan_cf(cf, start, end, |key, _| {
            batch.delete_cf(cf, key)?;
            if batch.count() >= DELETE_BATCH_KEYS {
                batch.write_opt(false)?;
                batch.clear();
            }
            Ok(true)
        })?;
        batch.write_opt(sync)
    }
}
