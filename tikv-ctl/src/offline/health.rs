//! Regions that a store could not start with (TiKV `bad_regions`: what `PeerStorage` checks as it loads).

use kvproto::{
    eraftpb::Entry,
    metapb::Region,
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RegionLocalState},
};
use prost::Message;

use super::Offline;
use crate::{
    source::{Answer, RegionInfo},
    text::message_text,
};

/// First index and term of a region's log (TiKV `RAFT_INIT_LOG_INDEX`, `RAFT_INIT_LOG_TERM`).
const RAFT_INIT_LOG_INDEX: u64 = 5;

/// Ids of bad regions, each with what is wrong.
pub fn bad_regions(store: &Offline) -> Answer<Vec<(u64, String)>> {
    let store_id = store.store_ident()?.store_id;
    let mut bad = Vec::new();
    store.each_region(|id, value| {
        if let Err(why) = check(store, store_id, id, value)? {
            bad.push((id, format!("{why:?}")));
        }
        Ok(())
    })?;
    Ok(bad)
}

fn check(store: &Offline, store_id: u64, id: u64, value: &[u8]) -> Answer<Result<(), String>> {
    let state = match RegionLocalState::decode(value) {
        Ok(state) => state,
        Err(e) => return Ok(Err(format!("RegionLocalState does not decode: {e}"))),
    };
    let info = RegionInfo {
        raft_local_state: store.raft.local_state(id)?,
        raft_apply_state: store.apply_state(id)?,
        region_local_state: Some(state),
    };
    check_region(store_id, id, &info, &|id, index| store.raft.entry(id, index))
}

/// Finds a region's log entry.
pub type EntryOf<'a> = &'a dyn Fn(u64, u64) -> Answer<Option<Entry>>;

/// What is wrong with the states of region `id` on store `store_id`.
pub fn check_region(
    store_id: u64,
    id: u64,
    info: &RegionInfo,
    entry: EntryOf<'_>,
) -> Answer<Result<(), String>> {
    let Some(state) = &info.region_local_state else { return Ok(Ok(())) };
    if matches!(state.state(), PeerState::Tombstone | PeerState::Applying) {
        return Ok(Ok(()));
    }
    let region = state.region.clone().unwrap_or_default();
    if region.find_peer(store_id).is_none() {
        return Ok(Err("RegionLocalState doesn't contains peer itself".to_owned()));
    }
    let raft = info.raft_local_state.unwrap_or_else(|| initial_raft_state(&region));
    let apply = info.raft_apply_state.unwrap_or_else(|| initial_apply_state(&region));
    check_states(entry, id, &raft, &apply)
}

fn initial_raft_state(region: &Region) -> RaftLocalState {
    let index = if region.peers.is_empty() { 0 } else { RAFT_INIT_LOG_INDEX };
    let hard_state = kvproto::eraftpb::HardState { term: index, commit: index, ..Default::default() };
    RaftLocalState { hard_state: Some(hard_state), last_index: index }
}

fn initial_apply_state(region: &Region) -> RaftApplyState {
    let index = if region.peers.is_empty() { 0 } else { RAFT_INIT_LOG_INDEX };
    let truncated = kvproto::raft_serverpb::RaftTruncatedState { index, term: index };
    RaftApplyState { applied_index: index, truncated_state: Some(truncated), ..Default::default() }
}

fn check_states(
    entry_of: EntryOf<'_>,
    id: u64,
    raft: &RaftLocalState,
    apply: &RaftApplyState,
) -> Answer<Result<(), String>> {
    let hard = raft.hard_state.unwrap_or_default();
    let truncated = apply.truncated_state.unwrap_or_default();
    let states = || {
        let text = |name, bytes: Vec<u8>| message_text(name, &bytes).unwrap_or_default();
        format!(
            "region {id}, raft state {}, apply state {}",
            text("raft_serverpb.RaftLocalState", raft.encode_to_vec()),
            text("raft_serverpb.RaftApplyState", apply.encode_to_vec())
        )
    };
    let mut commit = hard.commit;
    if commit < apply.commit_index {
        let entry = entry_of(id, apply.commit_index)?;
        if entry.is_none_or(|entry| entry.term != apply.commit_term) {
            return Ok(Err(format!(
                "log at recorded commit index [{}] {} doesn't exist, may lose data, {}",
                apply.commit_term,
                apply.commit_index,
                states()
            )));
        }
        commit = apply.commit_index;
    }
    if commit > raft.last_index {
        return Ok(Err(format!("max(commit index, recorded commit index) > last index, {}", states())));
    }
    if hard.term < apply.commit_term {
        return Ok(Err(format!("term of raft state < commit term of apply state, {}", states())));
    }
    // The entries at the ends must be there, but for what was truncated or never written.
    for index in [raft.last_index, apply.applied_index.min(raft.last_index)] {
        let known = [0, RAFT_INIT_LOG_INDEX, truncated.index].contains(&index);
        if !known && entry_of(id, index)?.is_none() {
            return Ok(Err(format!("[region {id}] entry at {index} doesn't exist, may lose data.")));
        }
    }
    Ok(Ok(()))
}
