//! The services of a store: gRPC and the status server.
use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::Router;
use kvproto::{
    deadlock::deadlock_server::DeadlockServer, debugpb::debug_server::DebugServer,
    grpc_health::health_server::HealthServer, tikvpb::tikv_server::TikvServer as TikvGrpc,
    tracecontrol::trace_control_server::TraceControlServer,
};
use pd::client::PdClient;
use raftstore::RaftRouter;
use security::SecurityManager;
use tokio::sync::watch;
use tonic::{
    codec::CompressionEncoding::{Deflate, Gzip},
    service::Routes,
};

use super::{data::Data, handle::Runtimes, raft::Raft, sockets::http2};
use crate::{
    Storage,
    config::{Cli, ConfigController, ConfigFile, OnlineTargets, ServerConfig, TikvConfig},
    coprocessor_v2::{Endpoint, PluginRegistry},
    error::StartError,
    grpc::{ArrivalLayer, GrpcServiceManager, RequestGuardLayer, Secured},
    local_stores::OtherProcesses,
    lock_manager::DeadlockService,
    metrics::Metrics,
    service::{
        DebugService, FeedbackSource, HealthController, KvService, Parts,
        control::{ControlService, PeerFreezer},
    },
    snap::SnapReceiver,
    status,
};

/// The parts of a store that its services use.
pub(super) struct Backend<'a> {
    pub config: &'a TikvConfig,
    pub security: &'a SecurityManager,
    pub data: &'a Data,
    pub store_id: u64,
    pub pd: &'a Arc<PdClient>,
    pub raft: &'a Raft,
    pub storage: &'a Storage,
    pub runtimes: &'a Runtimes,
    pub advertise_addr: &'a str,
    /// The command line of the configuration; none in a program that embeds the store.
    pub cli: Option<Cli>,
    /// Plugins that answer `RawCoprocessor`.
    pub plugins: PluginRegistry,
    /// Interval of the TTL checker.
    pub ttl_interval: watch::Sender<Duration>,
}

impl Backend<'_> {
    /// Serves gRPC on `grpc` and, if it is configured, HTTP on `status`.
    pub fn serve(
        self,
        grpc: TcpListener,
        status: Option<TcpListener>,
    ) -> Result<GrpcServiceManager, StartError> {
        let health = &self.raft.health;
        let metrics = Metrics::new(
            self.store_id,
            self.data.ttl_metrics.clone(),
            self.data.gc.metrics().clone(),
            health.clone(),
            self.storage.get_scheduler().clone(),
        );
        let receiver = SnapReceiver::new(self.raft.snap_mgr.clone(), &self.config.server);
        let controller = self.controller(&receiver);
        let routes = routes(
            self.kv(receiver, &metrics),
            self.debug(&metrics, &controller),
            ControlService::new(
                self.store_id,
                self.router(),
                self.freezer(),
                self.raft.system.local_reader(),
                self.raft.lock_mgr.clone(),
            ),
            self.raft.lock_mgr.deadlock_service(),
            health.clone(),
            &self.config.server,
        );
        let tls = self.security.acceptor(security::Use::Grpc)?.map(Arc::new);
        let services = Secured { router: routes, tls };
        let runtime = self.runtimes.grpc.handle().clone();
        let grpc = GrpcServiceManager::start(grpc, services, http2(self.config), runtime)
            .map_err(|e| StartError::threads("the gRPC server", e))?;
        if let Some(listener) = status {
            self.serve_status(listener, metrics, controller, grpc.clone())?;
        }
        Ok(grpc)
    }

    fn router(&self) -> RaftRouter {
        self.raft.system.router()
    }

    fn controller(&self, receiver: &SnapReceiver) -> Arc<ConfigController> {
        let targets = OnlineTargets {
            kv: self.data.engines.kv.clone(),
            raft_store: self.raft.system.config(),
            storage: self.storage.clone(),
            lock_mgr: self.raft.lock_mgr.clone(),
            send_snaps: self.raft.send_snaps.clone(),
            recv_snaps: receiver.limit().clone(),
            raft_batch: self.raft.raft_batch.clone(),
            ttl_interval: self.ttl_interval.clone(),
        };
        let given = self.cli.as_ref().and_then(|cli| cli.config.clone());
        let file = ConfigFile::new(given.unwrap_or_else(|| self.data.dir.last_config()));
        Arc::new(ConfigController::new(self.config.clone(), targets, file))
    }

    fn kv(&self, receiver: SnapReceiver, metrics: &Metrics) -> KvService {
        let interval = self.config.server.health_feedback_interval.0;
        let parts = Parts {
            storage: self.storage.clone(),
            feedback: FeedbackSource::new(self.store_id, self.raft.health.clone(), interval),
            copr_v2: Endpoint::new(self.plugins.clone()),
        };
        let cluster_id = self.pd.cluster_id();
        KvService::new(cluster_id, self.store_id, self.router(), receiver, metrics.clone(), parts)
    }

    fn debug(&self, metrics: &Metrics, controller: &Arc<ConfigController>) -> DebugService {
        DebugService::new(
            self.data.engines.clone(),
            self.storage.clone(),
            self.router(),
            self.pd.cluster_id(),
            self.store_id,
            metrics.clone(),
            controller.clone(),
        )
    }

    fn freezer(&self) -> PeerFreezer {
        let (pd, security) = (self.pd.clone(), self.security.clone());
        let others = OtherProcesses { pd, endpoints: self.config.pd.endpoints.clone(), security };
        let process = std::process::id();
        let name = format!("store {} at {}, process {process}", self.store_id, self.advertise_addr);
        PeerFreezer::new(Arc::new(others), self.runtimes.background.handle(), name)
    }

    fn serve_status(
        self,
        listener: TcpListener,
        metrics: Metrics,
        config: Arc<ConfigController>,
        grpc: GrpcServiceManager,
    ) -> Result<(), StartError> {
        let _guard = self.runtimes.background.enter();
        let (store_id, router) = (self.store_id, self.router());
        let status = status::Status { store_id, metrics, config, cli: self.cli, router, grpc };
        let tls = self.security.acceptor(security::Use::Http)?;
        status::start(listener, status, tls).map_err(|e| StartError::threads("the status server", e))
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
