//! A running store: its facts, and the order in which its parts stop.
use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use raftstore::{
    RaftRouter,
    store::{Engines, RaftBatchSystem},
};
use tokio::runtime::Runtime;

use crate::{
    Storage, config::TikvConfig, data_dir::DataDir, gc_worker::GcWorker, grpc::GrpcServiceManager,
    local_stores::LocalStore, lock_manager, runtime, service::HealthController, trace::Recording,
};

/// Time that a shutdown waits for running requests.
const GRACE: Duration = Duration::from_millis(500);
/// Time that a shutdown waits for the threads of a runtime.
const STOP: Duration = Duration::from_secs(2);

/// The runtimes of a store, in the order in which they stop.
pub(super) struct Runtimes {
    pub(super) grpc: Runtime,
    pub(super) raft_stream: Runtime,
    pub(super) background: Runtime,
    pub(super) pd: Runtime,
}

pub(super) struct Running {
    pub(super) grpc: GrpcServiceManager,
    pub(super) health: HealthController,
    pub(super) storage: Storage,
    pub(super) system: RaftBatchSystem,
    pub(super) runtimes: Runtimes,
    pub(super) lock_threads: lock_manager::Threads,
    pub(super) _local: LocalStore,
    pub(super) engines: Engines,
    pub(super) _recording: Arc<Recording>,
    /// Background work ends with it.
    pub(super) alive: Arc<()>,
    pub(super) gc_worker: GcWorker,
    /// Last: releases the lock when nothing is open any more.
    pub(super) _data_dir: DataDir,
}

/// A running store. Dropping it shuts it down.
pub struct ServerHandle {
    pub(super) store_id: u64,
    pub(super) addr: SocketAddr,
    pub(super) status_addr: Option<SocketAddr>,
    pub(super) advertise_addr: String,
    pub(super) router: RaftRouter,
    pub(super) config: TikvConfig,
    pub(super) running: Option<Running>,
}

impl ServerHandle {
    /// Returns the id of the store.
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// Returns the address of gRPC.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the status server, if there is one.
    pub fn status_addr(&self) -> Option<SocketAddr> {
        self.status_addr
    }

    /// Returns the address that others dial.
    pub fn advertise_addr(&self) -> &str {
        &self.advertise_addr
    }

    /// Returns the router to this store's peers, for programs that embed the store.
    pub fn router(&self) -> &RaftRouter {
        &self.router
    }

    /// Returns the transaction layer, for programs that embed a store and call it
    /// without gRPC; none after a shutdown.
    pub fn storage(&self) -> Option<&Storage> {
        self.running.as_ref().map(|r| &r.storage)
    }

    /// Returns the engines with this store's data; none after a shutdown.
    pub fn engines(&self) -> Option<&Engines> {
        self.running.as_ref().map(|r| &r.engines)
    }

    /// Returns the safe point and the number of unfinished tasks of garbage collection; none after a shutdown.
    pub fn gc_state(&self) -> Option<(u64, usize)> {
        let gc = self.running.as_ref()?.gc_worker.context();
        Some((gc.safe_point().into_inner(), gc.pending()))
    }

    /// Returns a function that counts the unfinished tasks of garbage collection, also while the store stops.
    pub fn gc_pending(&self) -> Option<impl Fn() -> usize + Send + 'static> {
        let gc = self.running.as_ref()?.gc_worker.context().clone();
        Some(move || gc.pending())
    }

    /// Returns the configuration in effect; starting with it again opens the same data.
    pub fn config(&self) -> &TikvConfig {
        &self.config
    }

    /// Lets running requests end, for half a second, then stops everything and frees port and directory.
    pub fn shutdown(mut self) {
        self.stop(GRACE);
    }

    /// Stops without letting any request end: to other stores it looks like a crash.
    pub fn kill(mut self) {
        self.stop(Duration::ZERO);
    }

    fn stop(&mut self, grace: Duration) {
        let Some(running) = self.running.take() else { return };
        let Running { grpc, health, storage, mut system, runtimes, alive, gc_worker, lock_threads, .. } =
            running;
        health.set_is_serving(false);
        // Background work must not keep RocksDB open.
        drop(alive);
        let handle = runtimes.grpc.handle().clone();
        let stopper = thread::spawn(move || handle.block_on(grpc.stop(grace)));
        if stopper.join().is_err() {
            log::error!("stopping the gRPC server panicked");
        }
        runtime::stop(runtimes.grpc, STOP);
        storage.stop();
        lock_threads.stop(STOP);
        system.shutdown();
        gc_worker.stop();
        runtime::stop(runtimes.raft_stream, STOP);
        runtime::stop(runtimes.background, STOP);
        runtime::stop(runtimes.pd, STOP);
        log::info!("store {} has stopped", self.store_id);
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop(GRACE);
    }
}
