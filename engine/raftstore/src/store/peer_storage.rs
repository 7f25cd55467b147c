//! A peer's persistent state: its log in raft-engine, its states in CF raft.
//! Mirrors `raftstore::store::peer_storage`.
use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
};

use engine_rocks::{CF_RAFT, RocksWriteBatch};
use kvproto::{
    eraftpb::HardState,
    metapb::{self, Region},
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RaftTruncatedState, RegionLocalState},
};
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, Snapshot},
};
use raft_log_engine::convert;

use super::{
    Engines, SnapKey,
    async_io::write::WriteTask,
    entry_cache::EntryCache,
    util::{RAFT_INIT_LOG_INDEX, RAFT_INIT_LOG_TERM, conf_state_from_region},
    worker::region::GenSnapTask,
};
use crate::{Error, Result};

/// Outcome of applying a snapshot.
#[derive(Debug)]
pub struct SnapshotApplied {
    pub key: SnapKey,
    pub result: Result<(), String>,
}

enum SnapState {
    Relax,
    Generating(Receiver<Snapshot>),
    Applying,
}

/// Persistent state of one peer, as the `raft` crate reads it.
pub struct PeerStorage {
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

pub fn first_index(state: &RaftApplyState) -> u64 {
    truncated(state).index + 1
}

fn truncated(state: &RaftApplyState) -> RaftTruncatedState {
    state.truncated_state.unwrap_or_default()
}

/// Returns the state of a region's log before its first entry.
pub fn initial_raft_state() -> RaftLocalState {
    let hard_state = HardState { term: RAFT_INIT_LOG_TERM, vote: 0, commit: RAFT_INIT_LOG_INDEX };
    RaftLocalState { hard_state: Some(hard_state), last_index: RAFT_INIT_LOG_INDEX }
}

pub fn initial_apply_state() -> RaftApplyState {
    let truncated = RaftTruncatedState { index: RAFT_INIT_LOG_INDEX, term: RAFT_INIT_LOG_TERM };
    RaftApplyState {
        applied_index: RAFT_INIT_LOG_INDEX,
        truncated_state: Some(truncated),
        ..Default::default()
    }
}

pub fn write_peer_state(batch: &mut RocksWriteBatch, region: &Region, state: PeerState) -> Result<()> {
    let state = RegionLocalState { state: state as i32, region: Some(region.clone()), ..Default::default() };
    Ok(batch.put_msg_cf(CF_RAFT, &keys::region_state_key(region.id), &state)?)
}

pub fn write_apply_state(batch: &mut RocksWriteBatch, region_id: u64, state: &RaftApplyState) -> Result<()> {
    Ok(batch.put_msg_cf(CF_RAFT, &keys::apply_state_key(region_id), state)?)
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

    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    pub fn region_id(&self) -> u64 {
        self.region.id
    }

    pub fn set_region(&mut self, region: Region) {
        self.region = Arc::new(region);
    }

    /// Whether the peer has its region's membership, from bootstrap, a split or a snapshot.
    pub fn is_initialized(&self) -> bool {
        !self.region.peers.is_empty()
    }

    pub fn raft_state(&self) -> &RaftLocalState {
        &self.raft_state
    }

    pub fn apply_state(&self) -> &RaftApplyState {
        &self.apply_state
    }

    pub fn applied_index(&self) -> u64 {
        self.apply_state.applied_index
    }

    pub fn applied_term(&self) -> u64 {
        self.applied_term
    }

    pub fn set_applied(&mut self, state: RaftApplyState, term: u64) {
        self.apply_state = state;
        self.applied_term = term;
        // Applied entries are durable and are never replaced.
        self.cache.compact_to(self.apply_state.applied_index);
    }

    pub fn log_first_index(&self) -> u64 {
        first_index(&self.apply_state)
    }

    pub fn log_last_index(&self) -> u64 {
        self.raft_state.last_index
    }

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

    pub fn is_applying_snapshot(&self) -> bool {
        matches!(*self.snap_state.borrow(), SnapState::Applying)
    }

    pub fn finish_applying(&self) {
        *self.snap_state.borrow_mut() = SnapState::Relax;
    }

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

/// Loads the log state. The state of a snapshot wins if the log was not replaced yet.
/// TiKV: `init_raft_state`.
fn init_raft_state(engines: &Engines, region: &Region) -> Result<RaftLocalState> {
    let on_disk = engines.raft.get_raft_state(region.id)?;
    let of_snapshot: Option<RaftLocalState> =
        engines.kv.get_msg_cf(CF_RAFT, &keys::snapshot_raft_state_key(region.id))?;
    if let Some(snap) = of_snapshot
        && on_disk.as_ref().is_none_or(|s| s.last_index < snap.last_index)
    {
        write_raft_state(engines, region.id, &snap, true)?;
        return Ok(snap);
    }
    match on_disk {
        // The state was written by a peer without a log, before the region was known to begin here.
        Some(state) if state.last_index == 0 && !region.peers.is_empty() => {
            let mut fresh = initial_raft_state();
            if let (Some(hs), Some(old)) = (&mut fresh.hard_state, state.hard_state)
                && old.term > hs.term
            {
                (hs.term, hs.vote) = (old.term, old.vote);
            }
            write_raft_state(engines, region.id, &fresh, false)?;
            Ok(fresh)
        }
        Some(state) => Ok(state),
        None if region.peers.is_empty() => Ok(RaftLocalState::default()),
        None => {
            let state = initial_raft_state();
            write_raft_state(engines, region.id, &state, false)?;
            Ok(state)
        }
    }
}

fn write_raft_state(engines: &Engines, region_id: u64, state: &RaftLocalState, clean: bool) -> Result<()> {
    let mut batch = engines.raft.log_batch(2);
    if clean {
        batch.clean(region_id);
    }
    batch.put_raft_state(region_id, state)?;
    engines.raft.consume(&mut batch, true)?;
    Ok(())
}

/// Checks that log and data fit together. TiKV: `validate_states`. The commit index is written only with the
/// next Ready, so it may be below the applied index.
fn check_states(
    region: &Region,
    raft_state: &mut RaftLocalState,
    apply_state: &RaftApplyState,
) -> Result<()> {
    let hard_state = raft_state.hard_state.get_or_insert_default();
    hard_state.commit = hard_state.commit.max(apply_state.commit_index).max(apply_state.applied_index);
    if hard_state.commit > raft_state.last_index {
        return Err(Error::other(format!(
            "region {}: the log ends at {}, but entries up to {} are committed; the Raft log and the data do not \
             belong together (was one of them restored or removed?)",
            region.id, raft_state.last_index, hard_state.commit
        )));
    }
    Ok(())
}

fn term_on_disk(engines: &Engines, region_id: u64, index: u64, apply_state: &RaftApplyState) -> Result<u64> {
    let truncated = truncated(apply_state);
    if index == 0 {
        return Ok(0);
    }
    if index == truncated.index {
        return Ok(truncated.term);
    }
    let missing = || Error::other(format!("region {region_id}: entry {index} is missing in the Raft log"));
    Ok(engines.raft.get_entry(region_id, index)?.ok_or_else(missing)?.term)
}

/// Removes the persistent state of a region's Raft group. TiKV: `clear_meta`.
pub fn clear_meta(engines: &Engines, batch: &mut RocksWriteBatch, region_id: u64) -> Result<()> {
    batch.delete_cf(CF_RAFT, &keys::region_state_key(region_id))?;
    batch.delete_cf(CF_RAFT, &keys::apply_state_key(region_id))?;
    batch.delete_cf(CF_RAFT, &keys::snapshot_raft_state_key(region_id))?;
    Ok(engines.raft.clean(region_id, false)?)
}

/// Writes the tombstone of a peer that leaves the store.
pub fn write_tombstone(engines: &Engines, region: &Region, peer: &metapb::Peer) -> Result<()> {
    let mut batch = engines.kv.write_batch();
    clear_meta(engines, &mut batch, region.id)?;
    let mut region = region.clone();
    if region.peers.is_empty() {
        // An uninitialized peer has no membership, only its own ids.
        region.peers.push(*peer);
    }
    write_peer_state(&mut batch, &region, PeerState::Tombstone)?;
    Ok(batch.write_opt(true)?)
}

#[cfg(test)]
mod tests;
