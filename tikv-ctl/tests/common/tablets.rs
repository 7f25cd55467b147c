//! Makes a data directory with `tablets/` from one with `db/`.
use std::path::Path;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE, DbConfig, RocksEngine};
use kvproto::{
    kvrpcpb::ApiVersion,
    raft_serverpb::{RegionLocalState, StoreIdent},
};
use prost::Message;
use tikv_ctl::{
    Offline, StoreConfig,
    source::{RawPair, Source},
};

use super::contents;

const CFS: [&str; 3] = [CF_DEFAULT, CF_LOCK, CF_WRITE];
const HEADER: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";

/// Group, key and value of a state in raft-engine.
pub type State = (u64, Vec<u8>, Vec<u8>);

pub fn numbered(prefix: u8, number: u64) -> Vec<u8> {
    [&[prefix][..], &number.to_be_bytes()].concat()
}

/// Returns a log file of raft-engine (version 1) with one batch that puts `states`.
fn log_file(states: &[State]) -> Vec<u8> {
    let mut items = Vec::new();
    let varint = keys::codec::encode_var_u64;
    varint(&mut items, states.len() as u64);
    for (group, key, value) in states {
        varint(&mut items, *group);
        items.extend_from_slice(&[3, 1]);
        for part in [key, value] {
            varint(&mut items, part.len() as u64);
            items.extend_from_slice(part);
        }
    }
    items.extend_from_slice(&crc32fast::hash(&items).to_le_bytes());
    let mut file = HEADER.to_vec();
    file.extend_from_slice(&1u64.to_be_bytes());
    file.extend_from_slice(&((16 + items.len() as u64) << 8).to_be_bytes());
    file.extend_from_slice(&16u64.to_be_bytes());
    file.extend_from_slice(&items);
    file
}

/// Converts the store in `plain` to TiKV's partitioned-raft-kv layout: states in raft-engine, and a tablet
/// for each region. A tablet still has the data that was split off, and has flushed entries up to `flushed`.
pub fn to_tablets(plain: &Path, dir: &Path, flushed: u64) {
    std::fs::create_dir(dir.join("raft-engine")).unwrap();
    for (path, bytes) in contents(&plain.join("raft-engine")) {
        std::fs::write(dir.join("raft-engine").join(path.file_name().unwrap()), bytes).unwrap();
    }
    let store = Offline::open(plain, &StoreConfig::default()).unwrap();
    let ident = StoreIdent { cluster_id: 77, store_id: 1, api_version: ApiVersion::V1.into() };
    let mut states = vec![(0, vec![1], ident.encode_to_vec())];
    for id in [2u64, 4] {
        let info = store.region_info(id).unwrap();
        let state = info.region_local_state.unwrap();
        for (applied, tablet_index) in [(5, 3), (300, 5)] {
            let state = RegionLocalState { tablet_index, ..state.clone() };
            states.push((id, numbered(3, applied), state.encode_to_vec()));
        }
        for cf in 0..3 {
            let key = [&[6, cf][..], &5u64.to_be_bytes()].concat();
            states.push((id, key, flushed.to_be_bytes().to_vec()));
        }
        states.push((id, numbered(4, 300), info.raft_apply_state.unwrap().encode_to_vec()));
        let tablet = dir.join(format!("tablets/{id}_5"));
        std::fs::create_dir_all(&tablet).unwrap();
        let tablet = RocksEngine::open(tablet, &DbConfig::small()).unwrap();
        for cf in CFS {
            let mut copy = |pair: RawPair<'_>| {
                let RawPair::Stored { key, value } = pair else { panic!("expected a stored row: {pair:?}") };
                tablet.put_cf(cf, key, value).unwrap();
                Ok(())
            };
            store.raw_scan(b"z", b"", 1000, cf, &mut copy).unwrap();
        }
        tablet.flush_cfs(&CFS, true).unwrap();
    }
    add_states(dir, &states);
}

/// Writes one more log file that puts `states`.
pub fn add_states(dir: &Path, states: &[State]) {
    let next = contents(&dir.join("raft-engine"))
        .keys()
        .filter(|path| path.extension().is_some_and(|e| e == "raftlog"))
        .count()
        + 1;
    std::fs::write(dir.join(format!("raft-engine/{next:016}.raftlog")), log_file(states)).unwrap();
}
