//! The transaction layer: reads at a timestamp, scheduler and latches, Percolator's commands, raw keys.
//!
//! Mirrors `src/storage`. Depends only on [`tikv_kv::Engine`], with or without Raft.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[macro_use]
mod macros;

mod api_version;
pub mod causal_ts;
mod command_kind;
pub mod concurrency_manager;
mod config;
mod deadline;
pub mod errors;
pub mod lock_manager;
pub mod mvcc;
mod perf;
mod raw;
mod read;
mod read_pool;
mod snapshot;
mod statistics;
mod storage;
#[cfg(test)]
mod tests;
pub mod txn;
mod types;

pub use command_kind::CommandKind;
pub use concurrency_manager::ConcurrencyManager;
pub use config::{Config, PessimisticLockMode};
pub use deadline::Deadline;
pub use errors::{
    Error, ErrorInner, Result, extract_committed, extract_key_error, extract_key_errors, extract_kv_pairs,
    extract_region_error, extract_region_error_from_error,
};
pub use raw::{Checksum, Swap, ttl_current_ts};
pub use read::ScanRange;
pub use read_pool::Pool;
pub use statistics::{CfStatistics, KvGetStatistics, SchedulerDetails, StageLatencyStats, Statistics};
pub use storage::Storage;
pub use txn::scheduler::{SchedulerLoad, TxnScheduler};
pub use types::{
    CommandOutput, PessimisticLockKeyResult, PessimisticLockParameters, PessimisticLockResults,
    PrewriteResult, ProcessResult, SecondaryLocksStatus, TxnStatus,
};
