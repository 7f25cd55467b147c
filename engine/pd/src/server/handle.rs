//! Starts and stops a PD.
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kvproto::{
    etcdserverpb::{cluster_server::ClusterServer, kv_server::KvServer},
    keyspacepb::keyspace_server::KeyspaceServer,
    meta_storagepb::meta_storage_server::MetaStorageServer,
    metapb::{Peer, StoreState},
    pdpb::pd_server::PdServer as PdGrpc,
    tracecontrol::trace_control_server::TraceControlServer,
};
use security::SecurityManager;
use tokio::runtime::{Builder, Runtime};
use tonic::{
    codec::CompressionEncoding::{Deflate, Gzip},
    service::Routes,
    transport::Server,
};

use super::{
    clock::PdClock,
    cluster::Cluster,
    error::{Error, Refusal, Result},
    etcd::EtcdService,
    freeze::Freezer,
    http, incoming,
    operator::Step,
    scheduling::no_region,
    service::PdService,
    store_state::StoreStateError,
};

const THREADS: usize = 2;

/// Settings for starting a PD.
pub struct PdConfig {
    /// Directory of the state, created if missing; contains `cluster.state`, `tso.state` and `LOCK`.
    pub data_dir: PathBuf,
    /// Address to listen on; port 0 chooses a free port.
    pub addr: SocketAddr,
    /// Address announced to clients, `host:port`; `None`: `addr`.
    pub advertise_addr: Option<String>,
    /// `None`: the id in the directory, or a new one.
    pub cluster_id: Option<u64>,
    /// Number of peers of a region; `None`: the number in the directory, or 3.
    pub max_replicas: Option<u32>,
    /// Source of timestamps and intervals.
    pub clock: Arc<dyn PdClock>,
}

/// The embedded PD.
pub struct PdServer;

impl PdServer {
    /// Opens the state, listens, and serves on threads of its own named `pd-server-N`.
    pub fn start(config: PdConfig) -> Result<PdHandle> {
        Self::start_secure(config, &SecurityManager::default())
    }

    /// As [`PdServer::start`], with TLS if `security` asks for it; clients must then show a certificate.
    pub fn start_secure(config: PdConfig, security: &SecurityManager) -> Result<PdHandle> {
        let cluster = Cluster::open(&config.data_dir, config.cluster_id, config.max_replicas, config.clock)?;
        let cluster = Arc::new(cluster);
        let listen = |source| Error::Listen { addr: config.addr, source };
        let listener = TcpListener::bind(config.addr).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let runtime = start_runtime()?;
        let advertised = config.advertise_addr.unwrap_or_else(|| addr.to_string());
        let service = PdService::new(cluster.clone(), format!("{}://{advertised}", security.scheme()));
        let api = http::Api {
            cluster: cluster.clone(),
            member: service.member(),
            data_dir: config.data_dir.display().to_string(),
            started_s: (cluster.now_ms() / 1000) as i64,
        };
        let etcd = EtcdService::new(cluster.clone(), service.member());
        let pd = PdGrpc::new(service.clone());
        let keyspace = KeyspaceServer::new(service);
        let routes = Routes::from(http::router(api))
            .add_service(pd.accept_compressed(Gzip).accept_compressed(Deflate))
            .add_service(keyspace.accept_compressed(Gzip).accept_compressed(Deflate))
            .add_service(KvServer::new(etcd.clone()))
            .add_service(ClusterServer::new(etcd.clone()))
            .add_service(MetaStorageServer::new(etcd))
            .add_service(TraceControlServer::new(Freezer::default()));
        // HTTP/1 is for PD's HTTP API, which shares gRPC's port.
        let server = Server::builder().accept_http1(true).add_routes(routes);
        let tls = security.acceptor(security::Use::GrpcAndHttp)?;
        let _guard = runtime.enter();
        match tls {
            None => runtime
                .spawn(serve(addr, server.serve_with_incoming(incoming::plain(listener).map_err(listen)?))),
            Some(tls) => {
                let incoming = incoming::secured(listener, tls).map_err(listen)?;
                runtime.spawn(serve(addr, server.serve_with_incoming(incoming)))
            }
        };
        drop(_guard);
        Ok(PdHandle { addr, cluster, runtime: Some(runtime) })
    }
}

