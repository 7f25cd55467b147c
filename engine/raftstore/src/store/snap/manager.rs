//! The snapshot directory: its snapshots and their current users.
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use engine_rocks::RocksEngine;
use kvproto::{metapb::Region, raft_serverpb::SnapshotMeta};
use parking_lot::Mutex;

use super::{
    CLONE_SUFFIX, GEN_PREFIX, META_SUFFIX, REV_PREFIX, ReceivingSnapshot, Result, SendingSnapshot, SnapError,
    SnapKey, SnapPaths, TMP_SUFFIX, apply, io_error, send,
};

/// Current use of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapEntry {
    Generating,
    Sending,
    Receiving,
    Applying,
}

/// Number of snapshots being sent and received, for store heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapStats {
    pub sending: usize,
    pub receiving: usize,
    pub applying: usize,
}

struct Core {
    dir: PathBuf,
    registry: Mutex<HashMap<SnapKey, Vec<SnapEntry>>>,
}

/// Snapshots of a store, in `snap/`. TiKV: `raftstore::store::snap::SnapManager`.
#[derive(Clone)]
pub struct SnapManager {
    core: Arc<Core>,
}

impl SnapManager {
    /// Creates the directory and removes partial files of an interrupted run.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        fs::create_dir_all(&dir).map_err(io_error(&dir))?;
        for entry in fs::read_dir(&dir).map_err(io_error(&dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(TMP_SUFFIX) || name.ends_with(CLONE_SUFFIX) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { core: Arc::new(Core { dir, registry: Mutex::default() }) })
    }

    pub fn path(&self) -> &Path {
        &self.core.dir
    }

    pub(crate) fn paths(&self, key: &SnapKey, sending: bool) -> SnapPaths {
        SnapPaths::new(&self.core.dir, key, sending)
    }

    pub fn register(&self, key: SnapKey, entry: SnapEntry) {
        self.core.registry.lock().entry(key).or_default().push(entry);
    }

    pub fn deregister(&self, key: &SnapKey, entry: SnapEntry) {
        let mut registry = self.core.registry.lock();
        let Some(entries) = registry.get_mut(key) else { return };
        if let Some(at) = entries.iter().position(|e| *e == entry) {
            entries.swap_remove(at);
        }
        if entries.is_empty() {
            registry.remove(key);
        }
    }

    fn has(&self, key: &SnapKey, entry: SnapEntry) -> bool {
        self.core.registry.lock().get(key).is_some_and(|entries| entries.contains(&entry))
    }

    pub fn stats(&self) -> SnapStats {
        let registry = self.core.registry.lock();
        let count = |entry| registry.values().flatten().filter(|e| **e == entry).count();
        SnapStats {
            sending: count(SnapEntry::Sending),
            receiving: count(SnapEntry::Receiving),
            applying: count(SnapEntry::Applying),
        }
    }

    /// Opens a generated snapshot for sending.
    pub fn get_snapshot_for_sending(&self, key: &SnapKey) -> Result<SendingSnapshot> {
        let paths = self.paths(key, true);
        let meta = paths.read_meta()?.ok_or_else(|| SnapError::NotFound(*key, self.core.dir.clone()))?;
        let files: Vec<_> = paths.cf_files(&meta).into_iter().filter(|f| f.size > 0).collect();
        let total = files.iter().map(|f| f.size).sum();
        let files: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
        send::check_readable(&files)?;
        self.register(*key, SnapEntry::Sending);
        Ok(SendingSnapshot::open(self.clone(), *key, files, total))
    }

    /// Creates the files to receive a snapshot into, as described by its sender.
    pub fn get_snapshot_for_receiving(&self, key: &SnapKey, meta: SnapshotMeta) -> Result<ReceivingSnapshot> {
        if self.has(key, SnapEntry::Receiving) {
            return Err(SnapError::Busy(*key, "received"));
        }
        let paths = self.paths(key, false);
        let exists = paths.read_meta()?.is_some();
        self.register(*key, SnapEntry::Receiving);
        Ok(ReceivingSnapshot::new(self.clone(), *key, paths, meta, exists))
    }

    /// Whether a received snapshot is complete.
    pub fn has_received(&self, key: &SnapKey) -> bool {
        matches!(self.paths(key, false).read_meta(), Ok(Some(_)))
    }

    /// Replaces the region's data with that of a received snapshot; durable on return.
    pub fn apply_snapshot(&self, key: &SnapKey, kv: &RocksEngine, region: &Region) -> Result<()> {
        apply::apply_snapshot(self, key, kv, region)
    }

    /// Removes a snapshot's files unless they are in use. Returns whether they were removed.
    pub fn delete_snapshot(&self, key: &SnapKey, sending: bool) -> Result<bool> {
        if self.core.registry.lock().contains_key(key) {
            return Ok(false);
        }
        let paths = self.paths(key, sending);
        let meta = paths.read_meta()?.unwrap_or_default();
        paths.remove(&meta);
        Ok(true)
    }

    /// Lists the snapshots not in use: key, whether it is one to send, and its age.
    pub fn list_idle_snap(&self) -> Result<Vec<(SnapKey, bool, Duration)>> {
        let registry = self.core.registry.lock();
        let mut idle = Vec::new();
        for entry in fs::read_dir(&self.core.dir).map_err(io_error(&self.core.dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((key, sending)) = parse_meta_name(&name) else { continue };
            if registry.contains_key(&key) {
                continue;
            }
            let modified = entry.metadata().and_then(|m| m.modified()).unwrap_or_else(|_| SystemTime::now());
            idle.push((key, sending, modified.elapsed().unwrap_or_default()));
        }
        Ok(idle)
    }
}

/// Parses a name such as `gen_1_6_7.meta` into the key and whether it is one to send.
fn parse_meta_name(name: &str) -> Option<(SnapKey, bool)> {
    let mut parts = name.strip_suffix(META_SUFFIX)?.split('_');
    let sending = match parts.next()? {
        GEN_PREFIX => true,
        REV_PREFIX => false,
        _ => return None,
    };
    let mut number = || parts.next()?.parse().ok();
    let key = SnapKey::new(number()?, number()?, number()?);
    parts.next().is_none().then_some((key, sending))
}
