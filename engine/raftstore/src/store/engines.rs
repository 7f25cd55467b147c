//! The two engines of a store.
use engine_rocks::RocksEngine;
use raft_log_engine::RaftLogEngine;

/// RocksDB for data and region states, raft-engine for logs. TiKV: `engine_traits::Engines`.
#[derive(Clone)]
pub struct Engines {
    pub kv: RocksEngine,
    pub raft: RaftLogEngine,
}

impl Engines {
    pub fn new(kv: RocksEngine, raft: RaftLogEngine) -> Self {
        Self { kv, raft }
    }
}
