//! Shared state that a poller passes to the FSMs it runs. Mirrors `PollContext`.
use std::sync::Arc;

use parking_lot::Mutex;

use super::StoreMeta;
use crate::{
    RaftRouter,
    store::{
        Config, ConfigTracker, Engines, PdReporter, ReadDelegates, ReadIndexObserver, SnapManager, Transport,
        async_io::write::WriteSenders,
        fsm::apply::ApplyRouter,
        worker::{raftlog_gc::RaftlogGcScheduler, region::RegionScheduler, split_check::SplitCheckScheduler},
    },
};

#[derive(Clone)]
pub struct PollContext<T: Transport> {
    pub config: Arc<Config>,
    pub tracker: ConfigTracker,
    pub store_id: u64,
    pub engines: Engines,
    pub router: RaftRouter,
    pub apply_router: ApplyRouter,
    pub store_meta: Arc<Mutex<StoreMeta>>,
    pub delegates: ReadDelegates,
    pub write_senders: WriteSenders,
    pub region_scheduler: RegionScheduler,
    pub raftlog_gc: RaftlogGcScheduler,
    pub split_check: SplitCheckScheduler,
    pub snap_mgr: SnapManager,
    pub pd: Arc<dyn PdReporter>,
    pub read_index_observer: Arc<dyn ReadIndexObserver>,
    pub trans: T,
}
