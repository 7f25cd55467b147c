//! The queries that a store answers, from its directory or through its server.
use kvproto::{
    eraftpb::Entry,
    kvrpcpb::{ApiVersion, MvccInfo},
    metapb::{Peer, Region},
    raft_serverpb::{RaftApplyState, RaftLocalState, RegionLocalState},
};

use crate::error::DebugError;

/// Result of asking a store.
pub type Answer<T> = std::result::Result<T, DebugError>;

/// The states of a region (TiKV `src/server/debug.rs` `RegionInfo`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionInfo {
    /// The hard state and the last index of the log, from the Raft engine.
    pub raft_local_state: Option<RaftLocalState>,
    /// The applied and the truncated index.
    pub raft_apply_state: Option<RaftApplyState>,
    /// The peer's state, with the region's range, epoch and peers.
    pub region_local_state: Option<RegionLocalState>,
}

/// Receives the rows of an MVCC scan: the RocksDB key without a timestamp, and its records, which the callee
/// may take out. An error ends the scan.
pub type MvccTaker<'a> = &'a mut dyn FnMut(&[u8], &mut MvccInfo) -> crate::Result<()>;

/// A row of a raw scan.
#[derive(Clone, Copy, Debug)]
pub enum RawPair<'a> {
    /// Key and value as they are in RocksDB.
    Stored {
        /// The RocksDB key.
        key: &'a [u8],
        /// The stored value.
        value: &'a [u8],
    },
    /// The newest version of a raw key as a server with API V2 answers it, without timestamp and flags.
    Answered {
        /// The user key, with its keyspace.
        user_key: &'a [u8],
        /// The user's value.
        value: &'a [u8],
        /// Remaining time to live in seconds; 0: without a limit.
        ttl_s: u64,
    },
}

/// Receives the rows of a raw scan.
pub type RawTaker<'a> = &'a mut dyn FnMut(RawPair<'_>) -> crate::Result<()>;

/// A store, as TiKV's `DebugExecutor` sees it.
pub trait Source {
    /// Returns the type whose functions TiKV's messages name: `Debugger` or `DebugClient`.
    fn executor(&self) -> &'static str;

    /// Returns the damage found in its files so far; always empty for a server.
    fn damages(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the ids of all regions, in order.
    fn all_regions(&self) -> Answer<Vec<u64>>;

    /// Returns the value of a RocksDB key.
    fn get(&self, cf: &str, key: &[u8]) -> Answer<Vec<u8>>;

    /// Returns the leader of `region` if it is known; files do not record it.
    fn leader(&self, _region: &Region) -> Option<Peer> {
        None
    }

    /// Returns a region's states; not found if it has none.
    fn region_info(&self, region: u64) -> Answer<RegionInfo>;

    /// Returns the bytes of keys and values by column family.
    fn region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>>;

    /// Estimates [`Source::region_size`] from properties and indexes, without a scan.
    fn approximate_region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>>;

    /// Returns a Raft log entry.
    fn raft_log(&self, region: u64, index: u64) -> Answer<Entry>;

    /// Scans the MVCC records of keys in `[from, to)`; an empty `to` and a zero `limit` are unbounded.
    fn scan_mvcc(&self, from: &[u8], to: &[u8], limit: u64, take: MvccTaker<'_>) -> Answer<()>;

    /// Scans the key-value pairs of a column family in `[from, to)`.
    fn raw_scan(&self, from: &[u8], to: &[u8], limit: usize, cf: &str, take: RawTaker<'_>) -> Answer<()>;

    /// Returns statistics of a region from the properties of its SSTs.
    fn region_properties(&self, region: u64) -> Answer<Vec<(String, String)>>;

    /// Returns statistics of a range from the properties of its SSTs; bounds are without `z`.
    fn range_properties(&self, start: &[u8], end: &[u8]) -> Answer<Vec<(String, String)>>;

    /// Returns store id and API version.
    fn store_info(&self) -> Answer<(u64, ApiVersion)>;

    /// Returns the cluster id.
    fn cluster_id(&self) -> Answer<u64>;

    /// Returns regions whose states contradict each other, with the contradiction.
    fn bad_regions(&self) -> Answer<Vec<(u64, String)>>;
}
