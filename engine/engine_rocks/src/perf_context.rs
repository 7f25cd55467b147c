//! RocksDB's counters for work on the current thread.
use std::cell::RefCell;

use rocksdb::{PerfMetric, PerfStatsLevel, perf};

thread_local! {
    // RocksDB has one set of counters per thread; this is the handle to read them.
    static CONTEXT: RefCell<Option<perf::PerfContext>> = const { RefCell::new(None) };
}

macro_rules! perf_stats {
    ($($(#[$doc:meta])* $field:ident = $metric:ident),+ $(,)?) => {
        /// Counters of RocksDB's perf context; times in nanoseconds.
        ///
        /// TiKV: `ReadPerfContext`, `WritePerfContext`.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct PerfStats {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl PerfStats {
            fn read(context: &perf::PerfContext) -> PerfStats {
                PerfStats { $($field: context.metric(PerfMetric::$metric),)+ }
            }

            /// Returns the differences since `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &PerfStats) -> PerfStats {
                PerfStats { $($field: self.$field.wrapping_sub(earlier.$field),)+ }
            }

            /// Returns RocksDB's names of the counters and their values, in field order.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((PerfMetric::$metric.name(), self.$field),)+].into_iter()
            }
        }

        impl std::ops::AddAssign for PerfStats {
            fn add_assign(&mut self, other: PerfStats) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

perf_stats! {
    /// Key comparisons.
    user_key_comparison_count = UserKeyComparisonCount,
    /// Blocks found in the block cache.
    block_cache_hit_count = BlockCacheHitCount,
    /// Blocks read from files.
    block_read_count = BlockReadCount,
    /// Bytes of these blocks.
    block_read_byte = BlockReadByte,
    /// Time to read blocks.
    block_read_time_ns = BlockReadTime,
    /// Time to verify block checksums.
    block_checksum_time_ns = BlockChecksumTime,
    /// Time to decompress blocks.
    block_decompress_time_ns = BlockDecompressTime,
    /// Bytes returned by gets.
    get_read_bytes = GetReadBytes,
    /// Bytes returned by iterators.
    iter_read_bytes = IterReadBytes,
    /// Superseded entries skipped.
    internal_key_skipped_count = InternalKeySkippedCount,
    /// Tombstones skipped.
    internal_delete_skipped_count = InternalDeleteSkippedCount,
    /// Entries skipped that are newer than the snapshot.
    internal_recent_skipped_count = InternalRecentSkippedCount,
    /// Time to take snapshots inside RocksDB.
    get_snapshot_time_ns = GetSnapshotTime,
    /// Gets that searched memtables.
    get_from_memtable_count = GetFromMemtableCount,
    /// Time of gets in memtables.
    get_from_memtable_time_ns = GetFromMemtableTime,
    /// Time of gets in files.
    get_from_output_files_time_ns = GetFromOutputFilesTime,
    /// Seeks in memtables.
    seek_on_memtable_count = SeekOnMemtableCount,
    /// Time of seeks in memtables.
    seek_on_memtable_time_ns = SeekOnMemtableTime,
    /// Steps forward in memtables.
    next_on_memtable_count = NextOnMemtableCount,
    /// Steps backward in memtables.
    prev_on_memtable_count = PrevOnMemtableCount,
    /// Seeks in files.
    seek_child_seek_count = SeekChildSeekCount,
    /// Time of seeks in files.
    seek_child_seek_time_ns = SeekChildSeekTime,
    /// Total time of seeks.
    seek_internal_seek_time_ns = SeekInternalSeekTime,
    /// Time to find the next visible entry.
    find_next_user_entry_time_ns = FindNextUserEntryTime,
    /// Bloom filters of memtables that let a key pass.
    bloom_memtable_hit_count = BloomMemtableHitCount,
    /// Bloom filters of memtables that ruled a key out.
    bloom_memtable_miss_count = BloomMemtableMissCount,
    /// Bloom filters of files that let a key pass.
    bloom_sst_hit_count = BloomSstHitCount,
    /// Bloom filters of files that ruled a key out.
    bloom_sst_miss_count = BloomSstMissCount,
    /// Time to write the WAL.
    write_wal_time_ns = WriteWalTime,
    /// Time to write memtables.
    write_memtable_time_ns = WriteMemtableTime,
    /// Time that writes were delayed.
    write_delay_time_ns = WriteDelayTime,
    /// Time of writes before and after the WAL and the memtables.
    write_pre_and_post_process_time_ns = WritePreAndPostProcessTime,
    /// Time to wait for the database's mutex.
    db_mutex_lock_nanos = DbMutexLockNanos,
}

fn read_now() -> PerfStats {
    CONTEXT.with(|context| match context.try_borrow_mut() {
        Ok(mut context) => PerfStats::read(context.get_or_insert_with(perf::PerfContext::default)),
        Err(_) => PerfStats::default(),
    })
}

/// Measures RocksDB's work on this thread from `start` to `report`. Measurements may overlap.
#[derive(Debug, Clone, Copy)]
pub struct PerfContext {
    start: PerfStats,
}

impl PerfContext {
    /// Starts to measure, including times except those of mutexes.
    pub fn start() -> PerfContext {
        perf::set_perf_stats(PerfStatsLevel::EnableTimeExceptForMutex);
        PerfContext { start: read_now() }
    }

    /// Returns the counters since the start. Call it on the thread that started.
    pub fn report(&self) -> PerfStats {
        read_now().since(&self.start)
    }
}

/// Parts of one write to RocksDB, in nanoseconds. TiKV: `WritePerfContext`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct WritePerf {
    /// The whole call.
    pub call_nanos: u64,
    /// Wait for the database's mutex.
    pub mutex_lock_nanos: u64,
    /// Write of the WAL.
    pub write_wal_nanos: u64,
    /// Write of the memtables.
    pub write_memtable_nanos: u64,
    /// Delays for compactions, and work before and after the writes.
    pub other_nanos: u64,
}

impl WritePerf {
    /// Runs a write on this thread and measures it, including mutexes.
    pub fn measure<T>(write: impl FnOnce() -> T) -> (T, WritePerf) {
        perf::set_perf_stats(PerfStatsLevel::EnableTime);
        let before = read_now();
        let begin = std::time::Instant::now();
        let result = write();
        let call_nanos = begin.elapsed().as_nanos() as u64;
        let spent = read_now().since(&before);
        let measured = WritePerf {
            call_nanos,
            mutex_lock_nanos: spent.db_mutex_lock_nanos,
            write_wal_nanos: spent.write_wal_time_ns,
            write_memtable_nanos: spent.write_memtable_time_ns,
            other_nanos: spent.write_delay_time_ns + spent.write_pre_and_post_process_time_ns,
        };
        (result, measured)
    }

    /// Returns the wait for another thread that writes this batch or an earlier one: the rest of the call.
    /// RocksDB counts it as `write_thread_wait_nanos`, which its C interface does not return.
    pub fn leader_wait_nanos(&self) -> u64 {
        let known =
            [self.mutex_lock_nanos, self.write_wal_nanos, self.write_memtable_nanos, self.other_nanos];
        known.into_iter().fold(self.call_nanos, u64::saturating_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_every_counter_of_both() {
        let one = PerfStats { block_read_count: 3, db_mutex_lock_nanos: 5, ..PerfStats::default() };
        let mut sum = PerfStats { block_read_count: 4, get_read_bytes: 1, ..PerfStats::default() };
        sum += one;
        let expected = PerfStats { block_read_count: 7, get_read_bytes: 1, ..one };
        assert_eq!(sum, expected);
        assert_eq!(sum.since(&one).block_read_count, 4);
    }
}
