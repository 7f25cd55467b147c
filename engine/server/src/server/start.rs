//! The start of a store, step by step; a failed step stops the earlier ones.
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use api_version::KvFormat;
use security::SecurityManager;
use tokio::sync::watch;

use super::{
    data::Data,
    handle::{Running, Runtimes, ServerHandle},
    member::Member,
    raft::Raft,
    services::Backend,
    sockets::Sockets,
};
use crate::{
    Storage,
    config::{Cli, TikvConfig},
    coprocessor_v2::PluginRegistry,
    error::StartError,
    gc_worker::{CompactionRunner, GcManager, GcWorker},
    health_reporter::RaftstoreReporter,
    local_stores::LocalStore,
    net_faults::NetFaults,
    raftkv::RaftKv,
    runtime,
    trace::Recording,
    ttl::TtlChecker,
};

/// Options outside of the configuration, for programs that embed stores.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Shared by the stores of one process.
    pub faults: NetFaults,
    /// The command line of the configuration; `PUT /config/reload` reads it again.
    pub cli: Option<Cli>,
    /// Plugins that answer `RawCoprocessor`.
    pub plugins: PluginRegistry,
    /// Called once with a message if the store must wait for PD.
    pub on_wait: Option<fn(&str)>,
}

pub(super) fn start(mut config: TikvConfig, options: StartOptions) -> Result<ServerHandle, StartError> {
    config.validate()?;
    let security = SecurityManager::new(config.security.clone())?;
    let sockets = Sockets::bind(&config)?;
    // Before any thread of the store, so that no stamp is missed.
    let recording = Recording::share(&config);
    let data = Data::open(&config)?;
    let Member { store_id, pd, runtime } =
        Member::join(&config, security.clone(), &data, &sockets, options.on_wait)?;
    let runtimes = Runtimes {
        grpc: runtime::build("grpc-server", config.server.grpc_concurrency, store_id)?,
        raft_stream: runtime::build("raft-stream", 1, store_id)?,
        background: runtime::build("background", config.server.background_thread_count, store_id)?,
        pd: runtime,
    };
    let raft = Raft::start(&config, security.clone(), &data, (store_id, &pd), &runtimes, options.faults)?;
    let storage = open_storage(&config, &raft, store_id)?;
    storage.get_scheduler().flow_controller().start(data.engines.kv.clone(), store_id)?;
    let alive = Arc::new(());
    let ttl_interval = watch::Sender::new(config.storage.ttl_check_poll_interval.0);
    let checks = ttl_interval.subscribe();
    start_background(&config, &data, (&pd, &raft), &runtimes, (checks, &Arc::downgrade(&alive)));

    let Sockets { grpc, status, addr, status_addr, advertise_addr, .. } = sockets;
    let backend = Backend {
        config: &config,
        security: &security,
        data: &data,
        store_id,
        pd: &pd,
        raft: &raft,
        storage: &storage,
        runtimes: &runtimes,
        advertise_addr: &advertise_addr,
        cli: options.cli,
        plugins: options.plugins,
        ttl_interval,
    };
    let grpc = backend.serve(grpc, status)?;
    log::info!("store {store_id} serves gRPC on {addr}, data in {}", data.dir.path().display());
    let local = LocalStore::register(&advertise_addr);
    // Last: an error after this would leave the thread running, with RocksDB open. An error here drops the rest
    // of `data`, with the lock of the directory, after all that holds RocksDB.
    let kv = data.engines.kv.clone();
    let gc_worker = GcWorker::start(kv, data.gc, data.gc_tasks, config.gc.batch_keys, store_id)?;
    let router = raft.system.router();
    let running = Running {
        grpc,
        health: raft.health,
        storage,
        system: raft.system,
        runtimes,
        lock_threads: raft.lock_threads,
        _local: local,
        engines: data.engines,
        _recording: recording,
        alive,
        gc_worker,
        _data_dir: data.dir,
    };
    Ok(ServerHandle { store_id, addr, status_addr, advertise_addr, router, config, running: Some(running) })
}

/// Opens the transaction layer on the RaftStore.
fn open_storage(config: &TikvConfig, raft: &Raft, store_id: u64) -> Result<Storage, StartError> {
    let engine = RaftKv::new(raft.system.local_reader(), raft.system.router());
    let (concurrency_manager, causal_ts) = (raft.concurrency_manager.clone(), raft.causal_ts.clone());
    let (lock_mgr, config) = (raft.lock_mgr.clone(), config.build_storage_config());
    Ok(Storage::new(engine, concurrency_manager, lock_mgr, config, causal_ts, store_id)?)
}

/// Starts the periodic work, which ends with `alive`.
fn start_background(
    config: &TikvConfig,
    data: &Data,
    (pd, raft): (&Arc<pd::client::PdClient>, &Raft),
    runtimes: &Runtimes,
    (ttl_interval, alive): (watch::Receiver<Duration>, &Weak<()>),
) {
    let handle = runtimes.background.handle();
    if config.storage.kv_format() == KvFormat::V1ttl {
        let checker = TtlChecker::new(data.engines.kv.clone(), data.ttl_metrics.clone());
        let round = checker.run(ttl_interval, alive.clone());
        runtime::spawn(handle, "ttl-checker", round);
    }
    let (interval, router) = (config.raft_store.inspect_interval.0, raft.system.router());
    let inspections = RaftstoreReporter::new(raft.health.clone(), interval).run(router, alive.clone());
    runtime::spawn(handle, "latency-inspector", inspections);
    let manager = GcManager::new(data.gc.clone(), pd.clone(), config.gc.poll_safe_point_interval);
    runtime::spawn(handle, "gc-manager", manager.run(alive.clone()));
    // Without the filter, a compaction drops nothing.
    if config.gc.enable_compaction_filter {
        let (kv, gc) = (data.engines.kv.clone(), data.gc.clone());
        let runner = CompactionRunner::new(kv, gc, config.gc.auto_compaction.clone());
        runtime::spawn(handle, "compaction-runner", runner.run(alive.clone()));
    }
}
