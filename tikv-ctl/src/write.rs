//! Changes of a data directory that no server is using: planned from the data, shown, confirmed, saved to an
//! undo file, and only then made.
pub mod compact;
mod engines;
pub mod fate;
pub mod files;
pub mod flashback;
pub mod mvcc_check;
pub mod plan;
pub mod plans;
pub mod repair;
mod undo;

use std::path::{Path, PathBuf};

use kvproto::raft_serverpb::RaftLocalState;
use prost::Message;
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Offline, Result, StoreConfig,
    offline::{APPLY_STATE, REGION_STATE},
    text::message_text,
};

pub use engines::Engines;
pub use undo::{Flashback, UndoFile};

/// Object of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "in")]
pub enum Target {
    /// A key of the data's RocksDB, or of a region's tablet: the RocksDB at `db` in the directory. The key is
    /// in hexadecimal.
    Kv {
        cf: String,
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        db: Option<PathBuf>,
    },
    /// The Raft state of a region: in raft-engine, or in the RocksDB of the Raft log.
    RaftState { region_id: u64 },
    /// Another key of a region in raft-engine, in hexadecimal: the states of regions that have tablets.
    RaftKey { region_id: u64, key: String },
    /// All bytes of a file of the data directory.
    File { path: PathBuf },
}

/// One change. Values are in hexadecimal; `None` stands for no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    #[serde(flatten)]
    pub target: Target,
    pub old: Option<String>,
    pub new: Option<String>,
    /// Reason for the change, for people.
    pub why: String,
}

impl Change {
    /// Creates a change of a key in RocksDB.
    pub fn kv(
        cf: &str,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        why: impl Into<String>,
    ) -> Change {
        let target = Target::Kv { cf: cf.to_owned(), key: keys::hex_upper(key), db: None };
        Change { target, old: old.map(keys::hex_upper), new: new.map(keys::hex_upper), why: why.into() }
    }

    /// Creates a change of a region's state in the engine where `store` has it. `kv_key` is its key in column
    /// family raft, `prefix` that in raft-engine. raft-engine has one key for each index: the new state is
    /// that of `applied`, or of the newest.
    fn state(
        store: &Offline,
        region_id: u64,
        (prefix, kv_key): (u8, &[u8]),
        applied: u64,
        (old, new): (Option<&[u8]>, &[u8]),
        why: String,
    ) -> Change {
        let Some(engine) = store.state_engine() else {
            return Change::kv("raft", kv_key, old, Some(new), why);
        };
        let newest =
            engine.group(region_id).and_then(|group| group.newest(prefix, u64::MAX)).map_or(0, |(at, _)| at);
        let key = [&[prefix][..], &newest.max(applied).to_be_bytes()].concat();
        let old = engine.get(region_id, &key).map(keys::hex_upper);
        let target = Target::RaftKey { region_id, key: keys::hex_upper(&key) };
        Change { target, old, new: Some(keys::hex_upper(new)), why }
    }

    /// Assigns a change of data to its tablet.
    fn place(&mut self, store: &Offline) -> Result<()> {
        if let Target::Kv { key, db, .. } = &mut self.target {
            *db = store.place_of(&decode(key)?);
        }
        Ok(())
    }

    /// Returns the directory of the tablet that it changes.
    fn tablet(&self, dir: &Path) -> Option<PathBuf> {
        match &self.target {
            Target::Kv { db: Some(db), .. } => Some(dir.join(db)),
            _ => None,
        }
    }

    /// Returns the error that the value is `now` instead of the one that the plan was made from.
    fn is_not(&self, now: Option<&str>) -> Error {
        let what = match &self.target {
            Target::File { path } => {
                format!("expected the earlier contents of {}, found others", path.display())
            }
            target => format!(
                "expected {target:?} to be {1}, found {0}",
                now.unwrap_or("none"),
                self.old.as_deref().unwrap_or("none")
            ),
        };
        Error::other(format!(
            "{what}: the store has changed since the plan or the undo file was made; nothing was changed"
        ))
    }

    /// Creates a change of a region's Raft state.
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

    /// Creates a change of the whole file `path`, relative to the data directory.
    pub fn file(path: &Path, old: &[u8], new: &[u8], why: impl Into<String>) -> Change {
        let target = Target::File { path: path.to_owned() };
        Change { target, old: Some(keys::hex_upper(old)), new: Some(keys::hex_upper(new)), why: why.into() }
    }

    fn inverse(&self) -> Change {
        Change { old: self.new.clone(), new: self.old.clone(), why: "undo".to_owned(), ..self.clone() }
    }

    /// Describes the change in full.
    pub fn text(&self) -> String {
        let (place, message) = match &self.target {
            Target::RaftState { region_id } => (
                format!("raft-engine, region {region_id}, RaftLocalState"),
                Some("raft_serverpb.RaftLocalState"),
            ),
            Target::RaftKey { region_id, key } => {
                (format!("raft-engine, region {region_id}, key {key}"), raft_message(key))
            }
            Target::Kv { cf, key, db: None } => (format!("CF {cf}, key {key}"), kv_message(cf, key)),
            Target::Kv { cf, key, db: Some(db) } => (format!("{}, CF {cf}, key {key}", db.display()), None),
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

/// Returns the message type of a key in raft-engine.
fn raft_message(key: &str) -> Option<&'static str> {
    match *keys::hex_decode(key).ok()?.first()? {
        REGION_STATE => Some("raft_serverpb.RegionLocalState"),
        APPLY_STATE => Some("raft_serverpb.RaftApplyState"),
        _ => None,
    }
}

/// Returns the message type of a key in CF raft.
fn kv_message(cf: &str, key: &str) -> Option<&'static str> {
    let key = keys::hex_decode(key).ok().filter(|_| cf == "raft")?;
    if keys::decode_region_meta_key(&key).is_ok() {
        return Some("raft_serverpb.RegionLocalState");
    }
    let (_, suffix) = keys::decode_region_raft_key(&key).ok()?;
    (suffix == keys::APPLY_STATE_SUFFIX).then_some("raft_serverpb.RaftApplyState")
}

fn locked(e: impl std::fmt::Display) -> Error {
    Error::other(format!(
        "{e}; nothing was changed. A command that writes needs exclusive access: stop the server"
    ))
}

fn decode(hex: &str) -> Result<Vec<u8>> {
    keys::hex_decode(hex).map_err(|e| Error::other(format!("{hex:?} is not hexadecimal: {e}")))
}

/// Returns the directory of raft-engine's files.
fn raft_dir(dir: &Path, config: &StoreConfig) -> PathBuf {
    config.raft_engine_dir.clone().unwrap_or_else(|| dir.join("raft-engine"))
}

/// Opens raft-engine's directory for writing.
pub fn open_raft(dir: &Path) -> Result<RaftLogEngine> {
    let config = RaftEngineConfig { create_if_missing: false, ..RaftEngineConfig::default() };
    RaftLogEngine::open(dir, &config).map_err(locked)
}
