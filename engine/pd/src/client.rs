//! The PD client of a store (TiKV `components/pd_client`). Works with any PD.
//!
//! Time limits are in real time: no gate ever holds PD.
mod connection;
mod error;
mod heartbeat;
mod tso;

use std::{future::Future, sync::Arc, time::Duration};

use connection::Connection;
pub use error::{Error, Result};
pub use heartbeat::{HeartbeatHandler, RegionHeartbeats};
use kvproto::{
    metapb,
    pdpb::{self, pd_client::PdClient as PdGrpc},
};
use security::SecurityManager;
use tonic::{Response, Status, transport::Channel};

/// Time limit of [`PdClient::connect`].
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Time limit of one request (TiKV `REQUEST_TIMEOUT`, 2 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts of one request, with a search for PD's leader between two (TiKV `LEADER_CHANGE_RETRY`, 10).
const ATTEMPTS: usize = 5;
const SEARCH_WAIT: Duration = Duration::from_secs(1);

/// Marks requests that a store makes for itself (`RequestHeader.caller_id`).
pub(crate) const CALLER_ID: &str = "tikv";

/// A region and its leader, if PD has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionAndLeader {
    /// The region.
    pub region: metapb::Region,
    /// The region's leader.
    pub leader: Option<metapb::Peer>,
}

/// Retries of [`PdClient::connect_retrying`] (TiKV `pd.retry-interval`, `pd.retry-max-count`).
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Pause between two attempts.
    pub interval: Duration,
    /// Attempts after the first one; None: no limit.
    pub max_count: Option<u64>,
}

/// A client of PD; clones share one connection.
#[derive(Clone)]
pub struct PdClient {
    connection: Arc<Connection>,
    tso: Arc<tso::TsoStream>,
}

fn request_header(cluster_id: u64) -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id, ..Default::default() })
}

/// Sends one unary request with retries and checks the response's header.
macro_rules! call {
    ($client:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        // Some requests have no further field.
        #[allow(clippy::needless_update)]
        let request = pdpb::$request {
            header: request_header($client.connection.cluster_id),
            $($field $(: $value)?,)*
            ..Default::default()
        };
        let send = |mut grpc: PdGrpc<Channel>| {
            let request = request.clone();
            async move { grpc.$method(request).await }
        };
        let response = $client.retry(stringify!($method), send).await?;
        error::check_header(response.header.as_ref()).map(|()| response)
    }};
}

impl PdClient {
    /// Connects to the leader of the PD cluster at `endpoints` (`host:port` or URL). Retries for 10 s.
    pub async fn connect(endpoints: &[String]) -> Result<PdClient> {
        Self::connect_within(endpoints, CONNECT_WAIT).await
    }

    /// As [`PdClient::connect`], with TLS if `security` asks for it.
    pub async fn connect_secure(endpoints: &[String], security: SecurityManager) -> Result<PdClient> {
        Self::open(endpoints, CONNECT_WAIT, security).await
    }

    /// As [`PdClient::connect_secure`], with the retries of `retry`. `waiting` is called after each failed
    /// attempt with its number, from 0, and its error.
    ///
    /// # Errors
    /// The error of the last attempt; at once if an endpoint is no address or belongs to another cluster.
    pub async fn connect_retrying(
        endpoints: &[String],
        security: SecurityManager,
        retry: Retry,
        mut waiting: impl FnMut(u64, &str),
    ) -> Result<PdClient> {
        let mut failed = 0;
        loop {
            let last = match Self::open(endpoints, Duration::ZERO, security.clone()).await {
                Err(Error::Unreachable { last, .. }) if retry.max_count.is_none_or(|max| failed < max) => {
                    last
                }
                done => return done,
            };
            waiting(failed, &last);
            failed += 1;
            tokio::time::sleep(retry.interval).await;
        }
    }

    /// As [`PdClient::connect`], with the time limit `wait`.
    pub async fn connect_within(endpoints: &[String], wait: Duration) -> Result<PdClient> {
        Self::open(endpoints, wait, SecurityManager::default()).await
    }

    async fn open(endpoints: &[String], wait: Duration, security: SecurityManager) -> Result<PdClient> {
        let connection = Arc::new(Connection::open(endpoints, wait, security).await?);
        Ok(PdClient { connection, tso: Arc::default() })
    }

    async fn retry<T, F>(&self, what: &'static str, send: impl Fn(PdGrpc<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let mut attempt = 1;
        loop {
            let (grpc, generation) = self.connection.current();
            let error = match tokio::time::timeout(REQUEST_TIMEOUT, send(grpc)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Error::from(status),
                Err(_) => Error::Timeout { what, waited: REQUEST_TIMEOUT },
            };
            if attempt == ATTEMPTS || !error.is_retryable() {
                return Err(error);
            }
            attempt += 1;
            log::info!("PD request {what} failed: {error}; searching for PD's leader");
            if let Err(e) = self.connection.reconnect(generation, SEARCH_WAIT).await {
                log::warn!("{e}");
            }
        }
    }

    /// Returns the id of the cluster.
    pub fn cluster_id(&self) -> u64 {
        self.connection.cluster_id
    }

    /// Returns the last known address of PD's leader, `host:port`.
    pub fn leader_addr(&self) -> String {
        self.connection.leader()
    }

    /// Whether the cluster has its first store and region.
    pub async fn is_cluster_bootstrapped(&self) -> Result<bool> {
        Ok(call!(self, is_bootstrapped, IsBootstrappedRequest {})?.bootstrapped)
    }

