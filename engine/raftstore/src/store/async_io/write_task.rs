//! The data that one Ready must persist.
use engine_rocks::RocksWriteBatch;
use kvproto::raft_serverpb::RaftLocalState;
use raft::eraftpb::Entry;

/// Data that one Ready must persist.
pub struct WriteTask {
    /// Id of the region.
    pub region_id: u64,
    /// Id of the peer.
    pub peer_id: u64,
    /// Number of the Ready.
    pub ready_number: u64,
    /// Log entries.
    pub entries: Vec<Entry>,
    /// New state of the log.
    pub raft_state: Option<RaftLocalState>,
    /// Drop the old log first: a snapshot replaced it.
    pub clean_log: bool,
    /// Region states that must be persisted before the log changes.
    pub kv_wb: Option<RocksWriteBatch>,
}

impl WriteTask {
    /// Creates a task without data.
    pub fn new(region_id: u64, peer_id: u64, ready_number: u64) -> Self {
        Self {
            region_id,
            peer_id,
            ready_number,
            entries: Vec::new(),
            raft_state: None,
            clean_log: false,
            kv_wb: None,
        }
    }

    /// Whether the task contains anything to write.
    pub fn has_data(&self) -> bool {
        !self.entries.is_empty() || self.raft_state.is_some() || self.kv_wb.is_some()
    }
}
