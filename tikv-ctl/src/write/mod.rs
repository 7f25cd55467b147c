//! Changes of a data directory that no server runs on: planned from what is read, shown, confirmed, written down so that
//! they can be undone, and only then made.

pub mod files;
pub mod flashback;
pub mod mvcc_check;
pub mod plans;
pub mod repair;
mod undo;

use std::path::{Path, PathBuf};

use engine_rocks::{DbConfig, RocksEngine};
use kvproto::raft_serverpb::RaftLocalState;
use prost::Message;
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, StoreConfig, text::message_text};

pub use undo::{Flashback, UndoFile};

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "in")]
pub enum Target {
    /// A key of the data's RocksDB; the key in hexadecimal.
    Kv { cf: String, key: String },
    /// The Raft state of a region in raft-engine.
    RaftState { region_id: u64 },
    /// All bytes of a file of the data directory.
    File { path: PathBuf },
}

/// One change: values in hexadecimal, none where there is no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    #[serde(flatten)]
    pub target: Target,
    pub old: Option<String>,
    pub new: Option<String>,
    /// Why, for people.
    pub why: String,
}

impl Change {
    /// A change of a key in RocksDB.
    pub fn kv(
        cf: &str,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        why: impl Into<String>,
    ) -> Change {
        let target = Target::Kv { cf: cf.to_owned(), key: keys::hex_upper(key) };
        Change { target, old: old.map(keys::hex_upper), new: new.map(keys::hex_upper), why: why.into() }
    }

    /// A change of a region's Raft state.
    pub fn raft_state(
        region_id: u64,
        old: Option<&RaftLocalState>,
        new: Option<&RaftLocalState>,
        why: impl Into<String>,
    ) -> Change {
        let hex = |state: &RaftLocalState| keys::hex_upper(&state.encode_to_vec());
        Change {
            target: Target::RaftState { region_id },
            old: old.map(hex),
            new: new.map(hex),
            why: why.into(),
        }
    }

    /// A change of the whole file `path`, by its place in the data directory.
    pub fn file(path: &Path, old: &[u8], new: &[u8], why: impl Into<String>) -> Change {
        let target = Target::File { path: path.to_owned() };
        Change { target, old: Some(keys::hex_upper(old)), new: Some(keys::hex_upper(new)), why: why.into() }
    }

    fn inverse(&self) -> Change {
        Change { old: self.new.clone(), new: self.old.clone(), why: "undo".to_owned(), ..self.clone() }
    }

    /// What it does, in full.
    pub fn text(&self) -> String {
        let (place, message) = match &self.target {
            Target::RaftState { region_id } => (
                format!("raft-engine, region {region_id}, RaftLocalState"),
                Some("raft_serverpb.RaftLocalState"),
            ),
            Target::Kv { cf, key } => (format!("CF {cf}, key {key}"), kv_message(cf, key)),
            Target::File { path } => {
                let bytes = |hex: &Option<String>| hex.as_ref().map_or(0, |hex| hex.len() / 2);
                let (old, new) = (bytes(&self.old), bytes(&self.new));
                return format!(
                    "file {}: {}\n  old {old} bytes\n  new {new} bytes",
                    path.display(),
                    self.why
                );
            }
        };
        let value = |hex: &Option<String>| match hex {
            None => "none".to_owned(),
            Some(hex) => {
                let bytes = keys::hex_decode(hex).unwrap_or_default();
                let text = message.and_then(|message| message_text(message, &bytes).ok());
                text.map_or_else(|| hex.clone(), |text| format!("{{ {text} }}"))
            }
        };
        format!("{place}: {}\n  old {}\n  new {}", self.why, value(&self.old), value(&self.new))
    }
}

/// The message that a key of CF raft holds.
fn kv_message(cf: &str, key: &str) -> Option<&'static str> {
    let key = keys::hex_decode(key).ok().filter(|_| cf == "raft")?;
    if keys::decode_region_meta_key(&key).is_ok() {
        return Some("raft_serverpb.RegionLocalState");
    }
    let (_, suffix) = keys::decode_region_raft_key(&key).ok()?;
    (suffix == keys::APPLY_STATE_SUFFIX).then_some("raft_serverpb.RaftApplyState")
}

/// Both engines of a store, locked.
pub struct Engines {
    kv: RocksEngine,
    raft: Option<RaftLogEngine>,
}

fn locked(e: impl std::fmt::Display) -> Error {
    Error::other(format!(
        "{e}; nothing was changed. A command that writes needs the directory for itself: stop the server"
    ))
}

