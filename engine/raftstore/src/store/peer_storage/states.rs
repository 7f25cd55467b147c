//! The persistent states of a peer: how they begin, are written, checked and removed.
use engine_rocks::{CF_RAFT, RocksWriteBatch};
use keys::{RAFT_INIT_LOG_INDEX, RAFT_INIT_LOG_TERM};
use kvproto::{
    eraftpb::HardState,
    metapb::{self, Region},
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RaftTruncatedState, RegionLocalState},
};

use crate::{Error, Result, store::engines::Engines};

/// Returns the index of the log's first entry.
pub fn first_index(state: &RaftApplyState) -> u64 {
    truncated(state).index + 1
}

pub(super) fn truncated(state: &RaftApplyState) -> RaftTruncatedState {
    state.truncated_state.unwrap_or_default()
}

/// Returns the state of a region's log before its first entry.
pub fn initial_raft_state() -> RaftLocalState {
    let hard_state = HardState { term: RAFT_INIT_LOG_TERM, vote: 0, commit: RAFT_INIT_LOG_INDEX };
    RaftLocalState { hard_state: Some(hard_state), last_index: RAFT_INIT_LOG_INDEX }
}

/// Returns the state of a region's data before its first entry.
pub fn initial_apply_state() -> RaftApplyState {
    let truncated = RaftTruncatedState { index: RAFT_INIT_LOG_INDEX, term: RAFT_INIT_LOG_TERM };
    RaftApplyState {
        applied_index: RAFT_INIT_LOG_INDEX,
        truncated_state: Some(truncated),
        ..Default::default()
    }
}

/// Adds the region and its peer's state to the batch.
pub fn write_peer_state(batch: &mut RocksWriteBatch, region: &Region, state: PeerState) -> Result<()> {
    let state = RegionLocalState { state: state as i32, region: Some(region.clone()), ..Default::default() };
    Ok(batch.put_msg_cf(CF_RAFT, &keys::region_state_key(region.id), &state)?)
}

/// Adds the apply state to the batch.
pub fn write_apply_state(batch: &mut RocksWriteBatch, region_id: u64, state: &RaftApplyState) -> Result<()> {
    Ok(batch.put_msg_cf(CF_RAFT, &keys::apply_state_key(region_id), state)?)
}

/// Loads the log state. The state of a snapshot wins if the log was not replaced yet.
/// TiKV: `init_raft_state`.
pub(super) fn init_raft_state(engines: &Engines, region: &Region) -> Result<RaftLocalState> {
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
pub(super) fn check_states(
    region: &Region,
    raft_state: &mut RaftLocalState,
    apply_state: &RaftApplyState,
) -> Result<()> {
    let hard_state = raft_state.hard_state.get_or_insert_default();
    hard_state.commit = hard_state.commit.max(apply_state.commit_index).max(apply_state.applied_index);
    if hard_state.commit > raft_state.last_index {
        return Err(Error::other(format!(
            "region {}: the log ends at {}, but entries up to {} are committed; the Raft log and the data are not \
             of the same time: restore both from one copy, or replace the store",
            region.id, raft_state.last_index, hard_state.commit
        )));
    }
    Ok(())
}

pub(super) fn term_on_disk(
    engines: &Engines,
    region_id: u64,
    index: u64,
    apply_state: &RaftApplyState,
) -> Result<u64> {
    let truncated = truncated(apply_state);
    if index == 0 {
        return Ok(0);
    }
    if index == truncated.index {
        return Ok(truncated.term);
    }
    let missing =
        || Error::other(format!("region {region_id}: expected entry {index} in the Raft log, found none"));
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
