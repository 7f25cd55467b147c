//! What the database knows of itself: sizes, counts, statistics; and its upkeep on demand.

use rocksdb::{
    BottommostLevelCompaction, CompactOptions, FlushOptions, LiveFile, Range, SizeApproximationFlags,
    statistics::Ticker,
};

use crate::{Result, RocksEngine};

/// Up to here keys are counted one by one, so that small ranges are exact.
const COUNT_EXACTLY_UP_TO: u64 = 10_000;

impl RocksEngine {
    /// Bytes of `start..end` in `cf`, in memtables and files. An estimate, by blocks.
    pub fn approximate_size_cf(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<u64> {
        let flags = SizeApproximationFlags::INCLUDE_MEMTABLE | SizeApproximationFlags::INCLUDE_FILES;
        let ranges = [Range::new(start, end)];
        let sizes = self.db().get_approximate_sizes_cf_with_flags(self.cf(cf)?, flags, &ranges)?;
        Ok(sizes.into_iter().sum())
    }

    /// Keys of `start..end` in `cf`: exact up to 10,000, above that an estimate by the files' properties.
    pub fn approximate_keys_cf(&self, cf: &str, start: &[u8], end: &[u8]) -> Result<u64> {
        let mut count = 0;
        self.scan_cf(cf, start, end, |_, _| {
            count += 1;
            Ok(count <= COUNT_EXACTLY_UP_TO)
        })?;
        if count <= COUNT_EXACTLY_UP_TO {
            return Ok(count);
        }
        Ok(self.keys_by_files(cf, start, end)?.max(count))
    }

    /// Entries of the overlapping files, as far as the range covers them.
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

    /// The SST files of `cf`.
    pub fn live_files_cf(&self, cf: &str) -> Result<Vec<LiveFile>> {
        self.cf(cf)?;
        let files = self.db().live_files()?;
        Ok(files.into_iter().filter(|f| f.column_family_name == cf).collect())
    }

    /// A property of `cf` that RocksDB prints, such as `rocksdb.stats` or `rocksdb.levelstats`.
    pub fn property_value_cf(&self, cf: &str, name: &str) -> Result<Option<String>> {
        Ok(self.db().property_value_cf(self.cf(cf)?, name)?)
    }

    /// A property of `cf` that is a number, such as `rocksdb.estimate-num-keys`.
    pub fn property_int_cf(&self, cf: &str, name: &str) -> Result<Option<u64>> {
        Ok(self.db().property_int_value_cf(self.cf(cf)?, name)?)
    }

    /// Bytes of all SST files of `cf`.
    pub fn total_sst_files_size_cf(&self, cf: &str) -> Result<u64> {
        Ok(self.property_int_cf(cf, "rocksdb.total-sst-files-size")?.unwrap_or_default())
    }

    /// Bytes of all SST files.
    pub fn total_sst_files_size(&self) -> Result<u64> {
        self.cf_names().iter().map(|cf| self.total_sst_files_size_cf(cf)).sum()
    }

    /// Bytes of all SST files and memtables.
    pub fn get_engine_used_size(&self) -> Result<u64> {
        let mut size = self.total_sst_files_size()?;
        for cf in self.cf_names() {
            size += self.property_int_cf(&cf, "rocksdb.cur-size-all-mem-tables")?.unwrap_or_default();
        }
        Ok(size)
    }

    /// RocksDB's statistics as text; none where they are off.
    pub fn statistics(&self) -> Option<String> {
        self.options().get_statistics()
    }

    /// One of RocksDB's counters since the database was opened; 0 where statistics are off.
    pub fn ticker(&self, ticker: Ticker) -> u64 {
        self.options().get_ticker_count(ticker)
    }

    /// Writes the memtables of `cfs` (of all, if empty) to SST files; with `wait` it returns when they are there.
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

    /// Compacts `start..end` of `cf` into its last level; none means no bound. Returns when it is done.
    pub fn compact_range_cf(&self, cf: &str, start: Option<&[u8]>, end: Option<&[u8]>) -> Result<()> {
        let mut opts = CompactOptions::default();
        // Others go on meanwhile.
        opts.set_exclusive_manual_compaction(false);
        self.db().compact_range_cf_opt(self.cf(cf)?, start, end, &opts);
        Ok(())
    }

    /// Compacts as [`RocksEngine::compact_range_cf`] does, with up to `threads` threads and as told for the last level.
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

    /// Changes options of the database while it is open, by RocksDB's names.
    pub fn set_db_options(&self, options: &[(&str, &str)]) -> Result<()> {
        Ok(self.db().set_db_options(options)?)
    }

    /// Changes options of a column family while it is open, by RocksDB's names.
    pub fn set_options_cf(&self, cf: &str, options: &[(&str, &str)]) -> Result<()> {
        Ok(self.db().set_options_cf(self.cf(cf)?, options)?)
    }
}
