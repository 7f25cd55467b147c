#![allow(dead_code)] // each test file uses a part of it
//! Builds a small data directory in TiKV's layout with RocksDB and raft-engine, and runs the tool on it.

pub mod back;
pub mod encrypted;
pub mod raw;
pub mod tablets;
pub mod titan;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE, DbConfig, RocksEngine};
use kvproto::{
    eraftpb::{Entry, HardState},
    kvrpcpb::ApiVersion,
    metapb::{Peer, PeerRole, Region, RegionEpoch},
    raft_cmdpb::{CmdType, PutRequest, RaftCmdRequest, RaftRequestHeader, Request},
    raft_serverpb::{RaftApplyState, RaftLocalState, RaftTruncatedState, RegionLocalState, StoreIdent},
};
use prost::Message;
use raft_log_engine::{RaftEngineConfig, RaftLogEngine, convert::entry_to_raft};
use txn_types::{Key, Lock, LockType, Write, WriteType};

/// Both engines of a store, opened.
pub struct Store {
    pub kv: RocksEngine,
    pub raft: RaftLogEngine,
}

fn data_key(user_key: &[u8]) -> Vec<u8> {
    keys::data_key(Key::from_raw(user_key).as_encoded())
}

fn versioned(user_key: &[u8], ts: u64) -> Vec<u8> {
    keys::data_key(Key::from_raw(user_key).append_ts(ts.into()).as_encoded())
}

impl Store {
    pub fn open(dir: &Path) -> Store {
        let kv = RocksEngine::open(dir.join("db"), &DbConfig::small()).unwrap();
        let raft = RaftLogEngine::open(dir.join("raft-engine"), &RaftEngineConfig::small()).unwrap();
        Store { kv, raft }
    }

    pub fn put_version(&self, key: &[u8], start: u64, commit: u64, value: &[u8]) {
        let short = (value.len() <= 255).then(|| value.to_vec());
        if short.is_none() {
            self.kv.put_cf(CF_DEFAULT, &versioned(key, start), value).unwrap();
        }
        let write = Write::new(WriteType::Put, start.into(), short);
        self.kv.put_cf(CF_WRITE, &versioned(key, commit), &write.to_bytes()).unwrap();
    }

    pub fn put_lock(&self, key: &[u8], start: u64) {
        let zero = 0.into();
        let lock = Lock::new(
            LockType::Put,
            key.to_vec(),
            start.into(),
            3000,
            Some(b"new".to_vec()),
            zero,
            1,
            zero,
            false,
        );
        self.kv.put_cf(CF_LOCK, &data_key(key), &lock.to_bytes()).unwrap();
    }

    /// Sets other peers of a region: id, store, and role.
    pub fn put_peers(&self, region_id: u64, peers: &[(u64, u64, PeerRole)]) {
        let key = keys::region_state_key(region_id);
        let mut state: RegionLocalState = self.kv.get_msg_cf(CF_RAFT, &key).unwrap().unwrap();
        let peer = |&(id, store_id, role): &(u64, u64, PeerRole)| Peer {
            id,
            store_id,
            role: role.into(),
            ..Default::default()
        };
        state.region.as_mut().unwrap().peers = peers.iter().map(peer).collect();
        self.kv.put_msg_cf(CF_RAFT, &key, &state).unwrap();
    }

    pub fn put_region(&self, id: u64, start_key: &[u8], end_key: &[u8]) {
        let encoded =
            |key: &[u8]| if key.is_empty() { Vec::new() } else { Key::from_raw(key).into_encoded() };
        let region = Region {
            id,
            start_key: encoded(start_key),
            end_key: encoded(end_key),
            region_epoch: Some(RegionEpoch { conf_ver: 1, version: 2 }),
            peers: vec![Peer { id: id + 1, store_id: 1, ..Default::default() }],
            ..Default::default()
        };
        let state = RegionLocalState { region: Some(region), ..Default::default() };
        self.kv.put_msg_cf(CF_RAFT, &keys::region_state_key(id), &state).unwrap();
        let apply = RaftApplyState {
            applied_index: 7,
            commit_index: 7,
            commit_term: 6,
            truncated_state: Some(RaftTruncatedState { index: 5, term: 5 }),
            ..Default::default()
        };
        self.kv.put_msg_cf(CF_RAFT, &keys::apply_state_key(id), &apply).unwrap();
        let mut batch = self.raft.log_batch(2);
        batch.append(id, (6..=7).map(|index| entry_to_raft(entry(id, index)).unwrap()).collect()).unwrap();
        let hard_state = HardState { term: 6, vote: id + 1, commit: 7 };
        batch.put_raft_state(id, &RaftLocalState { hard_state: Some(hard_state), last_index: 7 }).unwrap();
        self.raft.consume(&mut batch, true).unwrap();
    }
}

/// Returns an entry: 6 is the leader's empty one, 7 a put.
fn entry(region_id: u64, index: u64) -> Entry {
    let request = RaftCmdRequest {
        header: Some(RaftRequestHeader { region_id, ..Default::default() }),
        requests: vec![Request {
            cmd_type: CmdType::Put.into(),
            put: Some(PutRequest { cf: String::new(), key: b"k".to_vec(), value: b"v".to_vec() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let data = if index == 7 { request.encode_to_vec() } else { Vec::new() };
    Entry { term: 6, index, data, ..Default::default() }
}

/// Writes two regions, split at `m`; some rows are in SSTs, some only in the WAL.
pub fn fill(store: &Store) {
    let ident = StoreIdent { cluster_id: 77, store_id: 1, api_version: ApiVersion::V1.into() };
    store.kv.put_msg(keys::STORE_IDENT_KEY, &ident).unwrap();
    store.put_region(2, b"", b"m");
    store.put_region(4, b"m", b"");
    store.put_version(b"a", 10, 11, b"first");
    store.put_version(b"big", 10, 11, &[b'B'; 300]);
    store.put_version(b"gone", 10, 11, b"x");
    store.kv.flush_cfs(&[CF_DEFAULT, CF_LOCK, CF_WRITE, CF_RAFT], true).unwrap();
    store.put_version(b"a", 20, 21, b"second");
    store.put_version(b"n", 20, 21, b"right");
    store.put_lock(b"a", 30);
    store.kv.delete_cf(CF_WRITE, &versioned(b"gone", 11)).unwrap();
    store.kv.put_cf(CF_DEFAULT, b"zraw\x01", b"plain").unwrap();
}

/// Runs the tool; returns exit code, standard output and standard error.
pub fn ctl(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = tikv_ctl::run(std::iter::once("tikv-ctl").chain(args.iter().copied()), &mut out, &mut err);
    let number = (0..=255).find(|n| format!("{:?}", ExitCode::from(*n)) == format!("{code:?}")).unwrap();
    (number, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Returns every file below `dir` with its bytes.
pub fn contents(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

/// Longer lines are shortened to their first characters, their length and their checksum.
const MAX_LINE: usize = 400;
const KEPT_OF_LINE: usize = 80;

/// Returns a line as the files of expected outputs have it.
pub fn shorten(line: &str) -> String {
    if line.chars().count() <= MAX_LINE {
        return line.to_owned();
    }
    let first: String = line.chars().take(KEPT_OF_LINE).collect();
    format!("{first}… ({} bytes, crc32 {:08x})", line.len(), crc32fast::hash(line.as_bytes()))
}

/// Copies the files of a directory that no process is changing.
pub fn copy_dir(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
}
