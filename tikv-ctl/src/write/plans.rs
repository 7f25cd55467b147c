//! What each command would change (TiKV `src/server/debug.rs`).

use kvproto::{
    eraftpb::HardState,
    metapb::{Peer, PeerRole, Region, RegionEpoch},
    raft_serverpb::{PeerState, RaftApplyState, RaftLocalState, RaftTruncatedState, RegionLocalState},
};
use prost::Message;
use txn_types::{Key, WriteRef, WriteType};

use super::Change;
use crate::{
    Error, Offline, Result,
    offline::{APPLY_STATE, REGION_STATE},
    source::{RegionInfo, Source},
};

/// First index and term of a region's log, and first version of a region (TiKV `RAFT_INIT_LOG_INDEX`,
/// `INIT_EPOCH_CONF_VER`).
const INIT_LOG: u64 = 5;
const INIT_CONF_VER: u64 = 1;

/// Changes, and regions for which there are none, with why.
#[derive(Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub errors: Vec<(u64, String)>,
}

impl Plan {
    /// A change of a region's `RegionLocalState`; `applied`: its applied index.
    fn region_state(
        &mut self,
        store: &Offline,
        (id, applied): (u64, u64),
        old: Option<&RegionLocalState>,
        new: &RegionLocalState,
        why: &str,
    ) {
        let (bytes, new) = (old.map(Message::encode_to_vec), new.encode_to_vec());
        let key = (REGION_STATE, &keys::region_state_key(id)[..]);
        let why = format!("region {id}: {why}");
        self.changes.push(Change::state(store, id, key, applied, (bytes.as_deref(), &new), why));
    }

    /// Puts changes of data to the tablets of `store`, if it has any.
    pub fn place(&mut self, store: &Offline) -> Result<()> {
        if !store.has_tablets() {
            return Ok(());
        }
        self.changes.iter_mut().try_for_each(|change| change.place(store))
    }
}

/// Fails where `regions`, all if none, have writes in their Raft logs that their tablets have not: a server would make them
/// again, on top of what is written here.
pub fn check_flushed(store: &Offline, regions: &[u64]) -> Result<()> {
    let found = store.unflushed(&|id| regions.is_empty() || regions.contains(&id))?;
    let list: Vec<String> =
        found.iter().map(|(id, (first, last))| format!("region {id}: entries {first} to {last}")).collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!(
        "the Raft log has writes that the tablets have not ({}), and a server makes them when it starts, on top of what this \
         command would write: start the store and stop it cleanly, which flushes tablets, and do this again; nothing was \
         changed",
        list.join(", ")
    )))
}

/// The states of a region; an error of the plan where there are none.
fn states(store: &Offline, id: u64) -> std::result::Result<RegionInfo, String> {
    store.region_info(id).map_err(|e| e.to_string())
}

fn applied(info: &RegionInfo) -> u64 {
    info.raft_apply_state.as_ref().map_or(0, |state| state.applied_index)
}

/// `tombstone`: marks regions as gone from this store. `of_pd` gives what PD knows of a region; none with --force.
pub fn tombstone(
    store: &Offline,
    regions: &[u64],
    of_pd: Option<&dyn Fn(u64) -> Result<Region>>,
) -> Result<Plan> {
    let store_id = store.store_info().map_err(|e| e.of("Debugger::get_store_info"))?.0;
    let mut plan = Plan::default();
    for id in regions {
        let (applied, old) = match states(store, *id).map(|info| (applied(&info), info.region_local_state)) {
            Ok((applied, Some(old))) => (applied, old),
            Ok((_, None)) => {
                plan.errors.push((*id, format!("region {id} has no RegionLocalState here")));
                continue;
            }
            Err(e) => {
                plan.errors.push((*id, e));
                continue;
            }
        };
        if old.state() == PeerState::Tombstone {
            continue;
        }
        let mut new = old.clone();
        new.set_state(PeerState::Tombstone);
        if let Some(of_pd) = of_pd {
            let region = of_pd(*id)?;
            let here = old.region.clone().unwrap_or_default();
            let versions = (here.epoch().conf_ver, region.epoch().conf_ver);
            let why = if region.find_peer(store_id).is_some() {
                Some("The peer is still in target peers: remove it by PD first".to_owned())
            } else if versions.0 >= versions.1 {
                let what = "invalid conf_ver: please make sure you have removed the peer by PD";
                Some(format!("{what} (here {}, PD {})", versions.0, versions.1))
            } else {
                None
            };
            if let Some(why) = why {
                plan.errors.push((*id, why));
                continue;
            }
            new.region = Some(region);
        }
        plan.region_state(store, (*id, applied), Some(&old), &new, "becomes a tombstone");
    }
    Ok(plan)
}

