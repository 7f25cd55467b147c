//! The identity of a snapshot, and the errors that name it.
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use kvproto::{eraftpb as wire, raft_serverpb::RaftSnapshotData};
use prost::Message;

/// Error of a snapshot: its files, or a message about it.
#[derive(Debug, thiserror::Error)]
pub enum SnapError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Reason that the system gives.
        source: io::Error,
    },
    /// The snapshot is in use; what for.
    #[error("snapshot {0} is already being {1}; retry after that ends")]
    Busy(SnapKey, &'static str),
    /// The directory has no such snapshot.
    #[error("snapshot {0} not found in {1}")]
    NotFound(SnapKey, PathBuf),
    /// Size or checksum of a file differs from the meta.
    #[error(
        "{path}: expected size {want} and crc32 {want_crc:08x}, found {have} and {have_crc:08x}; the file is corrupt"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Expected bytes.
        want: u64,
        /// Expected CRC-32.
        want_crc: u32,
        /// Bytes found.
        have: u64,
        /// CRC-32 found.
        have_crc: u32,
    },
    /// A message or file cannot be decoded; the reason.
    #[error("{0}")]
    BadMessage(String),
    /// Error of RocksDB.
    #[error(transparent)]
    Engine(#[from] engine_rocks::Error),
    /// The snapshot was cancelled.
    #[error("snapshot {0} was cancelled")]
    Cancelled(SnapKey),
}

/// Result of this module's functions.
pub type Result<T> = std::result::Result<T, SnapError>;

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapError + '_ {
    move |source| SnapError::Io { path: path.to_owned(), source }
}

/// Identity of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapKey {
    /// Id of the region.
    pub region_id: u64,
    /// Term of the last entry that the snapshot contains.
    pub term: u64,
    /// Index of the last entry that the snapshot contains.
    pub idx: u64,
}

impl SnapKey {
    /// Creates a key.
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
}

impl fmt::Display for SnapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.region_id, self.term, self.idx)
    }
}
