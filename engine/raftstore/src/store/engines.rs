//! The two engines of a store.
use engine_rocks::RocksEngine;
use raft_log_engine::RaftLogEngine;

/// RocksDB for data and region states, raft-engine for logs. TiKV: `engine_traits::Engines`.
#[derive(Clone)]
pub struct Engines {
    /// RocksDB.
    pub kv: RocksEngine,
    /// The Raft logs.
    pub raft: RaftLogEngine,
}

impl Engines {
    /// Combines the two engines.
    pub fn new(kv: RocksEngine, raft: RaftLogEngine) -> Self {
        Self { kv, raft }
    }
}
