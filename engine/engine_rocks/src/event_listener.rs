//! Counts RocksDB's background work.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use rocksdb::event_listener::{
    CompactionJobInfo, EventListener, FlushJobInfo, IngestionInfo, WriteStallInfo,
};

/// Counters updated by RocksDB's threads.
#[derive(Debug, Default)]
pub struct EventCounters {
    flushes: AtomicU64,
    compactions: AtomicU64,
    compaction_input_bytes: AtomicU64,
    compaction_output_bytes: AtomicU64,
    ingested_files: AtomicU64,
    stall_changes: AtomicU64,
}

/// Values of the counters at one time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct EventCounts {
    /// Memtables flushed.
    pub flushes: u64,
    /// Compactions completed.
    pub compactions: u64,
    /// Bytes that compactions read.
    pub compaction_input_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_output_bytes: u64,
    /// External files ingested.
    pub ingested_files: u64,
    /// Number of starts and ends of write stalls in column families.
    pub stall_changes: u64,
}

impl EventCounters {
    /// Returns the current values.
    pub fn get(&self) -> EventCounts {
        EventCounts {
            flushes: self.flushes.load(Relaxed),
            compactions: self.compactions.load(Relaxed),
            compaction_input_bytes: self.compaction_input_bytes.load(Relaxed),
            compaction_output_bytes: self.compaction_output_bytes.load(Relaxed),
            ingested_files: self.ingested_files.load(Relaxed),
            stall_changes: self.stall_changes.load(Relaxed),
        }
    }
}

pub(crate) struct CountingListener(pub Arc<EventCounters>);

impl EventListener for CountingListener {
    fn on_flush_completed(&self, _: &FlushJobInfo) {
        self.0.flushes.fetch_add(1, Relaxed);
    }

    fn on_compaction_completed(&self, info: &CompactionJobInfo) {
        self.0.compactions.fetch_add(1, Relaxed);
        self.0.compaction_input_bytes.fetch_add(info.total_input_bytes(), Relaxed);
        self.0.compaction_output_bytes.fetch_add(info.total_output_bytes(), Relaxed);
    }

    fn on_external_file_ingested(&self, _: &IngestionInfo) {
        self.0.ingested_files.fetch_add(1, Relaxed);
    }

    fn on_stall_conditions_changed(&self, _: &WriteStallInfo) {
        self.0.stall_changes.fetch_add(1, Relaxed);
    }
}
