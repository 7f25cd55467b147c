//! Plans of the commands: the changes that each would make (TiKV `src/server/debug.rs`).
use kvproto::{
    eraftpb::HardState,
    metapb::{Peer, PeerRole, Region, RegionEpoch},
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RaftTruncatedState, RegionLocalState},
};
use prost::Message;
use txn_types::{Key, LockOrSharedLocks, WriteRef, WriteType, parse_lock};

use super::{
    Change,
    fate::{Fate, Fates},
    flashback,
    plan::Plan,
};
use crate::{
    Error, Offline, Result,
    error::DebugError,
    offline::APPLY_STATE,
    source::{RegionInfo, Source},
    text::message_text,
};

/// First index and term of a region's log, and first version of a region (TiKV `RAFT_INIT_LOG_INDEX`,
/// `INIT_EPOCH_CONF_VER`).
const INIT_LOG: u64 = 5;
const INIT_CONF_VER: u64 = 1;

/// Fails if `regions` (all if empty) have writes in their Raft logs that their tablets lack: a server would
/// replay them on top of the new versions.
pub fn check_flushed(store: &Offline, regions: &[u64]) -> Result<()> {
    let found = store.unflushed(&|id| regions.is_empty() || regions.contains(&id))?;
    let list: Vec<String> =
        found.iter().map(|(id, (first, last))| format!("region {id}: entries {first} to {last}")).collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!(
        "the tablets lack writes of the Raft log ({}), and a server replays them when it starts, on top of the \
         changes of this command: start the store and stop it cleanly, which flushes tablets, and try again; nothing \
         was changed",
        list.join(", ")
    )))
}

/// Returns the states of a region, or the text of an error of the plan.
fn states(store: &Offline, id: u64) -> std::result::Result<RegionInfo, String> {
    store.region_info(id).map_err(|e| e.to_string())
}

fn applied(info: &RegionInfo) -> u64 {
    info.raft_apply_state.as_ref().map_or(0, |state| state.applied_index)
}

/// `tombstone`: marks regions as removed from this store. `in_pd` returns PD's region; `None` with --force.
pub fn tombstone(
    store: &Offline,
    regions: &[u64],
    in_pd: Option<&dyn Fn(u64) -> Result<Region>>,
) -> Result<Plan> {
    let store_id = store.store_info().map_err(|e| e.into_error("Debugger::get_store_info"))?.0;
    // As in TiKV: changes that PD must agree to are made as a whole, forced ones region by region.
    let mut plan = if in_pd.is_some() { Plan::whole() } else { Plan::default() };
    for id in regions {
        // TiKV looks only at the region's state: a region without any state counts as one without this state.
        let info = match store.region_info(*id) {
            Err(DebugError::NotFound(_)) => Ok(RegionInfo::default()),
            other => other.map_err(|e| e.to_string()),
        };
        let (applied, old) = match info.map(|info| (applied(&info), info.region_local_state)) {
            Ok((applied, Some(old))) => (applied, old),
            Ok((_, None)) if in_pd.is_some() => {
                plan.errors.push((*id, "Can't find RegionLocalState".to_owned()));
                continue;
            }
            Ok((_, None)) => {
                plan.errors.push((*id, format!("{id} region local state not exists")));
                continue;
            }
            Err(e) => {
                plan.errors.push((*id, e));
                continue;
            }
        };
        // PD is asked about each region before the region is checked: an unknown one ends the command.
        let known = in_pd.map(|find| find(*id)).transpose()?;
        if old.state() == PeerState::Tombstone {
            continue;
        }
        let mut new = old.clone();
        new.set_state(PeerState::Tombstone);
        if !store.has_tablets() {
            // TiKV rewrites state and region, without the state of a merge.
            new.merge_state = None;
        }
        if let Some(region) = known {
            let here = old.region.clone().unwrap_or_default();
            if let Err(why) = is_removed(store_id, &here, &region) {
                plan.errors.push((*id, why));
                continue;
            }
            new.region = Some(region);
        }
        plan.region_state(store, (*id, applied), Some(&old), &new, "becomes a tombstone");
    }
    Ok(plan)
}

