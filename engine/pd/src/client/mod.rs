//! The client every store talks to PD with (TiKV `components/pd_client`). Works against any PD.
//!
//! Waits are bounded in real time: PD is never held at a gate.

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

/// How long [`PdClient::connect`] looks for a PD.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long one request may take (TiKV `REQUEST_TIMEOUT`, 2 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts of one request, with a search for PD's leader in between (TiKV `LEADER_CHANGE_RETRY`, 10).
const ATTEMPTS: usize = 5;
const SEARCH_WAIT: Duration = Duration::from_secs(1);

/// Names stores in what they ask PD for themselves (`RequestHeader.caller_id`).
pub(crate) const CALLER_ID: &str = "tikv";

/// A region, and who leads it if PD knows.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionAndLeader {
    pub region: metapb::Region,
    pub leader: Option<metapb::Peer>,
}

/// How long [`PdClient::connect_retrying`] looks for PD (TiKV `pd.retry-interval`, `pd.retry-max-count`).
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub interval: Duration,
    /// Attempts after the first one; none: for ever.
    pub max_count: Option<u64>,
}

/// Clones share one connection.
#[derive(Clone)]
pub struct PdClient {
    connection: Arc<Connection>,
    tso: Arc<tso::TsoStream>,
}

fn request_header(cluster_id: u64) -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id, ..Default::default() })
}

