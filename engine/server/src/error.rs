//! Errors that prevent a store from starting.
use std::{error::Error, io};

use crate::{config::ConfigError, data_dir::DataDirError, grpc::BindError, runtime::ThreadsError};

/// Error that prevents a store from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Error of RocksDB.
    #[error("RocksDB: {0}")]
    Rocks(#[from] engine_rocks::Error),
    /// Error of the Raft logs.
    #[error("raft-engine: {0}")]
    RaftLog(#[from] raft_log_engine::Error),
    /// Error of a request to PD.
    #[error("PD: {0}")]
    Pd(#[from] pd::client::Error),
    /// The data belongs to another cluster than PD.
    #[error(
        "the data dir belongs to cluster {data}, but PD at --pd-endpoints is of cluster {pd}; give that cluster's PD, \
         or another --data-dir"
    )]
    ClusterId {
        /// Cluster id in the data directory.
        data: u64,
        /// Cluster id of PD.
        pd: u64,
    },
    /// The data was written with another `storage.api-version` or `storage.enable-ttl`; TiKV's text.
    #[error("{0}")]
    ApiVersion(String),
    /// The data directory lacks a part; what.
    #[error(
        "the data dir is incomplete: {0}; restore it from a copy, or remove the directory and start with a new one"
    )]
    Corrupt(String),
    /// Error of the RaftStore.
    #[error("RaftStore: {0}")]
    RaftStore(#[from] raftstore::Error),
    /// Error of the snapshot directory.
    #[error("snapshots: {0}")]
    Snap(#[from] raftstore::store::SnapError),
    /// Error of the transaction layer.
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    /// Certificates cannot be used.
    #[error("[security] {0}")]
    Security(#[from] security::Error),
    /// Threads cannot be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

impl StartError {
    /// Returns the error of threads, named `name`, that could not be started.
    pub fn threads(name: &'static str, error: io::Error) -> Self {
        ThreadsError { name, error }.into()
    }
}

/// Formats an error chain on one line, skipping causes that the text already contains.
pub fn format_error_chain<'a>(chain: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    chain.into_iter().fold(String::new(), |line, cause| match cause.to_string() {
        text if line.is_empty() => text,
        text if line.contains(&text) => line,
        text => format!("{line}: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn no_cause_is_repeated() {
        let in_use = || io::Error::new(io::ErrorKind::AddrInUse, "address in use");
        let start: anyhow::Result<()> = Err(StartError::threads("PD", in_use()).into());
        let error = start.context("the store did not start").unwrap_err();
        assert_eq!(
            format_error_chain(error.chain()),
            "the store did not start: cannot start PD: address in use"
        );
        let other: anyhow::Result<()> = Err(in_use()).context("cannot listen");
        assert_eq!(format_error_chain(other.unwrap_err().chain()), "cannot listen: address in use");
    }
}
