//! Errors that prevent a store from starting.
use std::{error::Error, io};

use crate::{config::ConfigError, data_dir::DataDirError, grpc::BindError};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("RocksDB: {0}")]
    Rocks(#[from] engine_rocks::Error),
    #[error("raft-engine: {0}")]
    RaftLog(#[from] raft_log_engine::Error),
    #[error("PD: {0}")]
    Pd(#[from] pd::client::Error),
    #[error(
        "the data dir belongs to cluster {data}, but PD at --pd-endpoints is of cluster {pd}; give that cluster's PD, \
         or another --data-dir"
    )]
    ClusterId { data: u64, pd: u64 },
    #[error(
        "the data dir is incomplete: {0}; restore it from a copy, or remove the directory and start with a new one"
    )]
    Corrupt(String),
    #[error("RaftStore: {0}")]
    RaftStore(#[from] raftstore::Error),
    #[error("snapshots: {0}")]
    Snap(#[from] raftstore::store::SnapError),
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    #[error("[security] {0}")]
    Security(#[from] security::Error),
    #[error("cannot start {0}: {1}")]
    Threads(&'static str, io::Error),
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
        let start: anyhow::Result<()> = Err(StartError::Threads("PD", in_use()).into());
        let error = start.context("the store did not start").unwrap_err();
        assert_eq!(
            format_error_chain(error.chain()),
            "the store did not start: cannot start PD: address in use"
        );
        let other: anyhow::Result<()> = Err(in_use()).context("cannot listen");
        assert_eq!(format_error_chain(other.unwrap_err().chain()), "cannot listen: address in use");
    }
}
