//! Starts and stops a store's RaftStore. Mirrors `RaftBatchSystem`.
use std::sync::Arc;

use engine_rocks::CF_RAFT;
use kvproto::raft_serverpb::{PeerState, RegionLocalState};
use parking_lot::Mutex;

use super::{
    context::PollContext, meta::StoreMeta, poller::RaftPollerBuilder, store_fsm::StoreFsm, ticker::Ticker,
};
use crate::{
    RaftRouter, Result,
    batch_system::BatchSystem,
    coprocessor::{RegionChangeEvent, RegionChangeObserver},
    debug,
    store::{
        async_io::write::StoreWriters,
        config::Config,
        config_tracker::ConfigTracker,
        engines::Engines,
        fsm::{
            apply::{ApplyBatchSystem, ApplyBuilder, ApplyRouter, new_batch_system},
            peer::{PeerFsm, registration},
        },
        msg::{PeerMsg, StoreMsg, StoreTick},
        read_delegate::ReadDelegates,
        read_index_context::ReadIndexObserver,
        snap::SnapManager,
        transport::Transport,
        worker::{
            Worker,
            pd::PdReporter,
            raftlog_gc::{self, RaftlogGcTask},
            read::LocalReader,
            region::{RegionTask, RegionWorkers},
            split_check::{self, SplitCheckTask},
        },
    },
};

/// Components of a store.
pub struct StoreParts<T: Transport> {
    /// Id of the store.
    pub store_id: u64,
    /// The configuration.
    pub config: Config,
    /// The store's engines.
    pub engines: Engines,
    /// Sends messages to other stores.
    pub trans: T,
    /// The store's snapshots.
    pub snap_mgr: SnapManager,
    /// Receiver of the reports to PD.
    pub pd: Arc<dyn PdReporter>,
    /// Checks replicas' reads for locks in memory.
    pub read_index_observer: Arc<dyn ReadIndexObserver>,
    /// Sees roles and regions change.
    pub region_observer: Arc<dyn RegionChangeObserver>,
}

/// Handle to all threads of a store's RaftStore.
pub struct RaftBatchSystem {
    system: BatchSystem<PeerFsm, StoreFsm>,
    apply_system: ApplyBatchSystem,
    router: RaftRouter,
    delegates: ReadDelegates,
    engines: Engines,
    config: ConfigTracker,
    running: Option<Running>,
}

/// State between `spawn` and `shutdown`.
struct Running {
    writers: StoreWriters,
    region_workers: RegionWorkers,
    raftlog_gc: Worker<RaftlogGcTask>,
    split_check: Worker<SplitCheckTask>,
    ticker: Ticker,
}

impl RaftBatchSystem {
    /// Creates the system. Its router accepts messages at once; they wait for [`RaftBatchSystem::spawn`].
    pub fn new(store_id: u64, config: &Config, engines: Engines) -> Self {
        let store = Box::new(StoreFsm { store_id });
        let system = BatchSystem::new(store, PeerFsm::region_id, config.store_max_batch_size);
        let router = RaftRouter::new(system.router().clone(), store_id, config.notify_capacity);
        let apply_system = new_batch_system(config.apply_max_batch_size);
        let (delegates, config) = (ReadDelegates::default(), ConfigTracker::new(config.clone()));
        Self { system, apply_system, router, delegates, engines, config, running: None }
    }

    /// Returns the router to the peers.
    pub fn router(&self) -> RaftRouter {
        self.router.clone()
    }

    /// Returns the tracker of the active configuration.
    pub fn config(&self) -> ConfigTracker {
        self.config.clone()
    }

    /// Returns a reader for the read pool; clone it for each thread.
    pub fn local_reader(&self) -> LocalReader {
        LocalReader::new(self.engines.kv.clone(), self.delegates.clone(), self.router.clone())
    }

