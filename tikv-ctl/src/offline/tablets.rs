//! `tablets/`: a RocksDB for each region, `{region id}_{tablet index}` (TiKV's partitioned-raft-kv).

use std::path::Path;

use kvproto::raft_serverpb::{PeerState, RegionLocalState};
use prost::Message;

use super::{RaftStore, bounds, states::REGION_STATE};
use crate::{
    Error, Result,
    lsm::{Db, Part},
};

/// The tablets of the data directory `dir` as one database, and what is missing of them.
pub fn open(dir: &Path, raft: &RaftStore) -> Result<(Db, Vec<String>)> {
    let RaftStore::Engine(engine) = raft else {
        return Err(Error::other(format!(
            "--data-dir {}: with tablets/ the states of regions are in raft-engine, which is not there; give --config with \
             raft-engine.dir",
            dir.display()
        )));
    };
    let (mut parts, mut warnings) = (Vec::new(), Vec::new());
    for id in engine.groups() {
        let Some((_, value)) = engine.group(id).and_then(|group| group.newest(REGION_STATE, u64::MAX)) else {
            continue;
        };
        let state = match RegionLocalState::decode(value) {
            Ok(state) => state,
            Err(e) => {
                warnings.push(format!(
                    "the RegionLocalState of region {id} does not decode: {e}; its tablet is left out"
                ));
                continue;
            }
        };
        // An index of 0 is that of a peer which has no data yet.
        if state.state() == PeerState::Tombstone || state.tablet_index == 0 {
            continue;
        }
        let path = dir.join("tablets").join(format!("{id}_{}", state.tablet_index));
        let (start, end) = bounds(state.region.as_ref());
        match Db::open(&path, None) {
            Ok(db) => parts.push(Part { start, end, db }),
            Err(e) => warnings.push(format!("{e}; the data of region {id} is missing from what is read")),
        }
    }
    parts.sort_by(|a, b| a.start.cmp(&b.start));
    Ok((Db::join(&dir.join("tablets"), parts), warnings))
}
