//! `tablets/`: a RocksDB for each region, `{region id}_{tablet index}` (TiKV's partitioned-raft-kv).
use std::path::Path;

use kvproto::raft_serverpb::{PeerState, RegionLocalState};
use prost::Message;
use store_files::io::{Context, Damage};

use super::{bounds::bounds, raft::RaftStore, states::REGION_STATE};
use crate::{
    Error, Result,
    encryption::Keyring,
    lsm::{Db, Part},
};

/// Opens the tablets of the data directory `dir` as one database; also returns the missing ones as damage.
pub fn open(dir: &Path, raft: &RaftStore, keyring: &Keyring) -> Result<(Db, Vec<Damage>)> {
    let RaftStore::Engine(engine) = raft else {
        return Err(Error::other(format!(
            "--data-dir {}: with tablets/, expected the states of regions in raft-engine, found none: give --config \
             with raft-engine.dir",
            dir.display()
        )));
    };
    let (mut parts, mut damages) = (Vec::new(), Vec::new());
    for id in engine.groups() {
        let Some((_, value)) = engine.group(id).and_then(|group| group.newest(REGION_STATE, u64::MAX)) else {
            continue;
        };
        let state = match RegionLocalState::decode(value) {
            Ok(state) => state,
            Err(e) => {
                let what =
                    format!("cannot decode the RegionLocalState of region {id}: {e}; its tablet is skipped");
                damages.push(Damage::whole(engine.dir(), what));
                continue;
            }
        };
        // A peer without data has index 0.
        if state.state() == PeerState::Tombstone || state.tablet_index == 0 {
            continue;
        }
        let path = dir.join("tablets").join(format!("{id}_{}", state.tablet_index));
        let (start, end) = bounds(state.region.as_ref());
        match Db::open(&path, None, keyring) {
            Ok(db) => parts.push(Part { start, end, db }),
            Err(e) => {
                let more = format!("the data of region {id} is missing from the output");
                damages.push(e.context(Context::More(&more)).into());
            }
        }
    }
    parts.sort_by(|a, b| a.start.cmp(&b.start));
    Ok((Db::join(&dir.join("tablets"), parts, keyring), damages))
}
