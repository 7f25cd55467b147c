//! The snapshot directory: its snapshots and their current users.
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use engine_rocks::RocksEngine;
use kvproto::{metapb::Region, raft_serverpb::SnapshotMeta};

use super::{
    apply,
    key::{Result, SnapError, SnapKey, io_error},
    paths::{CLONE_SUFFIX, SnapPaths, TMP_SUFFIX, parse_meta_name},
    recv::ReceivingSnapshot,
    registry::{Registry, SnapEntry, SnapStats},
    send::{self, SendingSnapshot},
};

/// Snapshots of a store, in `snap/`. TiKV: `raftstore::store::snap::SnapManager`.
#[derive(Clone)]
pub struct SnapManager {
    dir: PathBuf,
    registry: Registry,
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
        Ok(Self { dir, registry: Registry::default() })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn paths(&self, key: &SnapKey, sending: bool) -> SnapPaths {
        SnapPaths::new(&self.dir, key, sending)
    }

    /// Marks a snapshot as used, so that it is not deleted.
    pub fn register(&self, key: SnapKey, entry: SnapEntry) {
        self.registry.register(key, entry);
    }

    /// Ends one use of a snapshot.
    pub fn deregister(&self, key: &SnapKey, entry: SnapEntry) {
        self.registry.deregister(key, entry);
    }

    /// Counts the snapshots in use.
    pub fn stats(&self) -> SnapStats {
        self.registry.stats()
    }

    /// Opens a generated snapshot for sending.
    pub fn get_snapshot_for_sending(&self, key: &SnapKey) -> Result<SendingSnapshot> {
        let paths = self.paths(key, true);
        let meta = paths.read_meta()?.ok_or_else(|| SnapError::NotFound(*key, self.dir.clone()))?;
        let files: Vec<_> = paths.cf_files(&meta).into_iter().filter(|f| f.size > 0).collect();
        let total = files.iter().map(|f| f.size).sum();
        let files: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
        send::check_readable(&files)?;
        self.registry.register(*key, SnapEntry::Sending);
        Ok(SendingSnapshot::open(self.registry.clone(), *key, files, total))
    }

    /// Creates the files to receive a snapshot into, as described by its sender.
    pub fn get_snapshot_for_receiving(&self, key: &SnapKey, meta: SnapshotMeta) -> Result<ReceivingSnapshot> {
        if self.registry.has(key, SnapEntry::Receiving) {
            return Err(SnapError::Busy(*key, "received"));
        }
        let paths = self.paths(key, false);
        let exists = paths.read_meta()?.is_some();
        self.registry.register(*key, SnapEntry::Receiving);
        Ok(ReceivingSnapshot::new(self.registry.clone(), *key, paths, meta, exists))
    }

    /// Whether a received snapshot is complete.
    pub fn has_received(&self, key: &SnapKey) -> bool {
        matches!(self.paths(key, false).read_meta(), Ok(Some(_)))
    }

    /// Replaces the region's data with that of a received snapshot; durable on return.
    pub fn apply_snapshot(&self, key: &SnapKey, kv: &RocksEngine, region: &Region) -> Result<()> {
        apply::apply_snapshot(&self.paths(key, false), key, kv, region)
    }

    /// Removes a snapshot's files unless they are in use. Returns whether they were removed.
    pub fn delete_snapshot(&self, key: &SnapKey, sending: bool) -> Result<bool> {
        if self.registry.in_use(key) {
            return Ok(false);
        }
        let paths = self.paths(key, sending);
        let meta = paths.read_meta()?.unwrap_or_default();
        paths.remove(&meta);
        Ok(true)
    }

    /// Lists the snapshots not in use: key, whether it is one to send, and its age.
    pub fn list_idle_snap(&self) -> Result<Vec<(SnapKey, bool, Duration)>> {
        let mut idle = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io_error(&self.dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((key, sending)) = parse_meta_name(&name) else { continue };
            if self.registry.in_use(&key) {
                continue;
            }
            let modified = entry.metadata().and_then(|m| m.modified()).unwrap_or_else(|_| SystemTime::now());
            idle.push((key, sending, modified.elapsed().unwrap_or_default()));
        }
        Ok(idle)
    }
}
