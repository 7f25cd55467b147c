//! Why a store does not start.
use std::io;

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
    #[error("the data dir is not whole: {0}; restore it from a copy, or remove the directory and start anew")]
    Corrupt(String),
    #[error("RaftStore: {0}")]
    RaftStore(#[from] raftstore::Error),
    #[error("snapshots: {0}")]
    Snap(#[from] raftstore::store::SnapError),
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    #[error("cannot start {0}: {1}")]
    Threads(&'static str, io::Error),
}