/// Whether PD's `region` shows that the peer of `here` on this store was removed (TiKV `set_region_tombstone`).
fn is_removed(store_id: u64, here: &Region, region: &Region) -> std::result::Result<(), String> {
    let Some(peer) = here.find_peer(store_id) else {
        return Err("RegionLocalState doesn't contains the peer itself".to_owned());
    };
    let (old, new) = (here.epoch().conf_ver, region.epoch().conf_ver);
    if new <= old {
        let what = "invalid conf_ver: please make sure you have removed the peer by PD";
        return Err(format!("{what} (here {old}, PD {new})"));
    }
    // PD has another peer on this store: the old one was removed, and the store was chosen again.
    match region.find_peer(store_id) {
        Some(there) if there.id == peer.id => {
            Err("The peer is still in target peers: remove it by PD first".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

/// `unsafe-recover remove-fail-stores`: removes the peers on failed stores from regions.
pub fn remove_fail_stores(
    store: &Offline,
    failed: &[u64],
    regions: Option<&[u64]>,
    promote_learner: bool,
) -> Result<Plan> {
    let fails = |what: String| DebugError::Other(what).into_error("Debugger::remove_fail_stores");
    let own = store.store_info().map_err(|e| e.into_error("Debugger::get_store_info"))?.0;
    if failed.contains(&own) {
        return Err(fails(format!("Store {own} in the failed list")));
    }
    let mut plan = Plan::whole();
    for id in chosen(store, regions)? {
        let info = states(store, id).ok().and_then(|info| Some((applied(&info), info.region_local_state?)));
        let Some((applied, old)) = info else {
            return Err(fails(format!("No such region {id} on the store")));
        };
        if old.state() == PeerState::Tombstone {
            continue;
        }
        let mut region = old.region.clone().unwrap_or_default();
        let before = region.peers.len();
        region.peers.retain(|peer| !failed.contains(&peer.store_id));
        let mut why = format!("{} peers on failed stores are removed", before - region.peers.len());
        if promote_learner {
            match promote(&mut region) {
                Ok(0) => {}
                Ok(peer) => why.push_str(&format!(", learner {peer} becomes a voter")),
                Err(count) => plan.notes.push(format!(
                    "note: region {id}: expected one learner to promote, found {count} and no voter: none is \
                     promoted, since which one has all data is unknown"
                )),
            }
        }
        if old.region.as_ref() != Some(&region) {
            let new = RegionLocalState { region: Some(region), ..old.clone() };
            plan.region_state(store, (id, applied), Some(&old), &new, &why);
        }
    }
    Ok(plan)
}

/// Promotes the only remaining learner. Returns its id, 0 if a voter is left, or else the number of learners.
fn promote(region: &mut Region) -> std::result::Result<u64, usize> {
    match region.peers.as_mut_slice() {
        peers if peers.iter().any(|peer| peer.role() != PeerRole::Learner) => Ok(0),
        [] => Ok(0),
        [learner] => {
            learner.set_role(PeerRole::Voter);
            Ok(learner.id)
        }
        learners => Err(learners.len()),
    }
}

fn chosen(store: &Offline, regions: Option<&[u64]>) -> Result<Vec<u64>> {
    match regions {
        Some(regions) => Ok(regions.to_vec()),
        None => store.all_regions().map_err(|e| e.into_error("Debugger::get_all_regions_in_store")),
    }
}

/// `unsafe-recover drop-unapplied-raftlog`: removes entries that were not applied.
pub fn drop_unapplied(store: &Offline, regions: Option<&[u64]>) -> Result<Plan> {
    // TiKV's tool uses this name here.
    let fails = |what: String| DebugError::Other(what).into_error("Debugger::remove_fail_stores");
    let mut plan = Plan::whole();
    for id in chosen(store, regions)? {
        let info = store.region_info(id).map_err(|e| e.into_error("Debugger::remove_fail_stores"))?;
        let Some(state) = info.region_local_state else {
            return Err(fails(format!("No RegionLocalState found for region {id}")));
        };
        if state.state() == PeerState::Tombstone {
            continue;
        }
        let raft = info.raft_local_state;
        let raft = raft.ok_or_else(|| fails(format!("No RaftLocalState found for region {id}")))?;
        let apply = info.raft_apply_state;
        let apply = apply.ok_or_else(|| fails(format!("No RaftApplyState found for region {id}")))?;
        let hard = raft.hard_state.unwrap_or_default();
        if raft.last_index == apply.applied_index && hard.commit == apply.applied_index {
            continue;
        }
        let applied = apply.applied_index;
        let new =
            RaftLocalState { last_index: applied, hard_state: Some(HardState { commit: applied, ..hard }) };
        let why = format!("region {id}: the log's last index becomes {applied}, it was {}", raft.last_index);
        plan.changes.push(Change::raft_state(id, Some(&raft), Some(&new), why));
        if apply.commit_index > applied {
            let term = store.raft().entry(id, applied).map_err(|e| e.into_error("Debugger::raft_log"))?;
            let mut new = apply;
            new.commit_index = applied;
            new.commit_term = term.map_or(apply.commit_term, |entry| entry.term);
            let key = (APPLY_STATE, &keys::apply_state_key(id)[..]);
            let (old, new) = (apply.encode_to_vec(), new.encode_to_vec());
            let why = format!("region {id}: the commit index becomes {applied}");
            plan.changes.push(Change::state(store, id, key, applied, (Some(&old), &new), why));
        }
    }
    Ok(plan)
}

/// Fails if a new region needs more than states.
pub fn check_recreatable(store: &Offline) -> Result<()> {
    if !store.has_tablets() {
        return Ok(());
    }
    Err(Error::other(
        "recreate-region: with tablets/ (partitioned-raft-kv) a new region needs a tablet, which only TiKV creates: \
         let PD do it (`pd-ctl unsafe remove-failed-stores`); nothing was changed",
    ))
}

/// Whether the ranges of two regions have keys in common.
fn overlaps(a: &Region, b: &Region) -> bool {
    (a.start_key < b.end_key || b.end_key.is_empty()) && (b.start_key < a.end_key || a.end_key.is_empty())
}

/// `recreate-region`: plans an empty region with new ids in place of a lost one; fails if another region is
/// in its range.
pub fn recreate_region(store: &Offline, lost: &Region, new_id: u64, peer_id: u64) -> Result<Plan> {
    let fails = |what: String| DebugError::Other(what).into_error("Debugger::recreate_region");
    let text = |region: &Region| message_text("metapb.Region", &region.encode_to_vec()).unwrap_or_default();
    let store_id = store.store_info().map_err(|e| e.into_error("Debugger::get_store_info"))?.0;
    let epoch = RegionEpoch { conf_ver: INIT_CONF_VER, version: lost.epoch().version + 1 };
    let peer = Peer { id: peer_id, store_id, ..Default::default() };
    let region = Region { id: new_id, region_epoch: Some(epoch), peers: vec![peer], ..lost.clone() };
    if region.start_key >= region.end_key && !region.end_key.is_empty() {
        return Err(fails(format!("Bad region: {}", text(&region))));
    }
    let mut plan = Plan::whole();
    for id in chosen(store, None)? {
        let Ok(Some(state)) = states(store, id).map(|info| info.region_local_state) else { continue };
        let there = state.region.clone().unwrap_or_default();
        if state.state() == PeerState::Tombstone || !overlaps(&there, &region) {
            continue;
        }
        let is_same = there.start_key == region.start_key && there.end_key == region.end_key;
        let what = match is_same {
            true => format!("region still exists {}", text(&there)),
            false => format!("region overlap with {}", text(&there)),
        };
        return Err(fails(format!("{what}: region {id} here overlaps it: tombstone it first")));
    }
    refuse_states(store, new_id)?;
    let state = RegionLocalState { region: Some(region), ..Default::default() };
    plan.region_state(store, (new_id, INIT_LOG), None, &state, "created");
    let truncated = RaftTruncatedState { index: INIT_LOG, term: INIT_LOG };
    let apply =
        RaftApplyState { applied_index: INIT_LOG, truncated_state: Some(truncated), ..Default::default() };
    let (key, bytes) = (keys::apply_state_key(new_id), apply.encode_to_vec());
    plan.changes.push(Change::kv("raft", &key, None, Some(&bytes), format!("region {new_id}: created")));
    let hard_state = HardState { term: INIT_LOG, commit: INIT_LOG, ..Default::default() };
    let raft = RaftLocalState { hard_state: Some(hard_state), last_index: INIT_LOG };
    plan.changes.push(Change::raft_state(new_id, None, Some(&raft), format!("region {new_id}: created")));
    Ok(plan)
}

/// Fails where the store already has a state of region `id`.
fn refuse_states(store: &Offline, id: u64) -> Result<()> {
    let Ok(info) = store.region_info(id) else { return Ok(()) };
    let there = [
        ("RegionLocalState", info.region_local_state.is_some()),
        ("RaftApplyState", info.raft_apply_state.is_some()),
        ("RaftLocalState", info.raft_local_state.is_some()),
    ];
    match there.iter().find(|(_, there)| *there) {
        Some((what, _)) => {
            let what = format!("Store already has the {what}");
            Err(DebugError::Other(what).into_error("Debugger::recreate_region"))
        }
        None => Ok(()),
    }
}

/// `reset-to-version`: deletes locks and versions committed after `ts`. A lock whose primary was committed by
/// then is committed instead: TiKV removes it, and so splits the transaction.
pub fn reset_to_version(store: &Offline, ts: u64) -> Result<Plan> {
    check_flushed(store, &[])?;
    let (mut plan, db, mut fates) = (Plan::whole(), store.kv(), Fates::new(store)?);
    let mut locks = db.scan("lock", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while locks.advance()? {
        let (key, value) = (locks.key(), locks.value());
        if let Ok(LockOrSharedLocks::Lock(lock)) = parse_lock(value) {
            match fates.find(&lock)? {
                Fate::Committed(at) if at <= ts => {
                    flashback::commit(db, key, value, &lock, at, &mut plan)?;
                    continue;
                }
                Fate::Elsewhere => {
                    plan.fail(flashback::undecided(key, &lock, Fate::Elsewhere));
                    continue;
                }
                _ => {}
            }
        }
        plan.changes.push(Change::kv("lock", key, Some(value), None, "a lock"));
    }
    let mut writes = db.scan("write", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while writes.advance()? {
        let Ok((user, commit_ts)) = Key::split_on_ts_for(writes.key()) else { continue };
        if commit_ts.into_inner() <= ts {
            continue;
        }
        let why = format!("committed at {commit_ts}");
        let long = |write: &WriteRef<'_>| write.write_type == WriteType::Put && write.short_value.is_none();
        if let Some(write) = WriteRef::parse(writes.value()).ok().filter(long) {
            let mut key = user.to_vec();
            keys::codec::encode_u64_desc(&mut key, write.start_ts.into_inner());
            if let Some(value) = db.get("default", &key)? {
                plan.changes.push(Change::kv("default", &key, Some(&value), None, why.clone()));
            }
        }
        plan.changes.push(Change::kv("write", writes.key(), Some(writes.value()), None, why));
    }
    Ok(plan)
}
