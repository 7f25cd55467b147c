//! The factors that flow control watches, and their limits.
use engine_rocks::{DATA_CFS, RocksEngine};

/// `[storage.flow-control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowControlConfig {
    /// Whether flow control is on.
    pub enable: bool,
    /// Bytes to compact above which commands are rejected.
    pub soft_pending_compaction_bytes_limit: u64,
    /// Bytes to compact above which all commands are rejected.
    pub hard_pending_compaction_bytes_limit: u64,
    /// Number of immutable memtables above which writes are slowed down.
    pub memtables_threshold: u64,
    /// Number of files in level 0 above which writes are slowed down.
    pub l0_files_threshold: u64,
}

impl Default for FlowControlConfig {
    fn default() -> Self {
        Self {
            enable: true,
            soft_pending_compaction_bytes_limit: 192 << 30,
            hard_pending_compaction_bytes_limit: 1024 << 30,
            memtables_threshold: 5,
            l0_files_threshold: 20,
        }
    }
}

/// State of an engine that decides about the flow. TiKV: `FlowControlFactorStore`.
pub trait FlowControlFactors: Send + 'static {
    /// Returns the column families.
    fn cf_names(&self) -> Vec<&'static str>;
    /// Returns the number of files in level 0.
    fn num_l0_files(&self, cf: &str) -> u64;
    /// Returns the number of memtables that are being flushed or wait for it.
    fn num_immutable_mem_table(&self, cf: &str) -> u64;
    /// Returns the estimate of the bytes that compactions must rewrite.
    fn pending_compaction_bytes(&self, cf: &str) -> u64;
    /// Returns a number that changes with every flush and compaction.
    fn events(&self) -> u64;
}

impl FlowControlFactors for RocksEngine {
    fn cf_names(&self) -> Vec<&'static str> {
        DATA_CFS.to_vec()
    }

    fn num_l0_files(&self, cf: &str) -> u64 {
        // RocksDB returns this property as text only.
        let files = self.property_value_cf(cf, "rocksdb.num-files-at-level0").ok().flatten();
        files.and_then(|files| files.parse().ok()).unwrap_or(0)
    }

    fn num_immutable_mem_table(&self, cf: &str) -> u64 {
        self.property_int_cf(cf, "rocksdb.num-immutable-mem-table").ok().flatten().unwrap_or(0)
    }

    fn pending_compaction_bytes(&self, cf: &str) -> u64 {
        self.property_int_cf(cf, "rocksdb.estimate-pending-compaction-bytes").ok().flatten().unwrap_or(0)
    }

    fn events(&self) -> u64 {
        let counts = self.event_counts();
        counts.flushes.wrapping_add(counts.compactions)
    }
}
