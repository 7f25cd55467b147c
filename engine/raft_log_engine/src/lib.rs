//! The Raft log: raft-engine with TiKV's keys, and conversions of Raft's messages.
//!
//! Mirrors `components/raft_log_engine`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod batch;
mod config;
pub mod convert;
mod engine;
mod error;
mod repair;

pub use batch::RaftLogBatch;
pub use config::{RaftEngineConfig, RecoveryMode};
pub use engine::RaftLogEngine;
pub use error::{Error, Result};
pub use raft_engine::{PerfContext as RaftEnginePerfContext, take_perf_context};
pub use repair::{RepairQueue, unsafe_repair};

/// Key of a region's `RaftLocalState` within its group. TiKV: `RAFT_LOG_STATE_KEY`.
const RAFT_LOG_STATE_KEY: &[u8] = b"R";

/// Provides the index of Raft entries to raft-engine.
#[derive(Clone)]
struct MessageExtTyped;

impl raft_engine::MessageExt for MessageExtTyped {
    type Entry = raft::eraftpb::Entry;

    fn index(entry: &Self::Entry) -> u64 {
        entry.index
    }
}
