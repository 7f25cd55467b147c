//! The RaftStore of a store, with what it needs: the way to other stores, PD, the lock manager, timestamps.
use std::sync::{Arc, atomic::AtomicUsize};

use api_version::KvFormat;
use raftstore::store::{RaftBatchSystem, SnapManager, StoreParts};
use security::SecurityManager;
use storage::{ConcurrencyManager, causal_ts};

use super::{data::Data, handle::Runtimes};
use crate::{
    config::TikvConfig,
    connection::Options,
    error::StartError,
    limit::ResizableSemaphore,
    lock_manager::{self, DetectorParts, LockManager},
    net_faults::NetFaults,
    pd_worker::PdWorker,
    raft_client::RaftClient,
    replica_read::ReplicaReadLockChecker,
    resolve::Resolver,
    service::HealthController,
    snap::SnapSender,
    tso,
};

/// The running RaftStore, and the parts that other layers share with it.
pub(super) struct Raft {
    pub system: RaftBatchSystem,
    pub lock_mgr: Arc<LockManager>,
    pub lock_threads: lock_manager::Threads,
    pub concurrency_manager: ConcurrencyManager,
    pub causal_ts: causal_ts::Provider,
    /// The health of the store, which PD and clients get.
    pub health: HealthController,
    pub snap_mgr: SnapManager,
    /// Limits the snapshots sent at once.
    pub send_snaps: ResizableSemaphore,
    /// Number of Raft messages in one batch.
    pub raft_batch: Arc<AtomicUsize>,
}

impl Raft {
    /// Starts the RaftStore on the data, with every region of it.
    pub fn start(
        config: &TikvConfig,
        security: SecurityManager,
        data: &Data,
        (store_id, pd): (u64, &Arc<pd::client::PdClient>),
        runtimes: &Runtimes,
        faults: NetFaults,
    ) -> Result<Raft, StartError> {
        let snap_mgr = SnapManager::open(data.dir.snap())?;
        let dial = Options::new(&config.server, security);
        let sender = SnapSender::new(snap_mgr.clone(), &config.server, dial.clone());
        let (send_snaps, raft_batch) = (sender.limit().clone(), dial.batch().clone());
        let resolver = Resolver::new(pd.clone());
        let streams = runtimes.raft_stream.handle().clone();
        let client = RaftClient::new(store_id, streams, resolver.clone(), faults, dial.clone(), sender);
        let parts = DetectorParts { pd: pd.clone(), resolver, options: dial };
        let timeout = config.pessimistic_txn.wait_for_lock_timeout.0;
        let (lock_mgr, lock_threads) = LockManager::start(store_id, timeout, parts)?;
        let requests = runtimes.pd.handle();
        let concurrency_manager = tso::concurrency_manager(pd, requests, &config.storage.max_ts)?;
        let causal_ts = match config.storage.kv_format() {
            KvFormat::V2 => Some(tso::causal_ts_provider(pd, requests, &config.causal_ts)),
            _ => None,
        };
        let health = HealthController::default();
        let reporter = PdWorker::new(
            pd.clone(),
            requests.clone(),
            data.dir.path().to_owned(),
            concurrency_manager.clone(),
            causal_ts.clone(),
            health.clone(),
        );
        let mut system = RaftBatchSystem::new(store_id, &config.raft_store, data.engines.clone());
        client.set_router(system.router());
        reporter.set_router(system.router());
        system.spawn(StoreParts {
            store_id,
            config: config.raft_store.clone(),
            engines: data.engines.clone(),
            trans: client,
            snap_mgr: snap_mgr.clone(),
            pd: Arc::new(reporter),
            read_index_observer: Arc::new(ReplicaReadLockChecker::new(concurrency_manager.clone())),
            region_observer: Arc::new(lock_mgr.role_change_notifier()),
        })?;
        Ok(Raft {
            system,
            lock_mgr,
            lock_threads,
            concurrency_manager,
            causal_ts,
            health,
            snap_mgr,
            send_snaps,
            raft_batch,
        })
    }
}
