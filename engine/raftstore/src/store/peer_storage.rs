//! A peer's persistent state: its log in raft-engine, its states in CF raft.
//! Mirrors `raftstore::store::peer_storage`.
mod states;

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
};

use engine_rocks::CF_RAFT;
use kvproto::{
    metapb::Region,
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RaftTruncatedState},
};
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, Snapshot},
};
use raft_log_engine::convert;

use states::{check_states, init_raft_state, term_on_disk, truncated};
pub use states::{
    first_index, initial_apply_state, initial_raft_state, write_apply_state, write_peer_state,
    write_tombstone,
};

use super::{
    async_io::WriteTask, engines::Engines, entry_cache::EntryCache, fsm::apply::GenSnapTask, snap::SnapKey,
    util::conf_state_from_region,
};
use crate::Result;

enum SnapState {
    Relax,
    Generating(Receiver<Snapshot>),
    Applying,
}

/// Persistent state of one peer, as the `raft` crate reads it.
pub struct PeerStorage {
    /// The store's engines.
    pub engines: Engines,
    peer_id: u64,
    region: Arc<Region>,
    raft_state: RaftLocalState,
    apply_state: RaftApplyState,
    applied_term: u64,
    last_term: u64,
    cache: EntryCache,
    snap_state: RefCell<SnapState>,
    gen_snap_task: RefCell<Option<GenSnapTask>>,
    snap_tried: Cell<u32>,
}

fn unavailable() -> raft::Error {
    raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)
}

fn storage_error(err: impl std::error::Error + Send + Sync + 'static) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(err)))
}

impl PeerStorage {
    /// Loads the state from disk, or initializes the state of a new region.
    pub fn new(engines: Engines, region: Region, peer_id: u64) -> Result<Self> {
        let initialized = !region.peers.is_empty();
        let apply_state = match engines.kv.get_msg_cf(CF_RAFT, &keys::apply_state_key(region.id))? {
            Some(state) => state,
            None if initialized => initial_apply_state(),
            None => RaftApplyState::default(),
        };
        let mut raft_state = init_raft_state(&engines, &region)?;
        check_states(&region, &mut raft_state, &apply_state)?;
        let term_of = |index| term_on_disk(&engines, region.id, index, &apply_state);
        let last_term = term_of(raft_state.last_index)?;
        let applied_term = term_of(apply_state.applied_index)?;
        Ok(PeerStorage {
            peer_id,
            region: Arc::new(region),
            raft_state,
            apply_state,
            applied_term,
            last_term,
            cache: EntryCache::default(),
            snap_state: RefCell::new(SnapState::Relax),
            gen_snap_task: RefCell::new(None),
            snap_tried: Cell::new(0),
            engines,
        })
    }

    /// Returns the region.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Returns the id of the region.
    pub fn region_id(&self) -> u64 {
        self.region.id
    }

    /// Replaces the region.
    pub fn set_region(&mut self, region: Region) {
        self.region = Arc::new(region);
    }

    /// Whether the peer has its region's membership, from bootstrap, a split or a snapshot.
    pub fn is_initialized(&self) -> bool {
        !self.region.peers.is_empty()
    }

    /// Returns the state of the log.
    pub fn raft_state(&self) -> &RaftLocalState {
        &self.raft_state
    }

    /// Returns the state of the applied data.
    pub fn apply_state(&self) -> &RaftApplyState {
        &self.apply_state
    }

    /// Returns the index of the last applied entry.
    pub fn applied_index(&self) -> u64 {
        self.apply_state.applied_index
    }

    /// Returns the term of the last applied entry.
    pub fn applied_term(&self) -> u64 {
        self.applied_term
    }

    /// Records what the apply FSM has applied.
    pub fn set_applied(&mut self, state: RaftApplyState, term: u64) {
        self.apply_state = state;
        self.applied_term = term;
        // Applied entries are durable and are never replaced.
        self.cache.compact_to(self.apply_state.applied_index);
    }

    /// Returns the index of the log's first entry.
    pub fn log_first_index(&self) -> u64 {
        first_index(&self.apply_state)
    }

    /// Returns the index of the log's last entry.
    pub fn log_last_index(&self) -> u64 {
        self.raft_state.last_index
    }

    /// Returns the index up to which the log is compacted.
    pub fn truncated_index(&self) -> u64 {
        truncated(&self.apply_state).index
    }

    /// Adds new entries to the log; `task` writes them. TiKV: `EntryStorage::append`.
    pub fn append(&mut self, entries: Vec<Entry>, task: &mut WriteTask) {
        let Some(last) = entries.last() else { return };
        self.raft_state.last_index = last.index;
        self.last_term = last.term;
        self.cache.append(&entries);
        task.entries = entries;
    }

    /// Replaces term, vote and commit index; a Ready writes them.
    pub fn set_hard_state(&mut self, hs: &raft::eraftpb::HardState) {
        self.raft_state.hard_state = Some(convert::hard_state_from_raft(hs.clone()));
    }