    /// Registers the first store and region. [`Error::AlreadyBootstrapped`] if another store was faster.
    pub async fn bootstrap_cluster(&self, store: metapb::Store, region: metapb::Region) -> Result<()> {
        let (store, region) = (Some(store), Some(region));
        call!(self, bootstrap, BootstrapRequest { store, region }).map(drop)
    }

    /// Allocates an id that is unique in the cluster.
    pub async fn alloc_id(&self) -> Result<u64> {
        let id = call!(self, alloc_id, AllocIdRequest { count: 1 })?.id;
        if id == 0 { Err(Error::Incomplete { what: "AllocID", missing: "an id" }) } else { Ok(id) }
    }

    /// Registers a store, or changes its addresses and labels.
    pub async fn put_store(&self, store: metapb::Store) -> Result<()> {
        call!(self, put_store, PutStoreRequest { store: Some(store) }).map(drop)
    }

    /// Returns a store.
    pub async fn get_store(&self, store_id: u64) -> Result<metapb::Store> {
        let store = call!(self, get_store, GetStoreRequest { store_id })?.store;
        store.ok_or(Error::Incomplete { what: "GetStore", missing: "a store" })
    }

    /// Returns all stores.
    pub async fn get_all_stores(&self, exclude_tombstone: bool) -> Result<Vec<metapb::Store>> {
        let exclude_tombstone_stores = exclude_tombstone;
        Ok(call!(self, get_all_stores, GetAllStoresRequest { exclude_tombstone_stores })?.stores)
    }

    /// Returns the number of replicas that PD keeps.
    pub async fn get_cluster_config(&self) -> Result<metapb::Cluster> {
        let cluster = call!(self, get_cluster_config, GetClusterConfigRequest {})?.cluster;
        cluster.ok_or(Error::Incomplete { what: "GetClusterConfig", missing: "a cluster" })
    }

    /// Reports a store.
    pub async fn store_heartbeat(&self, stats: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse> {
        call!(self, store_heartbeat, StoreHeartbeatRequest { stats: Some(stats) })
    }

    /// Opens the region heartbeat stream on the current tokio runtime.
    pub fn region_heartbeats(&self, handler: Arc<dyn HeartbeatHandler>) -> RegionHeartbeats {
        RegionHeartbeats::start(self.connection.clone(), handler)
    }

    /// Returns the region that contains `key`. The key is encoded as region bounds are (memcomparable for
    /// transactional keys).
    pub async fn get_region(&self, key: &[u8]) -> Result<RegionAndLeader> {
        let response = call!(self, get_region, GetRegionRequest { region_key: key.to_vec() })?;
        let missing = || Error::KeyNotFound(key.escape_ascii().to_string());
        Ok(RegionAndLeader { region: response.region.ok_or_else(missing)?, leader: response.leader })
    }

    /// Returns a region.
    ///
    /// # Errors
    /// [`Error::RegionNotFound`].
    pub async fn get_region_by_id(&self, region_id: u64) -> Result<RegionAndLeader> {
        let response = call!(self, get_region_by_id, GetRegionByIdRequest { region_id })?;
        let region = response.region.ok_or(Error::RegionNotFound(region_id))?;
        Ok(RegionAndLeader { region, leader: response.leader })
    }

    /// Returns up to `limit` (0: all) regions of `[start, end)`; an empty end is unbounded.
    pub async fn scan_regions(&self, start: &[u8], end: &[u8], limit: i32) -> Result<Vec<pdpb::Region>> {
        let (start_key, end_key) = (start.to_vec(), end.to_vec());
        Ok(call!(self, scan_regions, ScanRegionsRequest { start_key, end_key, limit })?.regions)
    }

    /// Gets `count` timestamps; returns the largest.
    pub async fn get_tso(&self, count: u32) -> Result<pdpb::Timestamp> {
        let mut attempt = 1;
        loop {
            let (_, generation) = self.connection.current();
            match self.tso.get(&self.connection, count, REQUEST_TIMEOUT).await {
                Err(e) if attempt < ATTEMPTS && e.is_retryable() => {
                    attempt += 1;
                    log::info!("PD request Tso failed: {e}; searching for PD's leader");
                    if let Err(e) = self.connection.reconnect(generation, SEARCH_WAIT).await {
                        log::warn!("{e}");
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Allocates ids for `split_count` new regions and their peers.
    pub async fn ask_batch_split(
        &self,
        region: metapb::Region,
        split_count: u32,
    ) -> Result<Vec<pdpb::SplitId>> {
        let region = Some(region);
        Ok(call!(self, ask_batch_split, AskBatchSplitRequest { region, split_count })?.ids)
    }

    /// Reports the regions of a split to PD, in key order.
    pub async fn report_batch_split(&self, regions: Vec<metapb::Region>) -> Result<()> {
        call!(self, report_batch_split, ReportBatchSplitRequest { regions }).map(drop)
    }

    /// Returns the timestamp below which old versions may be removed.
    pub async fn get_gc_safe_point(&self) -> Result<u64> {
        Ok(call!(self, get_gc_safe_point, GetGcSafePointRequest {})?.safe_point)
    }

    /// Advances the GC safe point; returns the one in effect, which may be larger.
    pub async fn update_gc_safe_point(&self, safe_point: u64) -> Result<u64> {
        Ok(call!(self, update_gc_safe_point, UpdateGcSafePointRequest { safe_point })?.new_safe_point)
    }

    /// Returns PD's current or last operator of a region.
    pub async fn get_operator(&self, region_id: u64) -> Result<pdpb::GetOperatorResponse> {
        call!(self, get_operator, GetOperatorRequest { region_id })
    }
}
