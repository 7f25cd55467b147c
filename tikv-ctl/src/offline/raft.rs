//! The Raft log: in raft-engine, or in a RocksDB of its own.
use std::path::Path;

use keys::CF_DEFAULT;
use kvproto::{eraftpb::Entry, raft_serverpb::RaftLocalState};
use prost::Message;
use store_files::io::Damage;

use super::config::StoreConfig;
use crate::{
    Error,
    encryption::Keyring,
    error::DebugError,
    lsm::Db,
    raft_engine::{RaftEngineDir, is_raft_engine_dir},
    source::Answer,
};

/// Key of a group's `RaftLocalState` in raft-engine (TiKV `raft_log_engine`).
pub(crate) const RAFT_LOG_STATE_KEY: &[u8] = b"R";

/// Store of the Raft log.
#[derive(Debug)]
pub enum RaftStore {
    Engine(RaftEngineDir),
    Db(Db),
}

impl RaftStore {
    /// Opens the engine that `config` selects, or the one in the data directory `dir`.
    pub fn open(dir: &Path, config: &StoreConfig, keyring: &Keyring) -> crate::Result<RaftStore> {
        let engine_dir = config.raft_engine_dir.clone().unwrap_or_else(|| dir.join("raft-engine"));
        let db_dir = config.raftdb_path.clone().unwrap_or_else(|| dir.join("raft"));
        let has_db = db_dir.join("CURRENT").is_file();
        let use_engine = config.raft_engine_enable.unwrap_or(is_raft_engine_dir(&engine_dir) || !has_db);
        if use_engine {
            if !engine_dir.is_dir() {
                let what = "expected the Raft log, found no such directory: it is missing, or in another place: give --config with \
                            raft-engine.dir";
                return Err(Error::other(format!(
                    "raft engine not exists: {}: {what}",
                    engine_dir.display()
                )));
            }
            let spill_dir = config.raft_engine_spill_dir.as_deref();
            return Ok(RaftStore::Engine(RaftEngineDir::open(&engine_dir, spill_dir, keyring)?));
        }
        if !has_db {
            let what =
                "expected a RocksDB with the Raft log, found none: give --config with raftstore.raftdb-path";
            return Err(Error::other(format!("raft db not exists: {}: {what}", db_dir.display())));
        }
        Ok(RaftStore::Db(Db::open(&db_dir, config.raftdb_wal_dir.as_deref(), keyring)?))
    }

    /// Returns problems that lose no data, or may lose none.
    pub fn warnings(&self) -> &[String] {
        match self {
            RaftStore::Engine(engine) => engine.warnings(),
            RaftStore::Db(db) => db.warnings(),
        }
    }

    /// Returns the data losses found so far.
    pub fn damages(&self) -> Vec<Damage> {
        match self {
            RaftStore::Engine(engine) => engine.damages().to_vec(),
            RaftStore::Db(db) => db.damages(),
        }
    }

    /// Returns the directory of the Raft log.
    pub fn dir(&self) -> &Path {
        match self {
            RaftStore::Engine(engine) => engine.dir(),
            RaftStore::Db(db) => db.dir(),
        }
    }

    /// Whether it has no Raft group at all.
    pub fn is_empty(&self) -> bool {
        matches!(self, RaftStore::Engine(engine) if engine.groups().next().is_none())
    }

    /// Returns a region's `RaftLocalState`.
    pub fn local_state(&self, region: u64) -> Answer<Option<RaftLocalState>> {
        let value = match self {
            RaftStore::Engine(engine) => engine.get(region, RAFT_LOG_STATE_KEY).map(<[u8]>::to_vec),
            RaftStore::Db(db) => db.get(CF_DEFAULT, &keys::raft_state_key(region))?,
        };
        let Some(value) = value else { return Ok(None) };
        let state = RaftLocalState::decode(value.as_slice());
        let bad = |e| DebugError::Other(format!("cannot decode the RaftLocalState of region {region}: {e}"));
        state.map(Some).map_err(bad)
    }

    /// Calls `take` with the region and the bytes of each entry, in any order; returns unreadable
    /// data.
    pub fn each_entry(&self, take: &mut dyn FnMut(u64, &[u8])) -> Answer<Vec<Damage>> {
        match self {
            RaftStore::Engine(engine) => Ok(engine.each_entry(take)?),
            RaftStore::Db(db) => {
                let mut iter = db.scan(CF_DEFAULT, &[keys::LOCAL_PREFIX, 2], &[keys::LOCAL_PREFIX, 3])?;
                while iter.advance()? {
                    if let Ok((region, _)) = keys::decode_raft_log_key(iter.key()) {
                        take(region, iter.value());
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    /// Returns the entry of `region` at `index`.
    pub fn entry(&self, region: u64, index: u64) -> Answer<Option<Entry>> {
        match self {
            RaftStore::Engine(engine) => Ok(engine.entry(region, index)?),
            RaftStore::Db(db) => {
                let Some(value) = db.get(CF_DEFAULT, &keys::raft_log_key(region, index))? else {
                    return Ok(None);
                };
                let entry = Entry::decode(value.as_slice());
                let bad =
                    |e| DebugError::Other(format!("cannot decode entry {index} of region {region}: {e}"));
                entry.map(Some).map_err(bad)
            }
        }
    }
}