    /// Loads all peers from disk and starts the threads.
    ///
    /// # Errors
    /// An invalid configuration, contradicting states on disk, or a thread that cannot be started.
    pub fn spawn<T: Transport>(&mut self, parts: StoreParts<T>) -> Result<()> {
        parts.config.validate().map_err(crate::Error::Other)?;
        let StoreParts {
            store_id,
            config,
            engines,
            trans,
            snap_mgr,
            pd,
            read_index_observer,
            region_observer,
        } = parts;
        let writers = StoreWriters::spawn(&config, &engines, &self.router)?;
        let generators = config.snap_generator_pool_size;
        let region_workers = RegionWorkers::spawn(&engines, &snap_mgr, &self.router, generators)?;
        let raftlog_gc = raftlog_gc::spawn(engines.clone(), store_id)?;
        let split_check = split_check::spawn(engines.kv.clone(), self.router.clone(), store_id)?;
        self.config.set(config);
        let ctx = PollContext {
            config: self.config.get(),
            tracker: self.config.clone(),
            store_id,
            engines,
            router: self.router.clone(),
            apply_router: ApplyRouter::new(self.apply_system.router().clone()),
            store_meta: Arc::new(Mutex::new(StoreMeta::default())),
            delegates: self.delegates.clone(),
            write_senders: writers.senders(),
            region_scheduler: region_workers.scheduler(),
            raftlog_gc: raftlog_gc.scheduler(),
            split_check: split_check.scheduler(),
            snap_mgr,
            pd,
            read_index_observer,
            region_observer,
            trans,
        };
        self.load_peers(&ctx)?;
        self.spawn_pollers(&ctx)?;
        let ticker = Ticker::spawn(self.config.clone(), self.router.clone())?;
        self.running = Some(Running { writers, region_workers, raftlog_gc, split_check, ticker });
        // Start every peer once: a lone voter elects itself, and readers get their delegates.
        self.router.inner().broadcast(|| PeerMsg::Start);
        let _ = self.router.inner().send_control(StoreMsg::Tick(StoreTick::PdStoreHeartbeat));
        Ok(())
    }

    fn spawn_pollers<T: Transport>(&mut self, ctx: &PollContext<T>) -> Result<()> {
        let apply = ApplyBuilder {
            kv: ctx.engines.kv.clone(),
            router: self.router.clone(),
            region_scheduler: ctx.region_scheduler.clone(),
            messages_per_tick: ctx.config.messages_per_tick,
        };
        self.apply_system.spawn("apply", ctx.store_id, ctx.config.apply_pool_size, apply)?;
        let builder = RaftPollerBuilder { ctx: ctx.clone() };
        let name = format!("raftstore-{}", ctx.store_id);
        self.system.spawn(&name, ctx.store_id, ctx.config.store_pool_size, builder)?;
        Ok(())
    }

    /// Loads the peers of all regions. TiKV: `RaftPollerBuilder::init`.
    fn load_peers<T: Transport>(&self, ctx: &PollContext<T>) -> Result<()> {
        for state in debug::all_regions(&ctx.engines.kv)? {
            match state.state() {
                PeerState::Tombstone => self.clear_tombstone_log(ctx, &state)?,
                _ => self.load_peer(ctx, state)?,
            }
        }
        Ok(())
    }

    /// Removes the log that an interrupted peer removal left on disk.
    fn clear_tombstone_log<T: Transport>(
        &self,
        ctx: &PollContext<T>,
        state: &RegionLocalState,
    ) -> Result<()> {
        let Some(region) = &state.region else { return Ok(()) };
        if ctx.engines.raft.get_raft_state(region.id)?.is_some() {
            ctx.engines.raft.clean(region.id, true)?;
        }
        let apply_key = keys::apply_state_key(region.id);
        if ctx.engines.kv.get_value_cf(CF_RAFT, &apply_key)?.is_some() {
            ctx.engines.kv.delete_cf(CF_RAFT, &apply_key)?;
        }
        Ok(())
    }

    fn load_peer<T: Transport>(&self, ctx: &PollContext<T>, state: RegionLocalState) -> Result<()> {
        let applying = state.state() == PeerState::Applying;
        let Some(region) = state.region else { return Ok(()) };
        let fsm = PeerFsm::create(ctx.store_id, &ctx.config, ctx.engines.clone(), region.clone(), true)?;
        let key = fsm.peer.storage().snap_key();
        fsm.peer.observe_region(ctx, RegionChangeEvent::Create);
        if applying {
            fsm.peer.storage().set_applying();
            ctx.store_meta.lock().add_pending_snapshot(region.clone());
        } else {
            ctx.store_meta.lock().set_region(&region);
        }
        ctx.apply_router.register(registration(&fsm.peer));
        self.router.inner().register(region.id, fsm);
        // Schedule only now: the peer must exist to receive the result.
        if applying {
            ctx.region_scheduler.schedule(RegionTask::Apply { key, region });
        }
        Ok(())
    }

    /// Stops all threads; every acknowledged write is on disk. Pending commands respond with `StaleCommand`.
    pub fn shutdown(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.ticker.shutdown();
        running.split_check.shutdown();
        self.system.shutdown();
        self.apply_system.shutdown();
        running.region_workers.shutdown();
        running.writers.shutdown();
        running.raftlog_gc.shutdown();
        self.delegates.clear();
        if let Err(err) = self.engines.kv.sync_wal() {
            log::warn!("cannot sync RocksDB's WAL at shutdown; the Raft log will be replayed: {err}");
        }
    }
}

impl Drop for RaftBatchSystem {
    fn drop(&mut self) {
        self.shutdown();
    }
}
