//! What a store can be asked, whether its directory is read or its server is called.

use kvproto::{
    eraftpb::Entry,
    kvrpcpb::{ApiVersion, MvccInfo},
    metapb::{Peer, Region},
    raft_serverpb::{RaftApplyState, RaftLocalState, RegionLocalState},
};

use crate::error::DebugError;

/// The result of asking a store.
pub type Answer<T> = std::result::Result<T, DebugError>;

/// The states of a region (TiKV `src/server/debug.rs` `RegionInfo`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionInfo {
    pub raft_local_state: Option<RaftLocalState>,
    pub raft_apply_state: Option<RaftApplyState>,
    pub region_local_state: Option<RegionLocalState>,
}

/// Takes the rows of an MVCC scan: the RocksDB key without a timestamp, and what is known of it, which may be taken
/// out. An error ends it.
pub type MvccTaker<'a> = &'a mut dyn FnMut(&[u8], &mut MvccInfo) -> crate::Result<()>;

/// Takes the rows of a raw scan.
pub type RawTaker<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> crate::Result<()>;

/// A store, as TiKV's `DebugExecutor` sees it.
pub trait Source {
    /// The type whose functions TiKV's messages name: `Debugger` or `DebugClient`.
    fn executor(&self) -> &'static str;

    /// What of its files could not be read so far; a server does not tell.
    fn damages(&self) -> Vec<String> {
        Vec::new()
    }

    /// Ids of all regions, in order.
    fn all_regions(&self) -> Answer<Vec<u64>>;

    /// The value of a RocksDB key.
    fn get(&self, cf: &str, key: &[u8]) -> Answer<Vec<u8>>;

    /// Who leads `region`, where that is known: files do not have it.
    fn leader(&self, _region: &Region) -> Option<Peer> {
        None
    }

    /// A region's states; not found when it has none.
    fn region_info(&self, region: u64) -> Answer<RegionInfo>;

    /// Bytes of keys and values by column family.
    fn region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>>;

    /// About the same, from properties and indexes and without a scan.
    fn approximate_region_size(&self, region: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>>;

    /// A Raft log entry.
    fn raft_log(&self, region: u64, index: u64) -> Answer<Entry>;

    /// The MVCC records of keys in `[from, to)`; an empty `to` and a zero `limit` are no bounds.
    fn scan_mvcc(&self, from: &[u8], to: &[u8], limit: u64, take: MvccTaker<'_>) -> Answer<()>;

    /// Key-values of a column family in `[from, to)`.
    fn raw_scan(&self, from: &[u8], to: &[u8], limit: usize, cf: &str, take: RawTaker<'_>) -> Answer<()>;

    /// Statistics of a region from its SSTs' properties.
    fn region_properties(&self, region: u64) -> Answer<Vec<(String, String)>>;

    /// Statistics of a range from its SSTs' properties; bounds without `z`.
    fn range_properties(&self, start: &[u8], end: &[u8]) -> Answer<Vec<(String, String)>>;

    /// Store id and API version.
    fn store_info(&self) -> Answer<(u64, ApiVersion)>;

    /// Cluster id.
    fn cluster_id(&self) -> Answer<u64>;

    /// Regions whose states contradict each other, and how.
    fn bad_regions(&self) -> Answer<Vec<(u64, String)>>;
}
