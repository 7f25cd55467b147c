//! Errors of the Raft logs.
use std::{path::PathBuf, result};

/// Error of the Raft log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is missing or contains no log.
    #[error("expected a Raft log in {dir}, found no *.raftlog file; check the path")]
    Missing {
        /// The log's directory.
        dir: PathBuf,
    },
    /// raft-engine accepts only paths in UTF-8.
    #[error("expected a path in UTF-8, found {dir:?}; rename the directory")]
    BadPath {
        /// The log's directory.
        dir: PathBuf,
    },
    /// Another process has the log open.
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
        "corrupt Raft log in {dir}, file {}: {detail}; `tikv-ctl log` shows the damage: replace the store by a new \
         one, which gets the data of other replicas",
        .file.as_deref().unwrap_or("unknown")
    )]
    Corrupt {
        /// The log's directory.
        dir: PathBuf,
        /// The corrupt file, if it was found.
        file: Option<String>,
        /// raft-engine's message.
        detail: String,
    },
    /// Entries below the first index were requested.
    #[error(
        "region {region_id}: expected a request for entries from index {first} on, found {index}: those are compacted"
    )]
    EntryCompacted {
        /// The region.
        region_id: u64,
        /// The requested index.
        index: u64,
        /// The first existing index.
        first: u64,
    },
    /// Entries above the last index were requested.
    #[error(
        "region {region_id}: expected entries up to index {end}, excluded, found {last} as the last index"
    )]
    EntryNotFound {
        /// The region.
        region_id: u64,
        /// The requested end, exclusive.
        end: u64,
        /// The last existing index; 0 for none.
        last: u64,
    },
    /// The indexes of the entries leave a gap or overlap.
    #[error("entries of region {region_id} must be contiguous: expected index {expected}, found {found}")]
    NotContiguous {
        /// The region.
        region_id: u64,
        /// The next index, or the smallest allowed one.
        expected: u64,
        /// The index found.
        found: u64,
    },
    /// Undecodable state.
    #[error("Raft state of region {region_id} is not a valid RaftLocalState: {source}")]
    BadState {
        /// The region.
        region_id: u64,
        /// Cause.
        source: prost::DecodeError,
    },
    /// Invalid repair script.
    #[error("the script: {0}")]
    Script(String),
    /// raft-engine's own error.
    #[error("raft-engine: {0}")]
    Engine(#[from] raft_engine::Error),
}

/// Result of this crate's functions.
pub type Result<T> = result::Result<T, Error>;