impl Engines {
    /// Opens what lies in `dir`, and locks it. `raft`: the Raft log is needed, too.
    pub fn open(dir: &Path, config: &StoreConfig, raft: bool) -> Result<Engines> {
        if config.wal_dir.is_some() {
            return Err(Error::other(
                "rocksdb.wal-dir is set: a command that writes does not support a WAL elsewhere; nothing was changed",
            ));
        }
        if dir.join(crate::encryption::FILE_DICT).is_file() {
            return Err(Error::other(format!(
                "{}: it is encrypted at rest (it has file.dict): such a directory is read, not written; nothing was changed",
                dir.display()
            )));
        }
        if dir.join("tablets").is_dir() {
            return Err(Error::other(format!(
                "{}: it has tablets/ (partitioned-raft-kv): such a directory is read, not written; nothing was changed",
                dir.display()
            )));
        }
        // SSTs stay as TiKV wrote them, with its properties: only the WAL grows.
        let mut db = DbConfig { create_if_missing: false, avoid_flush: true, ..DbConfig::small() };
        for cf in [&mut db.defaultcf, &mut db.lockcf, &mut db.writecf, &mut db.raftcf] {
            cf.disable_auto_compactions = true;
        }
        let kv = RocksEngine::open(dir.join("db"), &db).map_err(locked)?;
        let raft = if raft { Some(open_raft(&raft_dir(dir, config))?) } else { None };
        Ok(Engines { kv, raft })
    }

    fn raft(&self) -> Result<&RaftLogEngine> {
        self.raft.as_ref().ok_or_else(|| Error::other("the Raft log is not open"))
    }

    fn current(&self, target: &Target) -> Result<Option<String>> {
        let fail = |e: &dyn std::fmt::Display| Error::other(e.to_string());
        Ok(match target {
            Target::Kv { cf, key } => {
                let key = decode(key)?;
                self.kv.get_value_cf(cf, &key).map_err(|e| fail(&e))?.map(|value| keys::hex_upper(&value))
            }
            Target::RaftState { region_id } => {
                let state = self.raft()?.get_raft_state(*region_id).map_err(|e| fail(&e))?;
                state.map(|state| keys::hex_upper(&state.encode_to_vec()))
            }
            Target::File { .. } => None,
        })
    }

    /// Fails unless every value is still the one that the plan was made from.
    pub fn check(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let now = self.current(&change.target)?;
            if now != change.old {
                return Err(Error::other(format!(
                    "{:?} is {} now and not {}: the store changed since; nothing was changed",
                    change.target,
                    now.as_deref().unwrap_or("none"),
                    change.old.as_deref().unwrap_or("none")
                )));
            }
        }
        Ok(())
    }

    /// Makes the changes: of RocksDB in one batch, then of the Raft log in one, each synced.
    pub fn apply(&self, changes: &[Change]) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| Error::other(format!("writing: {e}"));
        let mut batch = self.kv.write_batch();
        for change in changes {
            let Target::Kv { cf, key } = &change.target else { continue };
            let key = decode(key)?;
            match &change.new {
                Some(value) => batch.put_cf(cf, &key, &decode(value)?),
                None => batch.delete_cf(cf, &key),
            }
            .map_err(|e| fail(&e))?;
        }
        if !batch.is_empty() {
            batch.write_opt(true).map_err(|e| fail(&e))?;
        }
        if !changes.iter().any(|change| matches!(change.target, Target::RaftState { .. })) {
            return Ok(());
        }
        let raft = self.raft()?;
        let mut batch = raft.log_batch(changes.len());
        for change in changes {
            let Target::RaftState { region_id } = change.target else { continue };
            match &change.new {
                Some(value) => {
                    let state = RaftLocalState::decode(decode(value)?.as_slice()).map_err(|e| fail(&e))?;
                    batch.put_raft_state(region_id, &state).map_err(|e| fail(&e))?;
                }
                None => batch.clean(region_id),
            }
        }
        raft.consume(&mut batch, true).map(|_| ()).map_err(|e| fail(&e))
    }

    /// Compacts a range of a column family into its last level.
    pub fn compact(&self, cf: &str, from: &[u8], to: &[u8], threads: u32) -> Result<()> {
        let bound = |key: &'_ [u8]| (!key.is_empty()).then(|| key.to_vec());
        let (from, to) = (bound(from), bound(to));
        let bottommost = engine_rocks::BottommostLevelCompaction::IfHaveCompactionFilter;
        self.kv
            .manual_compact_range_cf(cf, from.as_deref(), to.as_deref(), threads, bottommost)
            .map_err(|e| Error::other(e.to_string()))
    }
}

fn decode(hex: &str) -> Result<Vec<u8>> {
    keys::hex_decode(hex).map_err(|e| Error::other(format!("{hex:?} is not hexadecimal: {e}")))
}

/// Where raft-engine's files are.
pub fn raft_dir(dir: &Path, config: &StoreConfig) -> PathBuf {
    config.raft_engine_dir.clone().unwrap_or_else(|| dir.join("raft-engine"))
}

/// Opens raft-engine's directory for writing.
pub fn open_raft(dir: &Path) -> Result<RaftLogEngine> {
    let config = RaftEngineConfig { create_if_missing: false, ..RaftEngineConfig::default() };
    RaftLogEngine::open(dir, &config).map_err(locked)
}
