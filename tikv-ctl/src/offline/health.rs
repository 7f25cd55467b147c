//! Finds regions that a store could not start with (TiKV `bad_regions`: the checks of `PeerStorage` at load).
use std::fmt::Display;

use keys::RAFT_INIT_LOG_INDEX;
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

/// Returns the ids of bad regions, each with the reason.
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

/// Returns the error in the states of region `id` on store `store_id`, if any.
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
    let Some(peer) = region.find_peer(store_id) else {
        return Ok(Err("RegionLocalState doesn't contains peer itself".to_owned()));
    };
    let raft = info.raft_local_state.unwrap_or_else(|| initial_raft_state(&region));
    let apply = info.raft_apply_state.unwrap_or_else(|| initial_apply_state(&region));
    let why = match check_states(entry, id, &raft, &apply)? {
        Err(why) => {
            let inner = format!("[region {id}] {} validate state fail: Other({why:?})", peer.id);
            Err(at("components/raftstore/src/store/entry_storage.rs:813", inner))
        }
        Ok(()) => check_ends(entry, id, &raft, &apply)?,
    };
    Ok(why.map_err(|why| at("src/server/debug.rs:484", format!("{why:?}"))))
}

/// Formats an error as TiKV does, with the source lines that it passes through.
fn at(place: &str, what: impl Display) -> String {
    format!("[{place}]: {what}")
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

/// TiKV `validate_states`.
fn check_states(
    entry_of: EntryOf<'_>,
    id: u64,
    raft: &RaftLocalState,
    apply: &RaftApplyState,
) -> Answer<Result<(), String>> {
    let hard = raft.hard_state.unwrap_or_default();
    let fails = |line: u32, what: String| {
        let text = |name, bytes: Vec<u8>| message_text(name, &bytes).unwrap_or_default();
        let states = format!(
            "region {id}, raft state {}, apply state {}",
            text("raft_serverpb.RaftLocalState", raft.encode_to_vec()),
            text("raft_serverpb.RaftApplyState", apply.encode_to_vec())
        );
        let place = format!("components/raftstore/src/store/entry_storage.rs:{line}");
        Ok(Err(at(&place, format!("{what}, {states}"))))
    };
    let mut commit = hard.commit;
    if commit < apply.commit_index {
        let entry = entry_of(id, apply.commit_index)?;
        if entry.is_none_or(|entry| entry.term != apply.commit_term) {
            let (term, index) = (apply.commit_term, apply.commit_index);
            return fails(
                623,
                format!("log at recorded commit index [{term}] {index} doesn't exist, may lose data"),
            );
        }
        commit = apply.commit_index;
    }
    if commit > raft.last_index {
        return fails(638, "max(commit index, recorded commit index) > last index".to_owned());
    }
    if hard.term < apply.commit_term {
        return fails(647, "term of raft state < commit term of apply state".to_owned());
    }
    Ok(Ok(()))
}

/// Checks that the last entry and the last applied one exist, unless they were truncated or never written
/// (TiKV `init_last_term`, `init_applied_term`).
fn check_ends(
    entry_of: EntryOf<'_>,
    id: u64,
    raft: &RaftLocalState,
    apply: &RaftApplyState,
) -> Answer<Result<(), String>> {
    let truncated = apply.truncated_state.unwrap_or_default().index;
    let (last, applied) = (raft.last_index, apply.applied_index);
    let ends = [
        (676, "", last, [0, RAFT_INIT_LOG_INDEX, truncated].contains(&last)),
        (708, "apply index ", applied, [RAFT_INIT_LOG_INDEX, truncated].contains(&applied) || applied > last),
    ];
    for (line, what, index, known) in ends {
        if !known && entry_of(id, index)?.is_none() {
            let text = format!("[region {id}] entry at {what}{index} doesn't exist, may lose data.");
            return Ok(Err(at(&format!("components/raftstore/src/store/entry_storage.rs:{line}"), text)));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use kvproto::{eraftpb::HardState, metapb::Peer, raft_serverpb::RaftTruncatedState};

    use super::*;

    fn check_with(raft: (u64, u64, u64), apply: (u64, u64, u64)) -> Result<(), String> {
        let peer = Peer { id: 3, store_id: 1, ..Default::default() };
        let region = Region { id: 2, peers: vec![peer], ..Default::default() };
        let (term, commit, last_index) = raft;
        let (applied_index, commit_index, commit_term) = apply;
        let info = RegionInfo {
            region_local_state: Some(RegionLocalState { region: Some(region), ..Default::default() }),
            raft_local_state: Some(RaftLocalState {
                hard_state: Some(HardState { term, vote: 3, commit }),
                last_index,
            }),
            raft_apply_state: Some(RaftApplyState {
                applied_index,
                commit_index,
                commit_term,
                truncated_state: Some(RaftTruncatedState { index: 6, term: 6 }),
                ..Default::default()
            }),
        };
        let entry = |_, index| Ok((index == 9).then(|| Entry { term: 6, index, ..Default::default() }));
        check_region(1, 2, &info, &entry).unwrap()
    }

    #[test]
    fn states_that_agree_are_healthy() {
        assert_eq!(check_with((6, 9, 9), (9, 9, 6)), Ok(()));
        assert_eq!(check_with((6, 8, 9), (6, 9, 6)), Ok(()));
    }

    #[test]
    fn errors_name_the_source_lines_of_tikv() {
        let storage = "components/raftstore/src/store/entry_storage.rs";
        assert_eq!(
            check_with((6, 10, 9), (9, 9, 6)),
            Err(format!(
                "[src/server/debug.rs:484]: \"[{storage}:813]: [region 2] 3 validate state fail: \
                 Other(\\\"[{storage}:638]: max(commit index, recorded commit index) > last index, region 2, raft state \
                 hard_state {{ term: 6 vote: 3 commit: 10 }} last_index: 9, apply state applied_index: 9 \
                 commit_index: 9 commit_term: 6 truncated_state {{ index: 6 term: 6 }}\\\")\""
            ))
        );
        assert_eq!(
            check_with((6, 8, 8), (8, 8, 6)),
            Err(format!(
                "[src/server/debug.rs:484]: \"[{storage}:676]: [region 2] entry at 8 doesn't exist, may lose data.\""
            ))
        );
        assert_eq!(
            check_with((6, 9, 9), (7, 9, 6)),
            Err(format!(
                "[src/server/debug.rs:484]: \"[{storage}:708]: [region 2] entry at apply index 7 doesn't exist, may lose \
                 data.\""
            ))
        );
    }
}
