//! RocksDB options that are set only if they are given; otherwise RocksDB's
//! defaults apply. Names and types are TiKV's.
use serde::{Deserialize, Serialize};

use super::ReadableSize;

/// Options of the database, in `[rocksdb]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DbTuning {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sub_compactions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_sync: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes_per_sync: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction_readahead_size: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats_dump_period_sec: Option<u32>,
}

/// Options of a column family, in `[rocksdb.defaultcf]` and the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CfTuning {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_write_buffer_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_auto_compactions: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_file_num_compaction_trigger: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_slowdown_writes_trigger: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level0_stop_writes_trigger: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_file_size_base: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_for_level_base: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_for_level_multiplier: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_compaction_bytes: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_pending_compaction_bytes_limit: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_pending_compaction_bytes_limit: Option<ReadableSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub periodic_compaction_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paranoid_file_checks: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}
