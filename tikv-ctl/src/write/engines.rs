//! Reads the current values of a locked store, and applies changes to it.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use prost::Message;

use super::{Change, Target, decode, files, files::DirLock, raft_dir};
use crate::{
    Error, Offline, Result, StoreConfig,
    encryption::Keyring,
    lsm::{self, NewLog},
    offline::{RAFT_LOG_STATE_KEY, RaftStore},
    raft_engine::{self, NewBatch},
};

/// A store that was locked first and read after that.
pub struct Engines {
    dir: PathBuf,
    /// `raftdb.wal-dir`.
    raftdb_wal_dir: Option<PathBuf>,
    keyring: Keyring,
    /// None if only files are changed.
    store: Option<Offline>,
    _lock: DirLock,
}

/// A key and its new value; no value deletes the key.
type Put = (Vec<u8>, Option<Vec<u8>>);

/// Batches by directories of a database and its WAL; each entry has column family and put.
type Batches = BTreeMap<(PathBuf, PathBuf), Vec<(String, Put)>>;

impl Engines {
    /// Locks everything that `changes` of `dir` need.
    pub fn open(dir: &Path, config: &StoreConfig, changes: &[Change]) -> Result<Engines> {
        let (kv, raft) = (dir.join("db"), config.raftdb_path.clone().unwrap_or_else(|| dir.join("raft")));
        let mut tablets: Vec<PathBuf> = changes.iter().filter_map(|change| change.tablet(dir)).collect();
        tablets.sort_unstable();
        tablets.dedup();
        // If the directory's own MANIFEST changes, the directory itself is a database.
        let dbs = [&kv, &raft].into_iter().chain(&tablets).map(PathBuf::as_path);
        let dbs: Vec<&Path> = dbs.chain([dir]).collect();
        let raft_engine = [Some(raft_dir(dir, config)), config.raft_engine_spill_dir.clone()];
        let lock = DirLock::take(dir, raft_engine.iter().flatten(), &dbs)?;
        let only_files = changes.iter().all(|change| matches!(change.target, Target::File { .. }));
        let store = if only_files { None } else { Some(Offline::open(dir, config)?) };
        let keyring = match &store {
            Some(store) => store.keyring().clone(),
            // A file may be in an encrypted directory; planning has already reported its warnings.
            None => Keyring::load_around(dir, &config.encryption)?.0,
        };
        let raftdb_wal_dir = config.raftdb_wal_dir.clone();
        Ok(Engines { dir: dir.to_owned(), raftdb_wal_dir, keyring, store, _lock: lock })
    }

    fn store(&self) -> Result<&Offline> {
        self.store.as_ref().ok_or_else(|| Error::other("the store is not open"))
    }

    fn current(&self, target: &Target) -> Result<Option<String>> {
        let value = match target {
            Target::File { path } => return files::current(&self.dir.join(path), &self.keyring),
            Target::Kv { cf, key, db } => self.store()?.database(db.as_deref())?.0.get(cf, &decode(key)?)?,
            Target::RaftState { region_id } => {
                let state = self.store()?.raft().local_state(*region_id);
                state.map_err(|e| e.into_error("Debugger::region_info"))?.map(|state| state.encode_to_vec())
            }
            Target::RaftKey { region_id, key } => match self.store()?.raft() {
                RaftStore::Engine(engine) => engine.get(*region_id, &decode(key)?).map(<[u8]>::to_vec),
                RaftStore::Db(_) => None,
            },
        };
        Ok(value.map(|value| keys::hex_upper(&value)))
    }

    /// Returns the `changes` that are still to be made. With `half_done`, some may be made already, but not
    /// all.
    ///
    /// # Errors
    /// Fails if a value differs from the one that the plan was made from.
    pub fn pending(&self, changes: Vec<Change>, half_done: bool) -> Result<Vec<Change>> {
        let (mut pending, mut made) = (Vec::with_capacity(changes.len()), None);
        for change in changes {
            let now = self.current(&change.target)?;
            if now == change.old {
                pending.push(change);
            } else if half_done && now == change.new {
                made = Some(change.is_not(now.as_deref()));
            } else {
                return Err(change.is_not(now.as_deref()));
            }
        }
        made.filter(|_| pending.is_empty()).map_or(Ok(pending), Err)
    }

    /// Prepares the changes: one batch for each RocksDB, one for raft-engine, then files.
    ///
    /// # Errors
    /// Fails if an engine would not replay its batch.
    pub fn prepare<'a>(&'a self, changes: &'a [Change]) -> Result<Prepared<'a>> {
        let (mut batches, mut raft) = (Batches::new(), Vec::new());
        for change in changes {
            let new = change.new.as_deref().map(decode).transpose()?;
            match &change.target {
                Target::Kv { cf, key, db } => {
                    let (db, wal) = self.store()?.database(db.as_deref())?;
                    let batch = batches.entry((db.dir().to_owned(), wal.to_owned())).or_default();
                    batch.push((cf.clone(), (decode(key)?, new)));
                }
                Target::RaftState { region_id } => match self.store()?.raft() {
                    RaftStore::Engine(_) => raft.push((*region_id, (RAFT_LOG_STATE_KEY.to_vec(), new))),
                    RaftStore::Db(db) => {
                        let wal = self.raftdb_wal_dir.as_deref().unwrap_or(db.dir());
                        let batch = batches.entry((db.dir().to_owned(), wal.to_owned())).or_default();
                        batch.push(("default".to_owned(), (keys::raft_state_key(*region_id).to_vec(), new)));
                    }
                },
                Target::RaftKey { region_id, key } => raft.push((*region_id, (decode(key)?, new))),
                Target::File { .. } => {}
            }
        }
        let mut logs = Vec::with_capacity(batches.len());
        for ((dir, wal_dir), batch) in &batches {
            let batch: Vec<lsm::Written<'_>> = batch
                .iter()
                .map(|(cf, (key, value))| (cf.as_str(), key.as_slice(), value.as_deref()))
                .collect();
            logs.push(lsm::new_log(dir, wal_dir, &batch, &self.keyring)?);
        }
        Ok(Prepared { dir: &self.dir, keyring: &self.keyring, logs, raft: self.raft_batch(&raft)?, changes })
    }

    fn raft_batch(&self, changes: &[(u64, Put)]) -> Result<Option<NewBatch>> {
        if changes.is_empty() {
            return Ok(None);
        }
        let RaftStore::Engine(engine) = self.store()?.raft() else {
            return Err(Error::other("the Raft log is in a RocksDB: it has no keys of raft-engine"));
        };
        let changes: Vec<raft_engine::Written<'_>> =
            changes.iter().map(|(id, (key, value))| (*id, key.as_slice(), value.as_deref())).collect();
        Ok(Some(raft_engine::new_batch(engine, &changes)?))
    }
}

/// Changes that are ready to apply; nothing is written yet.
pub struct Prepared<'a> {
    dir: &'a Path,
    keyring: &'a Keyring,
    logs: Vec<NewLog>,
    raft: Option<NewBatch>,
    changes: &'a [Change],
}

impl Prepared<'_> {
    /// Applies the changes one by one, each synced.
    pub fn apply(self) -> Result<()> {
        for log in self.logs {
            log.write()?;
        }
        if let Some(batch) = self.raft {
            batch.write()?;
        }
        files::apply(self.dir, self.changes, self.keyring)
    }
}
