//! RaftStore: many Raft groups in one store. Each peer is a pair of FSMs: one for its log, one for its data.
//!
//! Mirrors tikv/tikv `components/raftstore` and `components/batch-system`. The `raft` crate implements
//! consensus, raft-engine stores the log, RocksDB stores region states and data. [`store`] re-exports the
//! server's API.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod batch_system;
pub mod coprocessor;
pub mod debug;
mod errors;
pub mod router;
pub mod store;
pub mod util;

pub use errors::{Error, Result};
pub use router::RaftRouter;
