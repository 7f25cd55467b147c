//! Region states for tikv-ctl and the status server, from disk or from the peer itself.
use std::collections::HashMap;

use engine_rocks::{CF_RAFT, RocksEngine};
use kvproto::{
    metapb::Region,
    raft_serverpb::{RaftApplyState, RaftLocalState, RegionLocalState},
};
use serde::Serialize;
use tracepoints::probe::RaftProbe;

use crate::{
    Error, Result,
    store::{ConsistencyVerdict, Engines},
};

/// Region state as its peer reports it. TiKV: `raftstore::store::region_meta::RegionMeta`.
#[derive(Clone, Debug)]
pub struct RegionMeta {
    /// The region.
    pub region: Region,
    /// Raft state, as probes show it.
    pub raft: RaftProbe,
    /// Index of the last applied entry, and where the log begins.
    pub apply_state: RaftApplyState,
    /// Term of the last applied entry.
    pub applied_term: u64,
    /// Estimated bytes of the region's data.
    pub approximate_size: u64,
    /// Replication flow to each follower, by peer id; filled on a leader.
    pub flows: HashMap<u64, PeerFlow>,
    /// Result of the last consistency check for this peer.
    pub consistency: Option<ConsistencyVerdict>,
}

/// Message flow to one follower.
#[derive(Clone, Copy, Debug)]
pub struct PeerFlow {
    /// Whether a probing leader waits for an answer before it sends more.
    pub paused: bool,
    /// Index of the snapshot being sent; zero: none.
    pub pending_snapshot: u64,
    /// Index of the snapshot that the follower requested; zero: none.
    pub pending_request_snapshot: u64,
    /// Whether the follower has answered since the last election timeout.
    pub recent_active: bool,
}

/// The three persisted states of a region. TiKV: `debug::RegionInfo`.
#[derive(Clone, Debug, Default)]
pub struct RegionInfo {
    /// State of the log, in raft-engine.
    pub raft_local_state: Option<RaftLocalState>,
    /// State of the applied data, in CF raft.
    pub raft_apply_state: Option<RaftApplyState>,
    /// The region and its peer's state, in CF raft.
    pub region_local_state: Option<RegionLocalState>,
}

/// Region summary for JSON output.
#[derive(Clone, Debug, Serialize)]
pub struct RegionSummary {
    /// Id of the region.
    pub region_id: u64,
    /// Id of the leader's peer; zero: none known.
    pub leader: u64,
    /// Raft term.
    pub term: u64,
    /// Index of the last applied entry.
    pub applied: u64,
}

impl From<&RegionMeta> for RegionSummary {
    fn from(meta: &RegionMeta) -> Self {
        Self {
            region_id: meta.region.id,
            leader: meta.raft.leader,
            term: meta.raft.term,
            applied: meta.raft.applied,
        }
    }
}

/// Reads the states of a region.
///
/// # Errors
/// [`Error::RegionNotFound`] if the store has none of them.
pub fn region_info(engines: &Engines, region_id: u64) -> Result<RegionInfo> {
    let info = RegionInfo {
        raft_local_state: engines.raft.get_raft_state(region_id)?,
        raft_apply_state: engines.kv.get_msg_cf(CF_RAFT, &keys::apply_state_key(region_id))?,
        region_local_state: engines.kv.get_msg_cf(CF_RAFT, &keys::region_state_key(region_id))?,
    };
    let nothing = info.raft_local_state.is_none()
        && info.raft_apply_state.is_none()
        && info.region_local_state.is_none();
    if nothing { Err(Error::RegionNotFound(region_id)) } else { Ok(info) }
}

/// Reads the local states of all regions, tombstones included, by region id.
pub fn all_regions(kv: &RocksEngine) -> Result<Vec<RegionLocalState>> {
    let mut states = Vec::new();
    kv.scan_cf(CF_RAFT, keys::REGION_META_MIN_KEY, keys::REGION_META_MAX_KEY, |key, value| {
        if let Ok((_, keys::REGION_STATE_SUFFIX)) = keys::decode_region_meta_key(key) {
            states.push(value.to_vec());
        }
        Ok(true)
    })?;
    let decode = |bytes: Vec<u8>| <RegionLocalState as prost::Message>::decode(bytes.as_slice());
    Ok(states.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?)
}
