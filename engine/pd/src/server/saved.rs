//! The state that PD keeps on disk, except timestamps.
use kvproto::{
    keyspacepb::KeyspaceMeta,
    metapb::{Peer, Region, Store},
};

use super::{pairs::Pairs, safe_point::SafePoints};

/// The payload of `cluster.state`; fields may be added, never renumbered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SavedState {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    #[prost(bool, tag = "2")]
    pub bootstrapped: bool,
    #[prost(uint32, tag = "3")]
    pub max_peer_count: u32,
    /// No id above this was ever allocated.
    #[prost(uint64, tag = "4")]
    pub id_bound: u64,
    #[prost(message, repeated, tag = "5")]
    pub stores: Vec<Store>,
    #[prost(message, repeated, tag = "6")]
    pub regions: Vec<SavedRegion>,
    #[prost(message, optional, tag = "7")]
    pub safe_points: Option<SafePoints>,
    /// PD `max-store-down-time`; 0: the default.
    #[prost(uint64, tag = "8")]
    pub max_store_down_ms: u64,
    /// A backup is being restored (PD `MarkSnapshotRecovering`).
    #[prost(bool, tag = "9")]
    pub snapshot_recovering: bool,
    /// The pairs that clients keep in etcd.
    #[prost(message, optional, tag = "10")]
    pub pairs: Option<Pairs>,
    #[prost(message, repeated, tag = "11")]
    pub keyspaces: Vec<KeyspaceMeta>,
    /// The id of a keyspace that was given out last.
    #[prost(uint32, tag = "12")]
    pub last_keyspace_id: u32,
}

/// A region and its leader; the leader is a hint for clients until the next heartbeat.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SavedRegion {
    #[prost(message, optional, tag = "1")]
    pub meta: Option<Region>,
    #[prost(message, optional, tag = "2")]
    pub leader: Option<Peer>,
}
