//! Reports to PD, implemented by the server; PD's responses arrive through [`crate::RaftRouter`].
use std::sync::Arc;

use kvproto::{metapb, pdpb};
use tracepoints::clock::EngineInstant;

use crate::store::{callback::Callback, snap::SnapStats, txn_ext::TxnExt};

/// Region report from its leader. TiKV: `PdTask::Heartbeat`.
#[derive(Clone, Debug, Default)]
pub struct RegionHeartbeat {
    /// The region.
    pub region: metapb::Region,
    /// The leader.
    pub peer: metapb::Peer,
    /// Raft term.
    pub term: u64,
    /// Peers that are silent for too long, with the seconds.
    pub down_peers: Vec<pdpb::PeerStats>,
    /// Peers that need a snapshot.
    pub pending_peers: Vec<metapb::Peer>,
    /// Bytes written since the last heartbeat.
    pub written_bytes: u64,
    /// Number of keys written since the last heartbeat.
    pub written_keys: u64,
    /// Estimated bytes of the region's data.
    pub approximate_size: u64,
    /// Estimated number of the region's keys, with their versions.
    pub approximate_keys: u64,
    /// Engine time of the last heartbeat.
    pub last_heartbeat: EngineInstant,
}

/// Store report without the server's own statistics. TiKV: `PdTask::StoreHeartbeat`.
#[derive(Clone, Debug, Default)]
pub struct StoreHeartbeat {
    /// Id of the store.
    pub store_id: u64,
    /// Number of the store's regions.
    pub region_count: u64,
    /// Snapshots in use.
    pub snap: SnapStats,
    /// Bytes in RocksDB and raft-engine.
    pub used_size: u64,
    /// Configured capacity in bytes; zero: the disk's capacity.
    pub capacity: u64,
}

/// Sends reports to PD. Called on pollers, so no method may block.
pub trait PdReporter: Send + Sync + 'static {
    /// Reports a region.
    fn region_heartbeat(&self, heartbeat: RegionHeartbeat);
    /// Reports the store.
    fn store_heartbeat(&self, heartbeat: StoreHeartbeat);
    /// Asks PD for ids, then proposes a split at these encoded keys with them.
    fn ask_batch_split(
        &self,
        region: metapb::Region,
        split_keys: Vec<Vec<u8>>,
        peer: metapb::Peer,
        right_derive: bool,
        callback: Callback,
    );
    /// Reports a split that its leader has applied.
    fn report_batch_split(&self, regions: Vec<metapb::Region>);
    /// Asks PD whether a peer without a leader still belongs to its region; if not, the response arrives as
    /// `RaftRouter::destroy_peer`.
    fn validate_peer(&self, region: metapb::Region, peer: metapb::Peer);
    /// Raises this store's max_ts to PD's clock, then marks `txn_ext` as synchronised if its status is still
    /// `initial_status`. TiKV: `PdTask::UpdateMaxTimestamp`.
    fn update_max_timestamp(&self, region_id: u64, initial_status: u64, txn_ext: Arc<TxnExt>);
}

/// Reporter of a store without PD.
pub struct NoPd;

impl PdReporter for NoPd {
    fn region_heartbeat(&self, _: RegionHeartbeat) {}
    fn store_heartbeat(&self, _: StoreHeartbeat) {}
    fn ask_batch_split(
        &self,
        _: metapb::Region,
        _: Vec<Vec<u8>>,
        _: metapb::Peer,
        _: bool,
        callback: Callback,
    ) {
        let err = crate::Error::other("expected a PD to allocate ids for a split, found none");
        callback.invoke_with_response(crate::store::cmd_resp::new_error(err));
    }
    fn report_batch_split(&self, _: Vec<metapb::Region>) {}
    fn validate_peer(&self, _: metapb::Region, _: metapb::Peer) {}
    fn update_max_timestamp(&self, _: u64, _: u64, _: Arc<TxnExt>) {}
}
