//! Operations of a read or a command on the column families, and durations of its stages.
//!
//! Mirrors `components/tikv_kv/src/stats.rs` and `src/storage/txn/tracker.rs`.
use std::ops::AddAssign;

use engine_rocks::PerfStats;
use kvproto::kvrpcpb::{Ruv2, ScanDetailV2, TimeDetailV2, WriteDetail};
use tikv_kv::{ReadIndexTimes, WriteTimes};

/// Operations on one column family.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CfStatistics {
    /// Number of keys in the reader's result.
    pub processed_keys: usize,
    /// Number of point reads.
    pub get: usize,
    /// Number of steps forward.
    pub next: usize,
    /// Number of steps backward.
    pub prev: usize,
    /// Number of seeks.
    pub seek: usize,
    /// Number of seeks backward.
    pub seek_for_prev: usize,
    /// Number of seeks after [`crate::mvcc::SEEK_BOUND`] steps did not reach the key.
    pub over_seek_bound: usize,
    /// Number of deleted and expired raw rows that a scan skipped.
    pub raw_value_tombstone: usize,
}

impl CfStatistics {
    /// Returns the number of all operations.
    pub fn total_op_count(&self) -> usize {
        self.get + self.next + self.prev + self.seek + self.seek_for_prev
    }
}

impl AddAssign<&CfStatistics> for CfStatistics {
    fn add_assign(&mut self, other: &CfStatistics) {
        self.processed_keys += other.processed_keys;
        self.get += other.get;
        self.next += other.next;
        self.prev += other.prev;
        self.seek += other.seek;
        self.seek_for_prev += other.seek_for_prev;
        self.over_seek_bound += other.over_seek_bound;
        self.raw_value_tombstone += other.raw_value_tombstone;
    }
}

/// Operations on the three column families.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Operations in CF lock.
    pub lock: CfStatistics,
    /// Operations in CF write.
    pub write: CfStatistics,
    /// Operations in CF default.
    pub data: CfStatistics,
    /// Bytes of the keys and values that were read.
    pub processed_size: usize,
}

impl Statistics {
    /// Adds the statistics of another reader.
    pub fn add(&mut self, other: &Statistics) {
        self.lock += &other.lock;
        self.write += &other.write;
        self.data += &other.data;
        self.processed_size += other.processed_size;
    }

    /// Fills the version counts in the reply's scan detail.
    pub fn write_scan_detail(&self, detail: &mut ScanDetailV2) {
        detail.processed_versions = self.write.processed_keys as u64;
        detail.processed_versions_size = self.processed_size as u64;
        detail.total_versions = self.write.total_op_count() as u64;
    }
}

/// Fills RocksDB's counters in the reply's scan detail.
fn write_perf_detail(perf: &PerfStats, detail: &mut ScanDetailV2) {
    detail.rocksdb_delete_skipped_count = perf.internal_delete_skipped_count;
    detail.rocksdb_key_skipped_count = perf.internal_key_skipped_count;
    detail.rocksdb_block_cache_hit_count = perf.block_cache_hit_count;
    detail.rocksdb_block_read_count = perf.block_read_count;
    detail.rocksdb_block_read_byte = perf.block_read_byte;
    detail.rocksdb_block_read_nanos = perf.block_read_time_ns;
}

/// Fills the times of a snapshot that the region's peer took.
fn write_read_index_detail(times: &ReadIndexTimes, detail: &mut ScanDetailV2) {
    detail.read_index_propose_wait_nanos = times.propose_wait_nanos;
    detail.read_index_confirm_wait_nanos = times.confirm_wait_nanos;
}

/// Engine time of a read in its stages, in nanoseconds.
///
/// TiKV: `src/storage/mod.rs` `StageLatencyStats`.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageLatencyStats {
    /// Time in the read pool's queue.
    pub schedule_wait_time_ns: u64,
    /// Time to get the snapshot.
    pub snapshot_wait_time_ns: u64,
    /// Total time from the queue to the snapshot.
    pub wait_wall_time_ns: u64,
    /// Time to read.
    pub process_wall_time_ns: u64,
}

/// Statistics of a read, returned with its result.
#[derive(Default, Clone, Copy, Debug, PartialEq)]
pub struct KvGetStatistics {
    /// Operations of the read.
    pub stats: Statistics,
    /// Times of the read's stages.
    pub latency_stats: StageLatencyStats,
    /// RocksDB's counters.
    pub perf: PerfStats,
    /// Times of a snapshot that the region's peer took.
    pub read_index: ReadIndexTimes,
}

impl KvGetStatistics {
    /// Returns the reply's scan detail.
    pub fn scan_detail_v2(&self) -> ScanDetailV2 {
        let mut detail = ScanDetailV2 {
            get_snapshot_nanos: self.latency_stats.snapshot_wait_time_ns,
            read_pool_schedule_wait_nanos: self.latency_stats.schedule_wait_time_ns,
            ..Default::default()
        };
        self.stats.write_scan_detail(&mut detail);
        write_read_index_detail(&self.read_index, &mut detail);
        write_perf_detail(&self.perf, &mut detail);
        detail
    }