    /// Replaces the whole state with that of a snapshot; `task` writes it. The region worker later writes the
    /// data.
    ///
    /// TiKV: `PeerStorage::apply_snapshot`.
    pub fn apply_snapshot(&mut self, snap: &Snapshot, region: Region, task: &mut WriteTask) -> Result<()> {
        let (index, term) = (snap.get_metadata().index, snap.get_metadata().term);
        self.raft_state.last_index = index;
        self.last_term = term;
        self.applied_term = term;
        self.apply_state = RaftApplyState {
            applied_index: index,
            commit_index: index,
            commit_term: term,
            truncated_state: Some(RaftTruncatedState { index, term }),
            ..Default::default()
        };
        self.cache.clear();
        let mut batch = self.engines.kv.write_batch();
        write_peer_state(&mut batch, &region, PeerState::Applying)?;
        write_apply_state(&mut batch, region.id, &self.apply_state)?;
        batch.put_msg_cf(CF_RAFT, &keys::snapshot_raft_state_key(region.id), &self.raft_state)?;
        task.kv_wb = Some(batch);
        task.clean_log = true;
        *self.snap_state.borrow_mut() = SnapState::Applying;
        self.set_region(region);
        Ok(())
    }

    /// Marks the snapshot as being applied; for a start after an interrupted apply.
    pub fn set_applying(&self) {
        *self.snap_state.borrow_mut() = SnapState::Applying;
    }

    /// Whether a snapshot replaces the data.
    pub fn is_applying_snapshot(&self) -> bool {
        matches!(*self.snap_state.borrow(), SnapState::Applying)
    }

    /// Records that the snapshot is applied.
    pub fn finish_applying(&self) {
        *self.snap_state.borrow_mut() = SnapState::Relax;
    }

    /// Whether a snapshot for a follower is being generated.
    pub fn is_generating_snapshot(&self) -> bool {
        matches!(*self.snap_state.borrow(), SnapState::Generating(_))
    }

    /// Takes the snapshot task that Raft requested, unless it is already scheduled.
    pub fn take_gen_snap_task(&self) -> Option<GenSnapTask> {
        self.gen_snap_task.borrow_mut().take()
    }

    /// Returns the key of the snapshot being applied.
    pub fn snap_key(&self) -> SnapKey {
        let truncated = truncated(&self.apply_state);
        SnapKey::new(self.region.id, truncated.term, truncated.index)
    }

    fn valid(&self, snap: &Snapshot, request_index: u64) -> bool {
        let index = snap.get_metadata().index;
        index >= self.truncated_index() && index >= request_index
    }

    fn fetch(&self, low: u64, high: u64, max_size: u64) -> raft::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity((high - low).min(64) as usize);
        let cached = self.cache.first_index().unwrap_or(high).clamp(low, high);
        let mut size = 0;
        if low < cached {
            let limit = usize::try_from(max_size).ok();
            let id = self.region.id;
            let got = self.engines.raft.fetch_entries_to(id, low, cached, limit, &mut entries);
            got.map_err(storage_error)?;
            if (entries.len() as u64) < cached - low {
                return Ok(entries);
            }
            size = entries.iter().map(|e| u64::from(protobuf::Message::compute_size(e))).sum();
        }
        if size <= max_size || entries.is_empty() {
            self.cache.fetch_to(cached, high, &mut size, max_size, &mut entries);
        }
        Ok(entries)
    }

    fn check_range(&self, low: u64, high: u64) -> raft::Result<()> {
        if low <= self.truncated_index() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.log_last_index() + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        Ok(())
    }
}

impl Storage for PeerStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard_state = convert::hard_state_to_raft(self.raft_state.hard_state.unwrap_or_default());
        let conf =
            if self.is_initialized() { conf_state_from_region(&self.region) } else { ConfState::default() };
        Ok(RaftState::new(hard_state, conf))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        self.check_range(low, high)?;
        if low >= high {
            return Ok(Vec::new());
        }
        self.fetch(low, high, max_size.into().unwrap_or(u64::MAX))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated_index() {
            return Ok(truncated(&self.apply_state).term);
        }
        self.check_range(index, index + 1)?;
        if index == self.log_last_index() {
            return Ok(self.last_term);
        }
        if let Some(entry) = self.cache.entry(index) {
            return Ok(entry.term);
        }
        let entry = self.engines.raft.get_entry(self.region.id, index).map_err(storage_error)?;
        entry.map(|e| e.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log_first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log_last_index())
    }

    /// Requests a snapshot, which is generated in the background; Raft asks again until it is ready.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let mut state = self.snap_state.borrow_mut();
        match &*state {
            SnapState::Applying => return Err(unavailable()),
            SnapState::Generating(rx) => match rx.try_recv() {
                Err(TryRecvError::Empty) => return Err(unavailable()),
                Ok(snap) if self.valid(&snap, request_index) => {
                    *state = SnapState::Relax;
                    self.snap_tried.set(0);
                    return Ok(snap);
                }
                // Generation failed, or the snapshot is outdated: try again.
                Ok(_) | Err(TryRecvError::Disconnected) => self.snap_tried.set(self.snap_tried.get() + 1),
            },
            SnapState::Relax => {}
        }
        let (tx, rx) = sync_channel(1);
        log::info!("region {} peer {}: requests a snapshot for peer {to}", self.region.id, self.peer_id);
        *state = SnapState::Generating(rx);
        *self.gen_snap_task.borrow_mut() = Some(GenSnapTask { region_id: self.region.id, notifier: tx });
        Err(unavailable())
    }
}

#[cfg(test)]
mod tests;
