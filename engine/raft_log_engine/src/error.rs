use std::{path::PathBuf, result};

/// What can go wrong with the Raft log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such directory, or it holds no log.
    #[error("expected a Raft log in {dir}, met no *.raftlog file; check the path or allow to create one")]
    Missing {
        /// The log's directory.
        dir: PathBuf,
    },
    /// raft-engine takes paths in UTF-8 only.
    #[error("expected a path in UTF-8, met {dir:?}")]
    BadPath {
        /// The log's directory.
        dir: PathBuf,
    },
    /// Somebody else has the log open.
    #[error(
        "Raft log in {dir} is locked: another process (or this one) has it open; stop it first: {detail}"
    )]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// raft-engine's message.
        detail: String,
    },
    /// A file cannot be replayed.
    #[error(
        "corrupt Raft log in {dir}, file {}: {detail}; keep a copy, then open it with a more tolerant recovery mode",
        .file.as_deref().unwrap_or("not found out")
    )]
    Corrupt {
        /// The log's directory.
        dir: PathBuf,
        /// The file, as far as it can be told.
        file: Option<String>,
        /// raft-engine's message.
        detail: String,
    },
    /// Entries below the first index were asked for.
    #[error("entries of region {region_id} from index {index} are compacted, the first is {first}")]
    EntryCompacted {
        /// The region.
        region_id: u64,
        /// The index asked for.
        index: u64,
        /// The first index there is.
        first: u64,
    },
    /// Entries above the last index were asked for.
    #[error("entries of region {region_id} up to index {end} are not there, the last is {last}")]
    EntryNotFound {
        /// The region.
        region_id: u64,
        /// The end asked for, exclusive.
        end: u64,
        /// The last index there is; 0 for none.
        last: u64,
    },
    /// Entries whose indexes do not follow each other, or the log.
    #[error("entries of region {region_id} must be contiguous: expected index {expected}, met {met}")]
    NotContiguous {
        /// The region.
        region_id: u64,
        /// The index that would follow, or the least allowed.
        expected: u64,
        /// The index that was met.
        met: u64,
    },
    /// A state that does not decode.
    #[error("Raft state of region {region_id} is no valid RaftLocalState: {source}")]
    BadState {
        /// The region.
        region_id: u64,
        /// Why.
        source: prost::DecodeError,
    },
    /// A script that repairs is not what it should be.
    #[error("the script: {0}")]
    Script(String),
    /// raft-engine's own error.
    #[error("raft-engine: {0}")]
    Engine(#[from] raft_engine::Error),
}

/// The result of this crate's functions.
pub type Result<T> = result::Result<T, Error>;