    /// Returns the reply's time detail; the caller adds the fields known only to gRPC.
    pub fn time_detail_v2(&self) -> TimeDetailV2 {
        let times = &self.latency_stats;
        TimeDetailV2 {
            wait_wall_time_ns: times.wait_wall_time_ns,
            process_wall_time_ns: times.process_wall_time_ns,
            kv_read_wall_time_ns: times.wait_wall_time_ns + times.process_wall_time_ns,
            ..Default::default()
        }
    }
}

/// Statistics of a scheduler command, returned with its result; times in nanoseconds of engine time.
///
/// TiKV: `src/storage/txn/scheduler.rs` `SchedulerDetails`.
#[derive(Default, Clone, Copy, Debug, PartialEq)]
pub struct SchedulerDetails {
    /// Operations of the command.
    pub stat: Statistics,
    /// RocksDB's counters.
    pub perf: PerfStats,
    /// Engine time until the command had its latches, in nanoseconds.
    pub latch_wait_nanos: u64,
    /// Engine time of taking the snapshot, in nanoseconds.
    pub async_snapshot_nanos: u64,
    /// Engine time of computing the changes, in nanoseconds.
    pub cmd_process_nanos: u64,
    /// Engine time of the write to the engine, in nanoseconds.
    pub async_write_nanos: u64,
    /// Parts of the write to the engine.
    pub write: WriteTimes,
    /// Times of a snapshot that the region's peer took.
    pub read_index: ReadIndexTimes,
    /// Engine time of the wait for flow control, in nanoseconds.
    pub flow_control_nanos: u64,
    /// Engine time of the wait for locks of other transactions, in nanoseconds.
    pub pessimistic_lock_wait_nanos: u64,
    /// Bytes of the keys and values of the request that may be written.
    pub write_bytes: u64,
}

impl SchedulerDetails {
    /// Returns the reply's scan detail.
    pub fn scan_detail_v2(&self) -> ScanDetailV2 {
        let mut detail = ScanDetailV2 { get_snapshot_nanos: self.async_snapshot_nanos, ..Default::default() };
        self.stat.write_scan_detail(&mut detail);
        write_read_index_detail(&self.read_index, &mut detail);
        write_perf_detail(&self.perf, &mut detail);
        detail
    }

    /// Returns the reply's quantities of request units. TiKV: `Tracker::write_ru_v2`.
    pub fn ru_v2(&self) -> Ruv2 {
        Ruv2 { raftstore_store_write_trigger_wb_bytes: self.write_bytes, ..Default::default() }
    }

    /// Returns the reply's write detail. TiKV: `Tracker::write_write_detail`.
    pub fn write_detail(&self) -> WriteDetail {
        let times = &self.write;
        WriteDetail {
            store_batch_wait_nanos: times.store_batch_wait_nanos,
            propose_send_wait_nanos: times.propose_send_wait_nanos,
            persist_log_nanos: times.persist_log_nanos,
            raft_db_write_leader_wait_nanos: times.raft_db_write_leader_wait_nanos,
            raft_db_sync_log_nanos: times.raft_db_sync_log_nanos,
            raft_db_write_memtable_nanos: times.raft_db_write_memtable_nanos,
            commit_log_nanos: times.commit_log_nanos,
            apply_batch_wait_nanos: times.apply_batch_wait_nanos,
            apply_log_nanos: times.apply_log_nanos,
            apply_mutex_lock_nanos: times.apply_mutex_lock_nanos,
            apply_write_leader_wait_nanos: times.apply_write_leader_wait_nanos,
            apply_write_wal_nanos: times.apply_write_wal_nanos,
            apply_write_memtable_nanos: times.apply_write_memtable_nanos,

            latch_wait_nanos: self.latch_wait_nanos,
            process_nanos: self.cmd_process_nanos,
            throttle_nanos: self.flow_control_nanos,
            pessimistic_lock_wait_nanos: self.pessimistic_lock_wait_nanos,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_detail_counts_versions_of_cf_write() {
        let mut total = Statistics::default();
        let one = Statistics {
            write: CfStatistics { processed_keys: 1, seek: 1, next: 2, ..Default::default() },
            lock: CfStatistics { get: 5, ..Default::default() },
            processed_size: 7,
            ..Default::default()
        };
        total.add(&one);
        total.add(&one);
        let detail = KvGetStatistics { stats: total, ..Default::default() }.scan_detail_v2();
        assert_eq!((detail.processed_versions, detail.total_versions), (2, 6));
        assert_eq!(detail.processed_versions_size, 14);
    }
}
