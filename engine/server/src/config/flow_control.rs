//! `[storage.flow-control]` (TiKV `src/storage/config.rs`).
use serde::{Deserialize, Serialize};
use storage::txn::flow_controller;

use super::ReadableSize;

/// Limits of the scheduler's writes, before RocksDB would stall them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct FlowControlConfig {
    /// Whether flow control is on.
    pub enable: bool,
    /// Bytes to compact above which a share of the commands is refused.
    pub soft_pending_compaction_bytes_limit: ReadableSize,
    /// Bytes to compact above which all commands are refused.
    pub hard_pending_compaction_bytes_limit: ReadableSize,
    /// Number of immutable memtables above which writes are slowed down.
    pub memtables_threshold: u64,
    /// Number of files in level 0 above which writes are slowed down.
    pub l0_files_threshold: u64,
}

impl Default for FlowControlConfig {
    fn default() -> Self {
        let defaults = flow_controller::FlowControlConfig::default();
        Self {
            enable: defaults.enable,
            soft_pending_compaction_bytes_limit: ReadableSize(defaults.soft_pending_compaction_bytes_limit),
            hard_pending_compaction_bytes_limit: ReadableSize(defaults.hard_pending_compaction_bytes_limit),
            memtables_threshold: defaults.memtables_threshold,
            l0_files_threshold: defaults.l0_files_threshold,
        }
    }
}

/// Factor by which RocksDB's limit of memtables exceeds the threshold of flow control, which must act first.
/// Without a limit, raw writes, which flow control does not slow down, could fill the memory.
const MEMTABLES_ABOVE_THRESHOLD: u64 = 4;

impl FlowControlConfig {
    /// Keeps RocksDB from stalling writes while flow control is on. TiKV: `TikvConfig::validate`.
    pub(crate) fn disable_write_stall(&self, cf: &mut engine_rocks::CfConfig) {
        if self.enable {
            let memtables = self.memtables_threshold.saturating_mul(MEMTABLES_ABOVE_THRESHOLD);
            cf.disable_write_stall(i32::try_from(memtables).unwrap_or(i32::MAX));
        }
    }

    pub(crate) fn build(&self) -> flow_controller::FlowControlConfig {
        flow_controller::FlowControlConfig {
            enable: self.enable,
            soft_pending_compaction_bytes_limit: self.soft_pending_compaction_bytes_limit.0,
            hard_pending_compaction_bytes_limit: self.hard_pending_compaction_bytes_limit.0,
            memtables_threshold: self.memtables_threshold,
            l0_files_threshold: self.l0_files_threshold,
        }
    }
}
