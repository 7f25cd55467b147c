//! RocksDB options that are set only if they are given; otherwise RocksDB's
//! defaults apply. Names and types are TiKV's.
use serde::{Deserialize, Serialize};

use super::ReadableSize;

/// Options of the database, in `[rocksdb]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DbTuning {
    /// Maximum number of threads of one compaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sub_compactions: Option<u32>,
    /// Bytes of an SST after which written data is passed to the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_sync: Option<ReadableSize>,
    /// Bytes of WAL after which written data is passed to the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes_per_sync: Option<ReadableSize>,
    /// Bytes that a compaction reads ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction_readahead_size: Option<ReadableSize>,
    /// Seconds between two dumps of statistics to RocksDB's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats_dump_period_sec: Option<u32>,
}

/// Options of a column family, in `[rocksdb.defaultcf]` and the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CfTuning {
    /// Maximum number of memtables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_write_buffer_number: Option<i64>,
    /// Whether only manual compactions run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_auto_compactions: Option<bool>,
    /// Number of files in level 0 that starts a compaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_file_num_compaction_trigger: Option<i64>,
    /// Number of files in level 0 that slows writes down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_slowdown_writes_trigger: Option<i64>,
    /// Number of files in level 0 that stops writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_stop_writes_trigger: Option<i64>,
    /// Bytes of an SST of level 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_file_size_base: Option<ReadableSize>,
    /// Maximum bytes of level 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_for_level_base: Option<ReadableSize>,
    /// Ratio of the maximum bytes of two levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_for_level_multiplier: Option<i64>,
    /// Maximum bytes of one compaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_compaction_bytes: Option<ReadableSize>,
    /// Bytes to compact that slow writes down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_pending_compaction_bytes_limit: Option<ReadableSize>,
    /// Bytes to compact that stop writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_pending_compaction_bytes_limit: Option<ReadableSize>,
    /// Seconds after which a file is compacted in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periodic_compaction_seconds: Option<u64>,
    /// Whether each new file is read once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paranoid_file_checks: Option<bool>,
    /// Seconds after which a file is compacted with the next level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}
