//! Batches of changes to the logs.
use kvproto::raft_serverpb::RaftLocalState;
use prost::Message;
use raft::eraftpb::Entry;
use raft_engine::{Command, LogBatch};

use crate::{Error, MessageExtTyped, RAFT_LOG_STATE_KEY, Result};

/// Log changes that take effect together.
///
/// TiKV: `raft_log_engine::engine::RaftLogBatch`.
#[derive(Default)]
pub struct RaftLogBatch {
    pub(crate) batch: LogBatch,
    /// Appended runs, in order, to check before the write.
    pub(crate) appended: Vec<Appended>,
    /// Cleaned regions: appends to them need no predecessor.
    pub(crate) cleaned: Vec<u64>,
}

/// Run of entries.
pub(crate) struct Appended {
    /// Id of the region.
    pub region_id: u64,
    /// Index of the first entry.
    pub first: u64,
    /// Index of the last entry.
    pub last: u64,
}

impl RaftLogBatch {
    /// Creates an empty batch with room for `capacity` changes.
    pub fn with_capacity(capacity: usize) -> RaftLogBatch {
        RaftLogBatch { batch: LogBatch::with_capacity(capacity), ..RaftLogBatch::default() }
    }

    /// Appends entries; replaces existing entries from the first new index on.
    pub fn append(&mut self, region_id: u64, entries: Vec<Entry>) -> Result<()> {
        for pair in entries.windows(2) {
            let (expected, found) = (pair[0].index.saturating_add(1), pair[1].index);
            if expected != found {
                return Err(Error::NotContiguous { region_id, expected, found });
            }
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.batch.add_entries::<MessageExtTyped>(region_id, &entries)?;
            self.appended.push(Appended { region_id, first: first.index, last: last.index });
        }
        Ok(())
    }

    /// Marks entries in `from..to` as stale. Writes nothing: raft-engine drops them by itself when earlier
    /// entries are appended. Exists because TiKV's writer calls it.
    pub fn cut_logs(&mut self, _region_id: u64, _from: u64, _to: u64) {}

    /// Sets the region's Raft state.
    pub fn put_raft_state(&mut self, region_id: u64, state: &RaftLocalState) -> Result<()> {
        Ok(self.batch.put(region_id, RAFT_LOG_STATE_KEY.to_vec(), state.encode_to_vec())?)
    }

    /// Removes all data of the region.
    pub fn clean(&mut self, region_id: u64) {
        self.batch.add_command(region_id, Command::Clean);
        self.cleaned.push(region_id);
    }

    /// Removes entries below `to`.
    pub fn gc(&mut self, region_id: u64, to: u64) {
        self.batch.add_command(region_id, Command::Compact { index: to });
    }

    /// Returns the bytes on disk, before compression.
    pub fn persist_size(&self) -> usize {
        self.batch.approximate_size()
    }

    /// Whether the batch has no changes.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Appends the changes of `other` to this batch.
    pub fn merge(&mut self, mut other: RaftLogBatch) -> Result<()> {
        self.batch.merge(&mut other.batch)?;
        self.appended.append(&mut other.appended);
        self.cleaned.append(&mut other.cleaned);
        Ok(())
    }
}

impl std::fmt::Debug for RaftLogBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLogBatch").field("persist_size", &self.persist_size()).finish()
    }
}