/// `unsafe-recover remove-fail-stores`: takes the peers on failed stores out of regions.
pub fn remove_fail_stores(
    store: &Offline,
    failed: &[u64],
    regions: Option<&[u64]>,
    promote_learner: bool,
) -> Result<Plan> {
    let mut plan = Plan::default();
    for id in chosen(store, regions)? {
        let (applied, old) = match states(store, id).map(|info| (applied(&info), info.region_local_state)) {
            Ok((applied, Some(old))) => (applied, old),
            Ok((_, None)) => continue,
            Err(e) => {
                plan.errors.push((id, e));
                continue;
            }
        };
        if old.state() == PeerState::Tombstone {
            continue;
        }
        let mut region = old.region.clone().unwrap_or_default();
        let before = region.peers.len();
        region.peers.retain(|peer| !failed.contains(&peer.store_id));
        let removed = before - region.peers.len();
        if removed == 0 {
            continue;
        }
        if promote_learner {
            let learners = region.peers.iter_mut().filter(|peer| peer.role() == PeerRole::Learner);
            learners.for_each(|peer| peer.set_role(PeerRole::Voter));
        }
        let new = RegionLocalState { region: Some(region), ..old.clone() };
        let why = format!("{removed} peers on failed stores are removed");
        plan.region_state(store, (id, applied), Some(&old), &new, &why);
    }
    Ok(plan)
}

fn chosen(store: &Offline, regions: Option<&[u64]>) -> Result<Vec<u64>> {
    match regions {
        Some(regions) => Ok(regions.to_vec()),
        None => store.all_regions().map_err(|e| e.of("Debugger::get_all_regions_in_store")),
    }
}

/// `unsafe-recover drop-unapplied-raftlog`: what was not applied is as if it had never been.
pub fn drop_unapplied(store: &Offline, regions: Option<&[u64]>) -> Result<Plan> {
    let mut plan = Plan::default();
    for id in chosen(store, regions)? {
        let info = match states(store, id) {
            Ok(info) => info,
            Err(e) => {
                plan.errors.push((id, e));
                continue;
            }
        };
        if info.region_local_state.is_some_and(|state| state.state() == PeerState::Tombstone) {
            continue;
        }
        let (Some(raft), Some(apply)) = (info.raft_local_state, info.raft_apply_state) else { continue };
        let hard = raft.hard_state.unwrap_or_default();
        if raft.last_index == apply.applied_index && hard.commit == apply.applied_index {
            continue;
        }
        let applied = apply.applied_index;
        let new =
            RaftLocalState { last_index: applied, hard_state: Some(HardState { commit: applied, ..hard }) };
        let why = format!("region {id}: the log ends at {applied}, {} was the last", raft.last_index);
        plan.changes.push(Change::raft_state(id, Some(&raft), Some(&new), why));
        if apply.commit_index > applied {
            let term = store.raft().entry(id, applied).map_err(|e| e.of("Debugger::raft_log"))?;
            let mut new = apply;
            new.commit_index = applied;
            new.commit_term = term.map_or(apply.commit_term, |entry| entry.term);
            let key = (APPLY_STATE, &keys::apply_state_key(id)[..]);
            let (old, new) = (apply.encode_to_vec(), new.encode_to_vec());
            let why = format!("region {id}: the commit index is {applied}");
            plan.changes.push(Change::state(store, id, key, applied, (Some(&old), &new), why));
        }
    }
    Ok(plan)
}

/// Fails where a new region needs more than states.
pub fn check_recreatable(store: &Offline) -> Result<()> {
    if !store.has_tablets() {
        return Ok(());
    }
    Err(Error::other(
        "recreate-region: with tablets/ (partitioned-raft-kv) a new region needs a tablet, which TiKV makes: let PD do it \
         (`pd-ctl unsafe remove-failed-stores`); nothing was changed",
    ))
}

/// `recreate-region`: an empty region in place of one that is lost, with new ids. The error says what is in its way.
pub fn recreate_region(store: &Offline, lost: &Region, new_id: u64, peer_id: u64) -> Result<Plan> {
    let store_id = store.store_info().map_err(|e| e.of("Debugger::get_store_info"))?.0;
    let mut plan = Plan::default();
    for id in chosen(store, None)? {
        let Ok(Some(state)) = states(store, id).map(|info| info.region_local_state) else { continue };
        let there = state.region.clone().unwrap_or_default();
        let apart = (!there.end_key.is_empty() && there.end_key <= lost.start_key)
            || (!lost.end_key.is_empty() && lost.end_key <= there.start_key);
        if state.state() != PeerState::Tombstone && !apart {
            plan.errors.push((lost.id, format!("region {id} here overlaps it: tombstone it first")));
            return Ok(plan);
        }
    }
    let epoch = RegionEpoch { conf_ver: INIT_CONF_VER, version: lost.epoch().version + 1 };
    let peer = Peer { id: peer_id, store_id, ..Default::default() };
    let region = Region { id: new_id, region_epoch: Some(epoch), peers: vec![peer], ..lost.clone() };
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

/// `reset-to-version`: locks and versions committed after `ts` go.
pub fn reset_to_version(store: &Offline, ts: u64) -> Result<Plan> {
    check_flushed(store, &[])?;
    let (mut plan, db) = (Plan::default(), store.kv());
    let mut locks = db.scan("lock", keys::DATA_MIN_KEY, keys::DATA_MAX_KEY)?;
    while locks.advance()? {
        plan.changes.push(Change::kv("lock", locks.key(), Some(locks.value()), None, "a lock"));
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
