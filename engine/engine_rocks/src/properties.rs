//! Sizes, counts and statistics of the database; flushes and compactions on demand.
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, FlushOptions, LiveFile, Range, SizeApproximationFlags,
    statistics::Ticker,
};

use crate::{Result, RocksEngine};

/// Maximum number of keys to count one by one, so that small ranges are exact.
const MAX_EXACT_COUNT: u64 = 10_000;

impl RocksEngine {
    /// Estimates the bytes of `start..end` in `cf`, in memtables and files, at the granularity of blocks.
    pub fn approximate_size_cf(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<u64> {
        let flags = SizeApproximationFlags::INCLUDE_MEMTABLE | SizeApproximationFlags::INCLUDE_FILES;
        let ranges = [Range::new(start, end)];
        let sizes = self.db().get_approximate_sizes_cf_with_flags(self.cf(cf)?, flags, &ranges)?;
        Ok(sizes.into_iter().sum())
    }

    /// Counts the keys of `start..end` in `cf`: exactly up to 10,000, then by the files' properties.
    pub fn approximate_keys_cf(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<u64> {
        let mut count = 0;
        self.scan_cf(cf, start, end, |_, _| {
            count += 1;
            Ok(count <= MAX_EXACT_COUNT)
        })?;
        if count <= MAX_EXACT_COUNT {
            return Ok(count);
        }
        Ok(self.keys_by_files(cf, start, end)?.max(count))
    }

    /// Estimates the entries of the overlapping files within the range.
    fn keys_by_files(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<u64> {
        let files = self.live_files_cf(cf)?;
        let overlaps = |f: &&LiveFile| {
            f.start_key.as_deref().is_some_and(|k| k < end)
                && f.end_key.as_deref().is_some_and(|k| k >= start)
        };
        let (mut bytes, mut entries) = (0u64, 0u64);
        for file in files.iter().filter(overlaps) {
            bytes += file.size as u64;
            entries += file.num_entries;
        }
        let covered = self.approximate_size_cf(cf, start, end)?.min(bytes);
        Ok((u128::from(entries) * u128::from(covered)).checked_div(u128::from(bytes)).unwrap_or(0) as u64)
    }

    /// Returns the SST files of `cf`.
    pub fn live_files_cf(&self, cf: &str) -> Result<Vec<LiveFile>> {
        self.cf(cf)?;
        let files = self.db().live_files()?;
        Ok(files.into_iter().filter(|f| f.column_family_name == cf).collect())
    }

    /// Returns a text property of `cf`, such as `rocksdb.stats` or `rocksdb.levelstats`.
    pub fn property_value_cf(&self, cf: &str, name: &str) -> Result<Option<String>> {
        Ok(self.db().property_value_cf(self.cf(cf)?, name)?)
    }

    /// Returns a numeric property of `cf`, such as `rocksdb.estimate-num-keys`.
    pub fn property_int_cf(&self, cf: &str, name: &str) -> Result<Option<u64>> {
        Ok(self.db().property_int_value_cf(self.cf(cf)?, name)?)
    }

    /// Returns the bytes of all SST files of `cf`.
    pub fn total_sst_files_size_cf(&self, cf: &str) -> Result<u64> {
        Ok(self.property_int_cf(cf, "rocksdb.total-sst-files-size")?.unwrap_or_default())
    }

    /// Returns the bytes of all SST files.
    pub fn total_sst_files_size(&self) -> Result<u64> {
        self.cf_names().iter().map(|cf| self.total_sst_files_size_cf(cf)).sum()
    }

    /// Returns the bytes of all SST files and memtables.
    pub fn get_engine_used_size(&self) -> Result<u64> {
        let mut size = self.total_sst_files_size()?;
        for cf in self.cf_names() {
            size += self.property_int_cf(&cf, "rocksdb.cur-size-all-mem-tables")?.unwrap_or_default();
        }
        Ok(size)
    }

    /// Returns RocksDB's statistics as text; none if statistics are disabled.
    pub fn statistics(&self) -> Option<String> {
        self.options().get_statistics()
    }

    /// Returns one of RocksDB's counters since the database was opened; 0 if statistics are disabled.
    pub fn ticker(&self, ticker: Ticker) -> u64 {
        self.options().get_ticker_count(ticker)
    }

    /// Flushes the memtables of `cfs` (of all, if empty) to SST files; with `wait`, returns after the flush.
    pub fn flush_cfs(&self, cfs: &[&str], wait: bool) -> Result<()> {
        let mut opts = FlushOptions::default();
        opts.set_wait(wait);
        let all = self.cf_names();
        let names: Vec<&str> =
            if cfs.is_empty() { all.iter().map(String::as_str).collect() } else { cfs.to_vec() };
        for cf in names {
            self.db().flush_cf_opt(self.cf(cf)?, &opts)?;
        }
        Ok(())
    }

    /// Compacts `start..end` of `cf` to its last level; none means unbounded. Returns after the compaction.
    pub fn compact_range_cf(&self, cf: &str, start: Option<&[u8]>, end: Option<&[u8]>) -> Result<()> {
        let mut opts = CompactOptions::default();
        // Let automatic compactions run concurrently.
        opts.set_exclusive_manual_compaction(false);
        self.db().compact_range_cf_opt(self.cf(cf)?, start, end, &opts);
        Ok(())
    }

    /// Like [`RocksEngine::compact_range_cf`], with up to `threads` threads and options for the last level.
    pub fn manual_compact_range_cf(
        &self,
        cf: &str,
        start: Option<&[u8]>,
        end: Option<&[u8]>,
        threads: u32,
        bottommost: BottommostLevelCompaction,
    ) -> Result<()> {
        let mut opts = CompactOptions::default();
        opts.set_exclusive_manual_compaction(false);
        opts.set_max_subcompactions(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
        opts.set_bottommost_level_compaction(bottommost);
        self.db().compact_range_cf_opt(self.cf(cf)?, start, end, &opts);
        Ok(())
    }

    /// Changes options of the open database, by RocksDB's names.
    pub fn set_db_options(&self, options: &[(&str, &str)]) -> Result<()> {
        Ok(self.db().set_db_options(options)?)
    }

    /// Changes options of a column family of the open database, by RocksDB's names.
    pub fn set_options_cf(&self, cf: &str, options: &[(&str, &str)]) -> Result<()> {
        Ok(self.db().set_options_cf(self.cf(cf)?, options)?)
    }
}
