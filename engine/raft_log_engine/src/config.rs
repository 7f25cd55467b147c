//! Settings of the Raft logs.
use std::path::Path;

pub use raft_engine::RecoveryMode;
use raft_engine::{Config, ReadableSize};

use crate::{Error, Result};

const MIB: u64 = 1 << 20;

/// Options of the log. TiKV: the `[raft-engine]` section.
#[derive(Debug, Clone)]
pub struct RaftEngineConfig {
    /// Whether to create a missing log.
    pub create_if_missing: bool,
    /// Bytes of a log file; allocated at once.
    pub target_file_size: u64,
    /// Total bytes of log files above which old ones are removed or rewritten.
    pub purge_threshold: u64,
    /// Bytes of a batch above which LZ4 compresses it; 0 for never.
    pub batch_compression_threshold: u64,
    /// Treatment of broken records; by default the tail of the last file is cut off.
    pub recovery_mode: RecoveryMode,
    /// Number of threads that read the files at start.
    pub recovery_threads: usize,
    /// Whether removed files are kept for reuse.
    pub enable_log_recycle: bool,
}

impl Default for RaftEngineConfig {
    fn default() -> RaftEngineConfig {
        RaftEngineConfig {
            create_if_missing: true,
            target_file_size: 128 * MIB,
            purge_threshold: 10 * 1024 * MIB,
            batch_compression_threshold: 8 << 10,
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 4,
            enable_log_recycle: true,
        }
    }
}

impl RaftEngineConfig {
    /// Returns small files, for tests and for many stores in one process.
    pub fn small() -> RaftEngineConfig {
        RaftEngineConfig {
            target_file_size: MIB,
            purge_threshold: 16 * MIB,
            recovery_threads: 1,
            ..RaftEngineConfig::default()
        }
    }

    pub(crate) fn for_dir(&self, dir: &Path) -> Result<Config> {
        let dir = dir.to_str().ok_or_else(|| Error::BadPath { dir: dir.to_owned() })?;
        Ok(Config {
            dir: dir.to_owned(),
            target_file_size: ReadableSize(self.target_file_size),
            purge_threshold: ReadableSize(self.purge_threshold),
            batch_compression_threshold: ReadableSize(self.batch_compression_threshold),
            recovery_mode: self.recovery_mode,
            recovery_threads: self.recovery_threads,
            enable_log_recycle: self.enable_log_recycle,
            ..Config::default()
        })
    }
}
