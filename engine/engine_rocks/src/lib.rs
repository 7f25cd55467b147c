//! A small API for RocksDB with TiKV's column families and options.
//!
//! Mirrors `components/engine_rocks`. Does not write TiKV's user table properties
//! (`tikv.mvcc-properties-collector`, `tikv.range-properties-collector`), because RocksDB's C interface
//! cannot construct a collector. Sizes and key counts come from RocksDB's own estimates; see
//! [`RocksEngine::approximate_size_cf`].
#![warn(missing_docs)]

mod compaction_filter;
mod config;
mod database;
mod delete_range;
mod engine;
mod error;
mod event_listener;
mod iterator;
mod open;
mod options_file;
mod perf_context;
mod properties;
mod slice_transform;
mod snapshot;
mod sst;
mod write_batch;

pub use compaction_filter::{CompactionContext, CompactionFilter, CompactionFilterFactory};
pub use config::{CfConfig, CompressionType, DbConfig};
pub use delete_range::DeleteStrategy;
pub use engine::RocksEngine;
pub use error::{Error, Result};
pub use event_listener::{EventCounters, EventCounts};
pub use iterator::{IterOptions, RocksEngineIterator};
pub use keys::{ALL_CFS, CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE, CfName, DATA_CFS, name_to_cf};
pub use perf_context::{PerfContext, PerfStats, WritePerf};
pub use rocksdb::{BottommostLevelCompaction, statistics::Ticker};
pub use snapshot::RocksSnapshot;
pub use sst::{ExternalSstFileInfo, RocksSstWriter};
pub use write_batch::RocksWriteBatch;
