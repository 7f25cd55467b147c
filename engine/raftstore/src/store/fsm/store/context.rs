//! Shared state that a poller passes to the FSMs it runs. Mirrors `PollContext`.
use std::sync::Arc;

use parking_lot::Mutex;

use super::meta::StoreMeta;
use crate::{
    RaftRouter,
    coprocessor::RegionChangeObserver,
    store::{
        async_io::write::WriteSenders,
        config::Config,
        config_tracker::ConfigTracker,
        engines::Engines,
        fsm::apply::ApplyRouter,
        read_delegate::ReadDelegates,
        read_index_context::ReadIndexObserver,
        snap::SnapManager,
        transport::Transport,
        worker::{
            pd::PdReporter, raftlog_gc::RaftlogGcScheduler, region::RegionScheduler,
            split_check::SplitCheckScheduler,
        },
    },
};

/// State of one poller.
#[derive(Clone)]
pub struct PollContext<T: Transport> {
    /// Configuration that this poller uses.
    pub config: Arc<Config>,
    /// Source of a changed configuration.
    pub tracker: ConfigTracker,
    /// Id of the store.
    pub store_id: u64,
    /// The store's engines.
    pub engines: Engines,
    /// Router to the store's peers.
    pub router: RaftRouter,
    /// Router to the apply FSMs.
    pub apply_router: ApplyRouter,
    /// Regions of the store.
    pub store_meta: Arc<Mutex<StoreMeta>>,
    /// State that peers publish to reading threads.
    pub delegates: ReadDelegates,
    /// Senders to the store writers.
    pub write_senders: WriteSenders,
    /// Schedules snapshots and deletions.
    pub region_scheduler: RegionScheduler,
    /// Schedules the removal of log entries.
    pub raftlog_gc: RaftlogGcScheduler,
    /// Schedules scans for split keys.
    pub split_check: SplitCheckScheduler,
    /// The store's snapshots.
    pub snap_mgr: SnapManager,
    /// Receiver of the reports to PD.
    pub pd: Arc<dyn PdReporter>,
    /// Checks replicas' reads for locks in memory.
    pub read_index_observer: Arc<dyn ReadIndexObserver>,
    /// Sees roles and regions change.
    pub region_observer: Arc<dyn RegionChangeObserver>,
    /// Sends messages to other stores.
    pub trans: T,
}
