//! Snapshots as files, with TiKV's names and formats. Mirrors `raftstore::store::snap`.
//!
//! A snapshot is `{gen|rev}_{region}_{term}_{index}`: a `.meta` (protobuf `SnapshotMeta`) and one file for
//! each non-empty column family: SST for default and write, plain pairs for lock. `gen_` is to be sent,
//! `rev_` was received.
mod apply;
mod build;
mod key;
mod manager;
mod paths;
mod plain;
mod recv;
mod registry;
mod send;

pub use apply::clear_range;
pub use build::build_snapshot;
pub use key::{SnapError, SnapKey};
pub use manager::SnapManager;
pub use recv::ReceivingSnapshot;
pub use registry::{SnapEntry, SnapStats};
pub use send::SendingSnapshot;

/// Version of `RaftSnapshotData` for data in files.
pub const SNAPSHOT_VERSION: u64 = 2;
/// Bytes of a chunk on the wire.
pub const SNAP_CHUNK_LEN: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
