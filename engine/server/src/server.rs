//! Starts one store: opens its data, joins the cluster, starts the RaftStore, serves (TiKV
//! `components/server/src/server.rs`).
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use api_version::KvFormat;
use axum::Router;
use kvproto::{
    deadlock::deadlock_server::DeadlockServer, debugpb::debug_server::DebugServer,
    grpc_health::health_server::HealthServer, tikvpb::tikv_server::TikvServer as TikvGrpc,
    tracecontrol::trace_control_server::TraceControlServer,
};
use pd::client::PdClient;
use raftstore::{
    RaftRouter,
    store::{Engines, RaftBatchSystem, SnapManager, StoreParts},
};
use security::SecurityManager;
use tokio::runtime::Runtime;
use tonic::{
    codec::CompressionEncoding::{Deflate, Gzip},
    service::Routes,
};

use crate::{
    Storage,
    config::{Cli, ConfigController, ConfigFile, OnlineTargets, ServerConfig, TikvConfig},
    connection::Options,
    data_dir::DataDir,
    error::StartError,
    gc_worker::{GcContext, GcManager, GcWorker, RawCompactionFilterFactory, WriteCompactionFilterFactory},
    grpc::{ArrivalLayer, GrpcServiceManager, Http2Options, RequestGuardLayer, Secured, bind},
    health_reporter::RaftstoreReporter,
    local_stores::{LocalStore, OtherProcesses},
    lock_manager::{self, DeadlockService, DetectorParts, LockManager},
    metrics::Metrics,
    net_faults::NetFaults,
    node,
    pd_worker::PdWorker,
    raft_client::RaftClient,
    raftkv::RaftKv,
    replica_read::ReplicaReadLockChecker,
    resolve::Resolver,
    runtime,
    service::{
        DebugService, FeedbackSource, HealthController, KvService,
        control::{ControlService, PeerFreezer},
    },
    snap::{SnapReceiver, SnapSender},
    status,
    trace::Recording,
    tso,
    ttl::{TtlChecker, TtlCompactionFilterFactory, TtlMetrics},
};

/// Time that a shutdown waits for running requests.
const GRACE: Duration = Duration::from_millis(500);
/// Time that a shutdown waits for the threads of a runtime.
const STOP: Duration = Duration::from_secs(2);

/// Options outside of the configuration, for programs that embed stores.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Shared by the stores of one process.
    pub faults: NetFaults,
    /// The command line of the configuration; `PUT /config/reload` reads it again.
    pub cli: Option<Cli>,
    /// Called once with a message if the store must wait for PD.
    pub on_wait: Option<fn(&str)>,
}

/// Starts stores.
pub struct TikvServer;

