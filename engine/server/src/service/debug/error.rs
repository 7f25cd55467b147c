//! Errors of the debug service.
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE};
use kvproto::debugpb::Db;
use tonic::Status;

#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    Rocks(#[from] engine_rocks::Error),
    #[error("{0}")]
    RaftLog(#[from] raft_log_engine::Error),
    #[error("{0}")]
    Txn(#[from] txn_types::Error),
    /// The error's debug text, as TiKV quotes it.
    #[error("\"failed to update config, err: {}\"", .0.replace('"', "\\\""))]
    Config(String),
}

impl From<DebugError> for Status {
    fn from(e: DebugError) -> Self {
        match e {
            DebugError::NotFound(message) => Status::not_found(message),
            DebugError::InvalidArgument(message) => Status::invalid_argument(message),
            other => Status::unknown(other.to_string()),
        }
    }
}

/// Returns the column family of a request that names one of the data.
pub fn check_cf(db: Db, cf: &str) -> Result<&'static str, DebugError> {
    let wrong = |text: String| Err(DebugError::InvalidArgument(text));
    match (db, [CF_DEFAULT, CF_WRITE, CF_LOCK, CF_RAFT].into_iter().find(|c| *c == cf)) {
        (Db::Kv, Some(cf)) => Ok(cf),
        (Db::Kv, None) => wrong(format!("expected cf default, write, lock or raft, found {cf:?}")),
        (Db::Raft, _) => wrong("the Raft log is in raft-engine, which has no such keys; use RaftLog".into()),
        (Db::Invalid, _) => wrong("expected db KV, found none".into()),
    }
}