/// One unary request: builds it, sends it with retries, checks the response's header.
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
    /// Connects to the leader of the PD cluster at `endpoints` (`host:port` or URL), trying again for 10 s.
    pub async fn connect(endpoints: &[String]) -> Result<PdClient> {
        Self::connect_within(endpoints, CONNECT_WAIT).await
    }

    /// As [`PdClient::connect`], with TLS if `security` says so.
    pub async fn connect_secure(endpoints: &[String], security: SecurityManager) -> Result<PdClient> {
        Self::open(endpoints, CONNECT_WAIT, security).await
    }

    /// As [`PdClient::connect_secure`], for as long as `retry` says. `waiting` hears of each attempt that failed: which
    /// one it was, from 0 on, and why.
    ///
    /// # Errors
    /// After the last attempt; at once if an endpoint is no address, or of another cluster.
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

    /// As [`PdClient::connect`], giving up after `wait`.
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
            log::info!("PD request {what} failed: {error}; looking for PD's leader");
            if let Err(e) = self.connection.reconnect(generation, SEARCH_WAIT).await {
                log::warn!("{e}");
            }
        }
    }

    pub fn cluster_id(&self) -> u64 {
        self.connection.cluster_id
    }

    /// Where PD's leader was last found, `host:port`.
    pub fn leader_addr(&self) -> String {
        self.connection.leader()
    }

    pub async fn is_cluster_bootstrapped(&self) -> Result<bool> {
        Ok(call!(self, is_bootstrapped, IsBootstrappedRequest {})?.bootstrapped)
    }

    /// Hands in the first store and region. [`Error::AlreadyBootstrapped`] if another store was faster.
    pub async fn bootstrap_cluster(&self, store: metapb::Store, region: metapb::Region) -> Result<()> {
        let (store, region) = (Some(store), Some(region));
        call!(self, bootstrap, BootstrapRequest { store, region }).map(drop)
    }

    /// A fresh id, unique in the cluster.
    pub async fn alloc_id(&self) -> Result<u64> {
        let id = call!(self, alloc_id, AllocIdRequest { count: 1 })?.id;
        if id == 0 { Err(Error::Incomplete { what: "AllocID", missing: "an id" }) } else { Ok(id) }
    }

    pub async fn put_store(&self, store: metapb::Store) -> Result<()> {
        call!(self, put_store, PutStoreRequest { store: Some(store) }).map(drop)
    }

    pub async fn get_store(&self, store_id: u64) -> Result<metapb::Store> {
        let store = call!(self, get_store, GetStoreRequest { store_id })?.store;
        store.ok_or(Error::Incomplete { what: "GetStore", missing: "a store" })
    }

    pub async fn get_all_stores(&self, exclude_tombstone: bool) -> Result<Vec<metapb::Store>> {
        let exclude_tombstone_stores = exclude_tombstone;
        Ok(call!(self, get_all_stores, GetAllStoresRequest { exclude_tombstone_stores })?.stores)
    }

    pub async fn get_cluster_config(&self) -> Result<metapb::Cluster> {
        let cluster = call!(self, get_cluster_config, GetClusterConfigRequest {})?.cluster;
        cluster.ok_or(Error::Incomplete { what: "GetClusterConfig", missing: "a cluster" })
    }

    pub async fn store_heartbeat(&self, stats: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse> {
        call!(self, store_heartbeat, StoreHeartbeatRequest { stats: Some(stats) })
    }

    /// Opens the region heartbeat stream on the current tokio runtime.
    pub fn region_heartbeats(&self, handler: Arc<dyn HeartbeatHandler>) -> RegionHeartbeats {
        RegionHeartbeats::start(self.connection.clone(), handler)
    }

    /// The region that holds `key`, in the encoding regions have (memcomparable for transactional keys).
    pub async fn get_region(&self, key: &[u8]) -> Result<RegionAndLeader> {
        let response = call!(self, get_region, GetRegionRequest { region_key: key.to_vec() })?;
        let missing = || Error::KeyNotFound(key.escape_ascii().to_string());
        Ok(RegionAndLeader { region: response.region.ok_or_else(missing)?, leader: response.leader })
    }

    pub async fn get_region_by_id(&self, region_id: u64) -> Result<RegionAndLeader> {
        let response = call!(self, get_region_by_id, GetRegionByIdRequest { region_id })?;
        let region = response.region.ok_or(Error::RegionNotFound(region_id))?;
        Ok(RegionAndLeader { region, leader: response.leader })
    }

    /// Up to `limit` (0: all) regions of `[start, end)`; an empty end is unbounded.
    pub async fn scan_regions(&self, start: &[u8], end: &[u8], limit: i32) -> Result<Vec<pdpb::Region>> {
        let (start_key, end_key) = (start.to_vec(), end.to_vec());
        Ok(call!(self, scan_regions, ScanRegionsRequest { start_key, end_key, limit })?.regions)
    }

    /// Asks for `count` timestamps; returns the largest.
    pub async fn get_tso(&self, count: u32) -> Result<pdpb::Timestamp> {
        let mut attempt = 1;
        loop {
            let (_, generation) = self.connection.current();
            match self.tso.get(&self.connection, count, REQUEST_TIMEOUT).await {
                Err(e) if attempt < ATTEMPTS && e.is_retryable() => {
                    attempt += 1;
                    log::info!("Tso failed: {e}; looking for PD's leader");
                    if let Err(e) = self.connection.reconnect(generation, SEARCH_WAIT).await {
                        log::warn!("{e}");
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Ids for `split_count` new regions and their peers.
    pub async fn ask_batch_split(
        &self,
        region: metapb::Region,
        split_count: u32,
    ) -> Result<Vec<pdpb::SplitId>> {
        let region = Some(region);
        Ok(call!(self, ask_batch_split, AskBatchSplitRequest { region, split_count })?.ids)
    }

    /// Tells PD what a split made, in key order.
    pub async fn report_batch_split(&self, regions: Vec<metapb::Region>) -> Result<()> {
        call!(self, report_batch_split, ReportBatchSplitRequest { regions }).map(drop)
    }

    pub async fn get_gc_safe_point(&self) -> Result<u64> {
        Ok(call!(self, get_gc_safe_point, GetGcSafePointRequest {})?.safe_point)
    }

    /// Moves the GC safe point forward; returns where it stands, which may be further.
    pub async fn update_gc_safe_point(&self, safe_point: u64) -> Result<u64> {
        Ok(call!(self, update_gc_safe_point, UpdateGcSafePointRequest { safe_point })?.new_safe_point)
    }

    /// What PD's scheduling does with a region, or did last.
    pub async fn get_operator(&self, region_id: u64) -> Result<pdpb::GetOperatorResponse> {
        call!(self, get_operator, GetOperatorRequest { region_id })
    }
}
