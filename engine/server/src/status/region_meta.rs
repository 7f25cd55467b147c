//! A region's state as JSON, in the form of TiKV's `RegionMeta`
//! (`components/raftstore/src/store/region_meta.rs`).
use kvproto::metapb::PeerRole;
use raftstore::debug::RegionMeta;
use serde_json::{Map, Value, json};

pub fn to_json(meta: &RegionMeta) -> Value {
    let (raft, apply) = (&meta.raft, &meta.apply_state);
    let truncated = apply.truncated_state.unwrap_or_default();
    json!({
        "group_state": "Ordered",
        "raft_status": {
            "id": raft.peer,
            "hard_state": { "term": raft.term, "vote": raft.vote, "commit": raft.commit },
            "soft_state": { "leader_id": raft.leader, "raft_state": raft.role },
            "applied": raft.applied,
            "voters": progress(meta, false),
            "learners": progress(meta, true),
            "last_index": raft.last_index,
            "persisted_index": raft.persisted,
        },
        "raft_apply": {
            "applied_index": apply.applied_index,
            "commit_index": apply.commit_index,
            "commit_term": apply.commit_term,
            "truncated_state": { "index": truncated.index, "term": truncated.term },
        },
        "region_state": region_state(meta),
        // Regions have no buckets here.
        "bucket_keys": [],
    })
}

fn progress(meta: &RegionMeta, learners: bool) -> Value {
    let is_learner = |peer: u64| meta.region.find_peer_by_id(peer).is_some_and(|p| p.is_learner());
    let progress = meta.raft.progress.iter().filter(|p| is_learner(p.peer) == learners);
    let entry = |p: &tracepoints::probe::ProgressProbe| {
        let flow = meta.flows.get(&p.peer);
        let about = json!({
            "matched": p.matched,
            "next_idx": p.next,
            "state": p.state,
            "paused": flow.is_some_and(|f| f.paused),
            "pending_snapshot": flow.map_or(0, |f| f.pending_snapshot),
            "pending_request_snapshot": flow.map_or(0, |f| f.pending_request_snapshot),
            "recent_active": flow.is_some_and(|f| f.recent_active),
        });
        (p.peer.to_string(), about)
    };
    Value::Object(progress.map(entry).collect::<Map<_, _>>())
}

fn region_state(meta: &RegionMeta) -> Value {
    let (region, epoch) = (&meta.region, meta.region.epoch());
    let peers: Vec<Value> = region
        .peers
        .iter()
        .map(|p| {
            let role = PeerRole::try_from(p.role).map_or("Unknown", |r| r.as_str_name());
            json!({ "id": p.id, "store_id": p.store_id, "role": role, "is_witness": p.is_witness })
        })
        .collect();
    json!({
        "id": region.id,
        "start_key": region.start_key,
        "end_key": region.end_key,
        "epoch": { "conf_ver": epoch.conf_ver, "version": epoch.version },
        "peers": peers,
        // Regions do not merge here, and share one RocksDB.
        "merge_state": null,
        "tablet_index": 0,
    })
}
