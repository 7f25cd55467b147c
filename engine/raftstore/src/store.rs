//! A store: its peers, their logs and data, and the background workers.
mod async_io;
mod bootstrap;
mod callback;
pub mod cmd_resp;
mod config;
mod config_tracker;
mod engines;
mod entry_cache;
pub mod fsm;
mod latency_inspect;
mod lease;
mod msg;
pub mod peer;
mod peer_storage;
mod proposals;
mod read_delegate;
mod read_index_context;
mod read_queue;
mod region_snapshot;
mod run;
mod snap;
mod transport;
mod txn_ext;
pub mod util;
pub mod worker;
mod write_tracker;

pub use bootstrap::{
    bootstrap_store, clear_prepare_bootstrap_cluster, clear_prepare_bootstrap_key, initial_region,
    load_prepare_bootstrap_region, load_store_ident, prepare_bootstrap_cluster,
};
pub use callback::{Callback, ReadResponse, WriteResponse};
pub use config::Config;
pub use config_tracker::ConfigTracker;
pub use engines::Engines;
pub use fsm::store::{RaftBatchSystem, StoreMeta, StoreParts};
pub use latency_inspect::{LatencyInspector, RaftstoreDuration};
pub use lease::{Lease, LeaseState, RemoteLease};
pub use msg::{
    CampaignType, CasualMessage, PeerMsg, PeerTick, PersistedMsg, RaftCommand, SignificantMsg,
    SnapshotApplied, StoreMsg, StoreTick,
};
pub use peer::ConsistencyVerdict;
pub use peer_storage::{
    PeerStorage, initial_apply_state, initial_raft_state, write_apply_state, write_peer_state,
};
pub use read_delegate::{ReadDelegate, ReadDelegates, RejectReason};
pub use read_index_context::{NoObserver, ReadIndexContext, ReadIndexObserver};
pub use region_snapshot::{RegionIterator, RegionSnapshot};
pub use snap::{
    ReceivingSnapshot, SNAP_CHUNK_LEN, SendingSnapshot, SnapEntry, SnapError, SnapKey, SnapManager,
    SnapStats, build_snapshot, clear_range,
};
pub use transport::Transport;
pub use txn_ext::TxnExt;
pub use worker::{
    pd::{NoPd, PdReporter, RegionHeartbeat, StoreHeartbeat},
    read::LocalReader,
};
pub use write_tracker::RaftDbTimes;