async fn serve(
    addr: SocketAddr,
    server: impl Future<Output = std::result::Result<(), tonic::transport::Error>>,
) {
    if let Err(e) = server.await {
        log::error!("pd: the server on {addr} failed: {e}");
    }
}

fn start_runtime() -> Result<Runtime> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name_fn(|| format!("pd-server-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(|| {
            tracepoints::register_thread(std::thread::current().name().unwrap_or("pd-server"), 0);
        })
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

/// A running PD; dropping it stops it.
pub struct PdHandle {
    addr: SocketAddr,
    cluster: Arc<Cluster>,
    runtime: Option<Runtime>,
}

impl PdHandle {
    /// Returns the address of the listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the id of the cluster.
    pub fn cluster_id(&self) -> u64 {
        self.cluster.cluster_id
    }

    /// Returns the leader of the region's last report.
    pub fn region_leader(&self, region_id: u64) -> Option<Peer> {
        self.cluster.region(region_id).ok().flatten()?.leader
    }

    /// Asks the region's leader to transfer leadership to the peer on
    /// `to_store`. Returns before that has happened.
    pub fn transfer_leader(&self, region_id: u64, to_store: u64) -> std::result::Result<(), Refusal> {
        self.cluster.add_operator(region_id, "admin-transfer-leader", Step::TransferLeader { to_store })
    }

    /// Asks the region's leader to add a peer on `store_id`; returns the new peer.
    pub fn add_peer(&self, region_id: u64, store_id: u64) -> std::result::Result<Peer, Refusal> {
        let peer = Peer::voter(store_id, self.cluster.alloc_id(1)?);
        self.cluster.add_operator(region_id, "admin-add-peer", Step::AddPeer { peer })?;
        Ok(peer)
    }

    /// Asks the region's leader to remove the peer on `store_id`. While the region has fewer peers than
    /// [`PdHandle::set_max_replicas`] asks for, the replica checker adds one again, on this store or another.
    pub fn remove_peer(&self, region_id: u64, store_id: u64) -> std::result::Result<(), Refusal> {
        self.cluster.add_operator(region_id, "admin-remove-peer", Step::RemovePeer { store_id })
    }

    /// Sets the number of peers of every region.
    pub fn set_max_replicas(&self, max_peer_count: u32) -> std::result::Result<(), Refusal> {
        self.cluster.set_max_replicas(max_peer_count)
    }

    /// Sets the time without heartbeats after which a store's peers are replaced (PD `max-store-down-time`,
    /// 30 minutes). Kept over restarts.
    pub fn set_max_store_down_time(&self, time: Duration) -> std::result::Result<(), Refusal> {
        self.cluster.set_max_store_down_time(time)
    }

    /// Takes a store out of the cluster, as `DELETE /pd/api/v1/store/{id}`: its peers move away, and then it
    /// becomes Tombstone.
    pub fn remove_store(&self, store_id: u64) -> std::result::Result<(), StoreStateError> {
        self.cluster.remove_store(store_id, false)
    }

    /// Returns a store's state.
    pub fn store_state(&self, store_id: u64) -> std::result::Result<StoreState, Refusal> {
        Ok(self.cluster.store(store_id)?.meta.state())
    }

    /// Returns the region's peers according to its last report.
    pub fn region_peers(&self, region_id: u64) -> std::result::Result<Vec<Peer>, Refusal> {
        Ok(self.cluster.region(region_id)?.ok_or_else(|| no_region(region_id))?.meta.peers)
    }

    /// Stops serving and frees the port and the directory.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // On a separate thread: tokio forbids waiting for a runtime inside another one.
        let stopper = std::thread::Builder::new()
            .name("pd-stop".to_owned())
            .spawn(move || runtime.shutdown_timeout(Duration::from_secs(2)));
        match stopper.map(std::thread::JoinHandle::join) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => log::error!("pd: stopping the runtime panicked"),
            Err(e) => log::error!("pd: cannot start a thread to stop the runtime: {e}"),
        }
    }
}

impl Drop for PdHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