impl TikvServer {
    /// Starts one store and returns when it serves. Blocks; may be called within a runtime.
    ///
    /// # Errors
    /// The obstacle and its remedy; nothing runs then.
    pub fn start(config: TikvConfig, options: StartOptions) -> Result<ServerHandle, StartError> {
        let started = thread::scope(|scope| {
            let starter = thread::Builder::new().name("tikv-server-start".into());
            let starter = starter.spawn_scoped(scope, move || start(config, options));
            starter.map(|s| s.join()).map_err(|e| StartError::threads("the thread that starts a store", e))
        })?;
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The runtimes of a store, in the order in which they stop.
struct Runtimes {
    grpc: Runtime,
    raft_stream: Runtime,
    background: Runtime,
    pd: Runtime,
}

struct Running {
    grpc: GrpcServiceManager,
    health: HealthController,
    storage: Storage,
    system: RaftBatchSystem,
    runtimes: Runtimes,
    lock_threads: lock_manager::Threads,
    _local: LocalStore,
    engines: Engines,
    _recording: Arc<Recording>,
    /// Background work ends with it.
    alive: Arc<()>,
    gc_worker: GcWorker,
    /// Last: releases the lock when nothing is open any more.
    _data_dir: DataDir,
}

/// A running store. Dropping it shuts it down.
pub struct ServerHandle {
    store_id: u64,
    addr: SocketAddr,
    status_addr: Option<SocketAddr>,
    advertise_addr: String,
    router: RaftRouter,
    config: TikvConfig,
    running: Option<Running>,
}

/// Compares the critical settings with those of the last run, which the data directory has.
fn check_last_config(dir: &DataDir, config: &TikvConfig) -> Result<(), StartError> {
    let Some(text) = dir.read_last_config()? else { return Ok(()) };
    match TikvConfig::from_toml(&text) {
        Ok((last, _)) => config.storage.check_last(&last.storage).map_err(StartError::ApiVersion),
        // The file is written anew at each start, and nothing else depends on it.
        Err(e) => {
            log::warn!("{}: {e}; its settings are not compared", dir.last_config().display());
            Ok(())
        }
    }
}

fn open_engines(
    dir: &DataDir,
    config: &TikvConfig,
    (ttl, is_checked): (&TtlMetrics, &Arc<AtomicBool>),
    gc: &Arc<GcContext>,
) -> Result<Engines, StartError> {
    let raft_dir = match config.raft_engine.dir.as_str() {
        "" => dir.raft_engine(),
        other => other.into(),
    };
    let raft = raft_log_engine::RaftLogEngine::open(raft_dir, &config.raft_engine.build())?;
    let mut db_config = config.build_db_config();
    let filters = &mut db_config.compaction_filters;
    filters.push((engine_rocks::CF_WRITE, Arc::new(WriteCompactionFilterFactory(gc.clone()))));
    match config.storage.kv_format() {
        KvFormat::V1 => {}
        KvFormat::V1ttl => {
            let factory = TtlCompactionFilterFactory::new(ttl.clone(), is_checked.clone());
            filters.push((engine_rocks::CF_DEFAULT, Arc::new(factory)));
        }
        KvFormat::V2 => {
            filters.push((engine_rocks::CF_DEFAULT, Arc::new(RawCompactionFilterFactory(gc.clone()))));
        }
    }
    let kv = engine_rocks::RocksEngine::open(dir.kv(), &db_config)?;
    config.tune(&kv)?;
    Ok(Engines::new(kv, raft))
}

fn start(mut config: TikvConfig, options: StartOptions) -> Result<ServerHandle, StartError> {
    config.validate()?;
    let security = SecurityManager::new(config.security.clone())?;
    let listener = bind("gRPC server", "--addr", &config.server.addr)?;
    let status_listener = match config.server.status_addr.as_str() {
        "" => None,
        addr => Some(bind("status server", "--status-addr", addr)?),
    };
    let io = |e| StartError::threads("the gRPC server", e);
    let addr = listener.local_addr().map_err(io)?;
    let status_addr = status_listener.as_ref().map(|l| l.local_addr()).transpose().map_err(io)?;
    let advertise_addr = advertised(&config.server.advertise_addr, &config.server.addr, Some(addr));
    let advertise_status =
        advertised(&config.server.advertise_status_addr, &config.server.status_addr, status_addr);

    // Before any thread of the store, so that no stamp is missed.
    let recording = Recording::share(&config);
    let data_dir = DataDir::open(&config.storage.data_dir)?;
    check_last_config(&data_dir, &config)?;
    let ttl_metrics = TtlMetrics::default();
    let (gc, gc_tasks) = GcContext::new(config.gc.enable_compaction_filter);
    let is_checked = Arc::<AtomicBool>::default();
    let engines = open_engines(&data_dir, &config, (&ttl_metrics, &is_checked), &gc)?;

    let pd_runtime = runtime::build("pd-worker", 1, 0)?;
    let pd = Arc::new(pd_runtime.block_on(wait_for_pd(&config, security.clone(), options.on_wait))?);
    let store_id = pd_runtime.block_on(node::check_store(&engines, &pd, config.storage.kv_format()))?;
    is_checked.store(true, Ordering::Release);
    // After the check: a refused api-version must not replace the one with which the data was written.
    data_dir.write_last_config(&config.to_toml()?)?;
    let store = node::describe(store_id, &advertise_addr, &advertise_status, &config);
    pd_runtime.block_on(node::join(&engines, &pd, store))?;

    let runtimes = Runtimes {
        grpc: runtime::build("grpc-server", config.server.grpc_concurrency, store_id)?,
        raft_stream: runtime::build("raft-stream", 1, store_id)?,
        background: runtime::build("background", config.server.background_thread_count, store_id)?,
        pd: pd_runtime,
    };
    let snap_mgr = SnapManager::open(data_dir.snap())?;
    let dial = Options::new(&config.server, security.clone());
    let sender = SnapSender::new(snap_mgr.clone(), &config.server, dial.clone());
    let (send_snaps, raft_batch) = (sender.limit().clone(), dial.batch().clone());
    let resolver = Resolver::new(pd.clone());
    let client = RaftClient::new(
        store_id,
        runtimes.raft_stream.handle().clone(),
        resolver.clone(),
        options.faults,
        dial.clone(),
        sender,
    );
    let parts = DetectorParts { pd: pd.clone(), resolver, options: dial };
    let timeout = config.pessimistic_txn.wait_for_lock_timeout.0;
    let (lock_mgr, lock_threads) = LockManager::start(store_id, timeout, parts)?;
    let concurrency_manager = tso::concurrency_manager(&pd, runtimes.pd.handle(), &config.storage.max_ts)?;
    let format = config.storage.kv_format();
    let causal_ts = match format {
        KvFormat::V2 => Some(tso::causal_ts_provider(&pd, runtimes.pd.handle(), &config.causal_ts)),
        _ => None,
    };
    let health = HealthController::default();
    let reporter = PdWorker::new(
        pd.clone(),
        runtimes.pd.handle().clone(),
        data_dir.path().to_owned(),
        concurrency_manager.clone(),
        causal_ts.clone(),
        health.clone(),
    );
    let mut system = RaftBatchSystem::new(store_id, &config.raft_store, engines.clone());
    let router = system.router();
    client.set_router(router.clone());
    reporter.set_router(router.clone());
    system.spawn(StoreParts {
        store_id,
        config: config.raft_store.clone(),
        engines: engines.clone(),
        trans: client,
        snap_mgr: snap_mgr.clone(),
        pd: Arc::new(reporter),
        read_index_observer: Arc::new(ReplicaReadLockChecker::new(concurrency_manager.clone())),
        region_observer: Arc::new(lock_mgr.role_change_notifier()),
    })?;

    let engine = RaftKv::new(system.local_reader(), router.clone());
    let storage_config = config.build_storage_config();
    let storage =
        Storage::new(engine, concurrency_manager, lock_mgr.clone(), storage_config, causal_ts, store_id)?;
    storage.get_scheduler().flow_controller().start(engines.kv.clone(), store_id)?;
    let deadlock = lock_mgr.deadlock_service();
    let alive = Arc::new(());
    if format == KvFormat::V1ttl {
        let checker = TtlChecker::new(engines.kv.clone(), ttl_metrics.clone());
        let round = checker.run(config.storage.ttl_check_poll_interval.0, Arc::downgrade(&alive));
        runtime::spawn(runtimes.background.handle(), "ttl-checker", round);
    }
    let (interval, alive_store) = (config.raft_store.inspect_interval.0, Arc::downgrade(&alive));
    let inspections =
        RaftstoreReporter::new(health.clone(), interval).run(interval, router.clone(), alive_store);
    runtime::spawn(runtimes.background.handle(), "latency-inspector", inspections);
    let manager = GcManager::new(gc.clone(), pd.clone(), config.gc.poll_safe_point_interval);
    runtime::spawn(runtimes.background.handle(), "gc-manager", manager.run(Arc::downgrade(&alive)));
    let scheduler = storage.get_scheduler().clone();
    let metrics = Metrics::new(
        store_id,
        ttl_metrics,
        gc.metrics().clone(),
        storage.get_scheduler().get_txn_status_cache().clone(),
        health.clone(),
        move || scheduler.load(),
    );
    let (pd_client, endpoints) = (pd.clone(), config.pd.endpoints.clone());
    let freezer = PeerFreezer::new(
        Arc::new(OtherProcesses { pd: pd_client, endpoints, security: security.clone() }),
        runtimes.background.handle(),
        format!("store {store_id} at {advertise_addr}, process {}", std::process::id()),
    );
    let receiver = SnapReceiver::new(snap_mgr, &config.server);
    let recv_snaps = receiver.limit().clone();
    let feedback = FeedbackSource::new(store_id, health.clone(), config.server.health_feedback_interval.0);
    let kv = KvService::new(
        pd.cluster_id(),
        store_id,
        storage.clone(),
        router.clone(),
        receiver,
        metrics.clone(),
        feedback,
    );
    let targets = OnlineTargets {
        kv: engines.kv.clone(),
        raft_store: system.config(),
        storage: storage.clone(),
        lock_mgr,
        send_snaps,
        recv_snaps,
        raft_batch,
    };
    let file = options.cli.as_ref().and_then(|cli| cli.config.clone());
    let file = ConfigFile::new(file.unwrap_or_else(|| data_dir.last_config()));
    let controller = Arc::new(ConfigController::new(config.clone(), targets, file));
    let debug = DebugService::new(
        engines.clone(),
        storage.clone(),
        router.clone(),
        pd.cluster_id(),
        store_id,
        metrics.clone(),
        controller.clone(),
    );
    let control = ControlService::new(store_id, router.clone(), freezer);
    let services = routes(kv, debug, control, deadlock, health.clone(), &config.server);
    let grpc_runtime = runtimes.grpc.handle().clone();
    let tls = security.acceptor(security::Use::Grpc)?.map(Arc::new);
    let services = Secured { router: services, tls };
    let grpc = GrpcServiceManager::start(listener, services, http2(&config), grpc_runtime).map_err(io)?;
    if let Some(listener) = status_listener {
        let _guard = runtimes.background.enter();
        let status = status::Status {
            store_id,
            metrics,
            config: controller,
            cli: options.cli,
            router: router.clone(),
            grpc: grpc.clone(),
        };
        let tls = security.acceptor(security::Use::Http)?;
        status::start(listener, status, tls).map_err(|e| StartError::threads("the status server", e))?;
    }
    log::info!("store {store_id} serves gRPC on {addr}, data in {}", data_dir.path().display());
    let local = LocalStore::register(&advertise_addr);
    // Last: an error after this would leave the thread running, with RocksDB open.
    let gc_worker = GcWorker::start(engines.kv.clone(), gc, gc_tasks, config.gc.batch_keys, store_id)?;
    let running = Running {
        grpc,
        health,
        storage,
        system,
        runtimes,
        lock_threads,
        _local: local,
        engines,
        _recording: recording,
        alive,
        gc_worker,
        _data_dir: data_dir,
    };
    Ok(ServerHandle { store_id, addr, status_addr, advertise_addr, router, config, running: Some(running) })
}

/// Tries to reach PD until it answers, as TiKV does, and reports the wait.
async fn wait_for_pd(
    config: &TikvConfig,
    security: SecurityManager,
    on_wait: Option<fn(&str)>,
) -> pd::client::Result<PdClient> {
    let (endpoints, interval) = (config.pd.endpoints.join(", "), config.pd.retry_interval);
    let waiting = |failed: u64, why: &str| {
        let text = format!("waiting for PD at {endpoints}: {why}; next attempt in {interval}");
        if let (0, Some(on_wait)) = (failed, on_wait) {
            on_wait(&text);
        }
        if failed.is_multiple_of(config.pd.retry_log_every as u64) {
            log::warn!("{text}");
        }
    };
    PdClient::connect_retrying(&config.pd.endpoints, security, config.build_pd_retry(), waiting).await
}

/// Returns the announced address: the configured one, else the address of the listener with the port it got.
fn advertised(given: &str, configured: &str, taken: Option<SocketAddr>) -> String {
    match (given, taken, configured.rsplit_once(':')) {
        (given, _, _) if !given.is_empty() => given.to_owned(),
        (_, Some(taken), Some((host, _))) => format!("{host}:{}", taken.port()),
        _ => String::new(),
    }
}

fn http2(config: &TikvConfig) -> Http2Options {
    let window = config.server.grpc_stream_initial_window_size.0.clamp(65_535, 1 << 30) as u32;
    Http2Options {
        concurrent_streams: config.server.grpc_concurrent_stream,
        stream_window: window,
        connection_window: window.saturating_mul(4).min((1 << 31) - 1),
        keepalive_time: config.server.grpc_keepalive_time.0,
        keepalive_timeout: config.server.grpc_keepalive_timeout.0,
    }
}

fn routes(
    kv: KvService,
    debug: DebugService,
    control: ControlService,
    deadlock: DeadlockService,
    health: HealthController,
    config: &ServerConfig,
) -> Router {
    let max_reply = usize::try_from(config.max_grpc_send_msg_len).unwrap_or(usize::MAX);
    let kv = TikvGrpc::new(kv).max_decoding_message_size(usize::MAX).max_encoding_message_size(max_reply);
    let mut kv = kv.accept_compressed(Gzip).accept_compressed(Deflate);
    let debug = DebugServer::new(debug).max_decoding_message_size(usize::MAX);
    let mut debug = debug.accept_compressed(Gzip).accept_compressed(Deflate);
    if let Some(encoding) = config.grpc_compression_type.encoding() {
        kv = kv.send_compressed(encoding);
        debug = debug.send_compressed(encoding);
    }
    let routes = Routes::new(kv)
        .add_service(debug)
        .add_service(DeadlockServer::new(deadlock))
        .add_service(HealthServer::new(health))
        .add_service(TraceControlServer::new(control));
    routes.prepare().into_axum_router().layer(RequestGuardLayer).layer(ArrivalLayer)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_port_is_the_real_one() {
        let taken: SocketAddr = "127.0.0.1:4321".parse().unwrap();
        assert_eq!(advertised("", "localhost:0", Some(taken)), "localhost:4321");
        assert_eq!(advertised("db1:20160", "0.0.0.0:20160", Some(taken)), "db1:20160");
        assert_eq!(advertised("", "", None), "");
    }
}
