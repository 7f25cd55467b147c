//! RaftStore: many Raft groups in one store, each a pair of FSMs - one for its log, one for its data.
//!
//! Mirrors tikv/tikv `components/raftstore` and `components/batch-system`. Consensus is the `raft` crate's; the log is
//! in raft-engine; region states and data are in RocksDB. What the server needs is re-exported in [`store`].

pub mod batch_system;
pub mod debug;
mod errors;
pub mod router;
pub mod store;
pub mod util;

pub use errors::{Error, Result};
pub use router::RaftRouter;
