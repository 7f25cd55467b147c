//! The sections of `tikv.toml` for RocksDB and for raft-engine, with TiKV's defaults (`src/config/mod.rs`).
use serde::{Deserialize, Serialize};

use super::{
    ReadableSize,
    tuning::{CfTuning, DbTuning},
};

/// `[rocksdb]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RocksDbConfig {
    /// Maximum number of open files; -1: no limit.
    pub max_open_files: i32,
    /// Maximum number of flushes and compactions at once.
    pub max_background_jobs: i32,
    /// Bytes of WAL at which the oldest memtables are flushed.
    pub max_total_wal_size: ReadableSize,
    /// Options that are set only if they are given.
    #[serde(flatten)]
    pub tuning: DbTuning,
    /// CF default.
    pub defaultcf: CfConfig,
    /// CF write.
    pub writecf: CfConfig,
    /// CF lock.
    pub lockcf: CfConfig,
    /// CF raft.
    pub raftcf: CfConfig,
}

impl Default for RocksDbConfig {
    fn default() -> Self {
        let cf = |mb| CfConfig { write_buffer_size: ReadableSize::mb(mb), ..CfConfig::default() };
        Self {
            max_open_files: 40_960,
            max_background_jobs: 2,
            max_total_wal_size: ReadableSize::gb(4),
            tuning: DbTuning::default(),
            defaultcf: cf(128),
            writecf: cf(128),
            lockcf: cf(32),
            raftcf: cf(128),
        }
    }
}

/// `[rocksdb.defaultcf]` and the other column families.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CfConfig {
    /// Bytes of a memtable.
    pub write_buffer_size: ReadableSize,
    /// Options that are set only if they are given.
    #[serde(flatten)]
    pub tuning: CfTuning,
}

impl Default for CfConfig {
    fn default() -> Self {
        Self { write_buffer_size: ReadableSize::mb(128), tuning: CfTuning::default() }
    }
}

/// `[raft-engine]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RaftEngineConfig {
    /// Must be true: there is no other log.
    pub enable: bool,
    /// Empty: `raft-engine/` in the data directory.
    pub dir: String,
    /// Bytes of a log file.
    pub target_file_size: ReadableSize,
    /// Bytes of log files above which old ones are removed or rewritten.
    pub purge_threshold: ReadableSize,
    /// Bytes above which a batch is compressed.
    pub batch_compression_threshold: ReadableSize,
}

impl Default for RaftEngineConfig {
    fn default() -> Self {
        Self {
            enable: true,
            dir: String::new(),
            target_file_size: ReadableSize::mb(128),
            purge_threshold: ReadableSize::gb(10),
            batch_compression_threshold: ReadableSize::kb(8),
        }
    }
}
