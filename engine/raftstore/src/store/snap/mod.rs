//! Snapshots as files, with TiKV's names and formats. Mirrors `raftstore::store::snap`.
//!
//! A snapshot is `{gen|rev}_{region}_{term}_{index}`: a `.meta` (protobuf `SnapshotMeta`) and one file for
//! each non-empty column family: SST for default and write, plain pairs for lock. `gen_` is to be sent,
//! `rev_` was received.
mod apply;
mod build;
mod manager;
mod plain;
mod recv;
mod send;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use kvproto::{
    eraftpb as wire,
    raft_serverpb::{RaftSnapshotData, SnapshotMeta},
};
use prost::Message;

pub use apply::clear_range;
pub use build::build_snapshot;
pub use manager::{SnapEntry, SnapManager, SnapStats};
pub use recv::ReceivingSnapshot;
pub use send::SendingSnapshot;

/// Version of `RaftSnapshotData` for data in files.
pub const SNAPSHOT_VERSION: u64 = 2;
/// Bytes of a chunk on the wire.
pub const SNAP_CHUNK_LEN: usize = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum SnapError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("snapshot {0} is already being {1}; retry after that ends")]
    Busy(SnapKey, &'static str),
    #[error("snapshot {0} not found in {1}")]
    NotFound(SnapKey, PathBuf),
    #[error(
        "{path}: expected size {want} and crc32 {want_crc:08x}, found {have} and {have_crc:08x}; the file is corrupt"
    )]
    Corrupt { path: PathBuf, want: u64, want_crc: u32, have: u64, have_crc: u32 },
    #[error("{0}")]
    BadMessage(String),
    #[error(transparent)]
    Engine(#[from] engine_rocks::Error),
    #[error("snapshot {0} was cancelled")]
    Cancelled(SnapKey),
}

pub type Result<T> = std::result::Result<T, SnapError>;

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapError + '_ {
    move |source| SnapError::Io { path: path.to_owned(), source }
}

/// Identity of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapKey {
    pub region_id: u64,
    pub term: u64,
    pub idx: u64,
}

impl SnapKey {
    pub fn new(region_id: u64, term: u64, idx: u64) -> Self {
        Self { region_id, term, idx }
    }

    /// Returns the key of a snapshot in a `raft` message.
    pub fn from_region_snap(region_id: u64, snap: &raft::eraftpb::Snapshot) -> Self {
        Self::new(region_id, snap.get_metadata().term, snap.get_metadata().index)
    }

    /// Returns the key and the data of a snapshot in a message on the wire.
    pub fn from_wire(snap: &wire::Snapshot) -> Result<(Self, RaftSnapshotData)> {
        let bad = |what: &str| SnapError::BadMessage(format!("expected a snapshot with {what}"));
        let meta = snap.metadata.as_ref().ok_or_else(|| bad("metadata, found none"))?;
        let data =
            RaftSnapshotData::decode(snap.data.as_slice()).map_err(|e| bad(&format!("its region: {e}")))?;
        let region = data.region.as_ref().ok_or_else(|| bad("a region, found none"))?;
        Ok((Self::new(region.id, meta.term, meta.index), data))
    }

    /// Returns `gen_1_6_7` or `rev_1_6_7`.
    fn prefix(&self, sending: bool) -> String {
        format!("{}_{self}", if sending { GEN_PREFIX } else { REV_PREFIX })
    }
}

impl fmt::Display for SnapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.region_id, self.term, self.idx)
    }
}

const GEN_PREFIX: &str = "gen";
const REV_PREFIX: &str = "rev";
const SST_SUFFIX: &str = ".sst";
const META_SUFFIX: &str = ".meta";
const TMP_SUFFIX: &str = ".tmp";
const CLONE_SUFFIX: &str = ".clone";

/// Paths of one snapshot's files.
#[derive(Clone, Debug)]
pub(crate) struct SnapPaths {
    dir: PathBuf,
    prefix: String,
}

impl SnapPaths {
    pub(crate) fn new(dir: &Path, key: &SnapKey, sending: bool) -> Self {
        Self { dir: dir.to_owned(), prefix: key.prefix(sending) }
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.dir.join(format!("{}{META_SUFFIX}", self.prefix))
    }

    /// Returns the path of the `part`-th file of a column family; the first file has no number.
    pub(crate) fn cf(&self, cf: &str, part: usize) -> PathBuf {
        let number = if part == 0 { String::new() } else { format!("_{part:04}") };
        self.dir.join(format!("{}_{cf}{number}{SST_SUFFIX}", self.prefix))
    }

    /// Returns the files listed in a meta, in its order, with their sizes and checksums.
    pub(crate) fn cf_files(&self, meta: &SnapshotMeta) -> Vec<CfFile> {
        let mut files: Vec<CfFile> = Vec::with_capacity(meta.cf_files.len());
        for file in &meta.cf_files {
            let part = files.iter().filter(|f| f.cf == file.cf).count();
            let path = self.cf(&file.cf, part);
            files.push(CfFile { cf: file.cf.clone(), path, size: file.size, checksum: file.checksum });
        }
        files
    }

    pub(crate) fn read_meta(&self) -> Result<Option<SnapshotMeta>> {
        let path = self.meta();
        match std::fs::read(&path) {
            Ok(bytes) => SnapshotMeta::decode(bytes.as_slice())
                .map(Some)
                .map_err(|e| SnapError::BadMessage(format!("{}: {e}", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&path)(e)),
        }
    }

    /// Writes the meta. Call it last: the meta makes the snapshot valid.
    pub(crate) fn write_meta(&self, meta: &SnapshotMeta) -> Result<()> {
        let path = self.meta();
        let tmp = tmp_path(&path);
        plain::write_synced(&tmp, &meta.encode_to_vec())?;
        std::fs::rename(&tmp, &path).map_err(io_error(&path))?;
        plain::sync_dir(&self.dir)
    }

    /// Removes the meta first, so that leftover files never count as a snapshot.
    pub(crate) fn remove(&self, meta: &SnapshotMeta) {
        let _ = std::fs::remove_file(self.meta());
        for file in self.cf_files(meta) {
            let _ = std::fs::remove_file(tmp_path(&file.path));
            let _ = std::fs::remove_file(clone_path(&file.path));
            let _ = std::fs::remove_file(file.path);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CfFile {
    pub cf: String,
    pub path: PathBuf,
    pub size: u64,
    pub checksum: u32,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    with_suffix(path, TMP_SUFFIX)
}

pub(crate) fn clone_path(path: &Path) -> PathBuf {
    with_suffix(path, CLONE_SUFFIX)
}

#[cfg(test)]
mod tests;
