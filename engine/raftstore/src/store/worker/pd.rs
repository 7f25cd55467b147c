//! What the RaftStore tells PD. The server implements it; PD's answers come back through [`crate::RaftRouter`].
use std::sync::Arc;

use kvproto::{metapb, pdpb};
use tracepoints::clock::EngineInstant;

use crate::store::{Callback, SnapStats, TxnExt};

/// A leader's account of its region. TiKV: `PdTask::Heartbeat`.
#[derive(Clone, Debug, Default)]
pub struct RegionHeartbeat {
    pub region: metapb::Region,
    pub peer: metapb::Peer,
    pub term: u64,
    pub down_peers: Vec<pdpb::PeerStats>,
    pub pending_peers: Vec<metapb::Peer>,
    /// Since the last heartbeat.
    pub written_bytes: u64,
    pub written_keys: u64,
    pub approximate_size: u64,
    pub approximate_keys: u64,
    pub last_heartbeat: EngineInstant,
}

/// A store's account of itself, without what only the server knows. TiKV: `PdTask::StoreHeartbeat`.
#[derive(Clone, Debug, Default)]
pub struct StoreHeartbeat {
    pub store_id: u64,
    pub region_count: u64,
    pub snap: SnapStats,
    /// Bytes of RocksDB and raft-engine.
    pub used_size: u64,
    /// Bytes that the configuration offers; zero: the disk's.
    pub capacity: u64,
}

/// Takes reports to PD. No method blocks: it is called on pollers.
pub trait PdReporter: Send + Sync + 'static {
    fn region_heartbeat(&self, heartbeat: RegionHeartbeat);
    fn store_heartbeat(&self, heartbeat: StoreHeartbeat);
    /// Asks PD for ids to split the region at these (encoded) keys, and proposes the split with them.
    fn ask_batch_split(
        &self,
        region: metapb::Region,
        split_keys: Vec<Vec<u8>>,
        peer: metapb::Peer,
        right_derive: bool,
        callback: Callback,
    );
    /// A split was applied by its leader.
    fn report_batch_split(&self, regions: Vec<metapb::Region>);
    /// A peer that knows no leader for long asks PD whether it still belongs to its region; PD's answer comes as
    /// `RaftRouter::destroy_peer` if it does not.
    fn validate_peer(&self, region: metapb::Region, peer: metapb::Peer);
    /// Raises this store's max_ts to PD's clock, then marks `txn_ext` as synchronised, while its status is still
    /// `initial_status`. TiKV: `PdTask::UpdateMaxTimestamp`.
    fn update_max_timestamp(&self, region_id: u64, initial_status: u64, txn_ext: Arc<TxnExt>);
}

/// For a store without PD.
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
        let err = crate::Error::other("there is no PD to give ids for a split");
        callback.invoke_with_response(crate::store::cmd_resp::new_error(err));
    }
    fn report_batch_split(&self, _: Vec<metapb::Region>) {}
    fn validate_peer(&self, _: metapb::Region, _: metapb::Peer) {}
    fn update_max_timestamp(&self, _: u64, _: u64, _: Arc<TxnExt>) {}
}
