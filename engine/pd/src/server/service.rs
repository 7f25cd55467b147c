//! pdpb over gRPC: checks request headers and sets response headers (tikv/pd
//! `server/grpc_service.go`).
use std::sync::Arc;

use futures::StreamExt;
use kvproto::{
    keyspacepb,
    pdpb::{self, ErrorType, pd_server::Pd},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};
use tracepoints::{RequestKind, request, stamp};

use super::{
    cluster::{Answer, Cluster},
    error::Refusal,
    heartbeat_streams::ResponseSender,
    regions::RegionInfo,
    scatter::scatter_regions,
    splitter::split_regions,
};
use crate::client::CALLER_ID;

mod keyspaces;

/// Maximum number of operators queued for a slow reader; newer ones are dropped.
const HEARTBEAT_STREAM_CAPACITY: usize = 256;

type Reply<T> = Result<Response<T>, Status>;

#[derive(Clone)]
pub struct PdService {
    cluster: Arc<Cluster>,
    client_url: String,
}

/// Requests with the id of their cluster.
trait HasHeader {
    fn header(&self) -> Option<&pdpb::RequestHeader>;
}

macro_rules! has_header {
    ($($request:ty),+ $(,)?) => {
        $(impl HasHeader for $request {
            fn header(&self) -> Option<&pdpb::RequestHeader> {
                self.header.as_ref()
            }
        })+
    };
}

has_header!(
    keyspacepb::GetAllKeyspacesRequest,
    keyspacepb::LoadKeyspaceByIdRequest,
    keyspacepb::LoadKeyspaceRequest,
    keyspacepb::UpdateKeyspaceStateRequest,
    keyspacepb::WatchKeyspacesRequest,
    pdpb::AllocIdRequest,
    pdpb::AskBatchSplitRequest,
    pdpb::AskSplitRequest,
    pdpb::BatchScanRegionsRequest,
    pdpb::BootstrapRequest,
    pdpb::GetAllStoresRequest,
    pdpb::GetClusterConfigRequest,
    pdpb::GetGcSafePointRequest,
    pdpb::GetGcStateRequest,
    pdpb::GetMinTsRequest,
    pdpb::GetOperatorRequest,
    pdpb::GetRegionByIdRequest,
    pdpb::GetRegionRequest,
    pdpb::GetStoreRequest,
    pdpb::IsBootstrappedRequest,
    pdpb::IsSnapshotRecoveringRequest,
    pdpb::PutClusterConfigRequest,
    pdpb::PutStoreRequest,
    pdpb::QueryRegionRequest,
    pdpb::RegionHeartbeatRequest,
    pdpb::ReportBatchSplitRequest,
    pdpb::ReportSplitRequest,
    pdpb::ScanRegionsRequest,
    pdpb::ScatterRegionRequest,
    pdpb::SplitAndScatterRegionsRequest,
    pdpb::SplitRegionsRequest,
    pdpb::StoreHeartbeatRequest,
    pdpb::TsoRequest,
    pdpb::UpdateGcSafePointRequest,
    pdpb::UpdateServiceGcSafePointRequest,
);

impl PdService {
    pub fn new(cluster: Arc<Cluster>, client_url: String) -> PdService {
        PdService { cluster, client_url }
    }

    /// Returns the message of a request for this cluster.
    fn admit<T: HasHeader>(&self, request: Request<T>) -> Result<T, Status> {
        self.check(request.get_ref())?;
        Ok(request.into_inner())
    }

    fn check<T: HasHeader>(&self, request: &T) -> Result<(), Status> {
        let (need, got) = (self.cluster.cluster_id, request.header().map_or(0, |header| header.cluster_id));
        if need == got {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("mismatch cluster id, need {need} but got {got}")))
    }

    fn header(&self) -> Option<pdpb::ResponseHeader> {
        Some(pdpb::ResponseHeader { cluster_id: self.cluster.cluster_id, error: None })
    }

    fn refuse(&self, refusal: &Refusal) -> Option<pdpb::ResponseHeader> {
        let error = Some(refusal.to_header_error());
        Some(pdpb::ResponseHeader { cluster_id: self.cluster.cluster_id, error })
    }

    /// Returns the response header, and the answer or its default.
    fn split<T: Default>(&self, answer: Answer<T>) -> (Option<pdpb::ResponseHeader>, T) {
        match answer {
            Ok(value) => (self.header(), value),
            Err(refusal) => (self.refuse(&refusal), T::default()),
        }
    }

    fn region_reply(&self, answer: Answer<Option<RegionInfo>>) -> Reply<pdpb::GetRegionResponse> {
        let (header, found) = self.split(answer);
        stamp_lookup(found.as_ref().map_or(0, |info| info.meta.id));
        let mut response = pdpb::GetRegionResponse { header, ..Default::default() };
        if let Some(info) = found {
            response.region = Some(info.meta);
            response.leader = info.leader;
            response.down_peers = info.down_peers;
            response.pending_peers = info.pending_peers;
        }
        Ok(Response::new(response))
    }

    /// Answers one request of a stream (PD `GrpcServer.QueryRegion`).
    fn query(&self, request: &pdpb::QueryRegionRequest) -> Result<pdpb::QueryRegionResponse, Status> {
        self.check(request)?;
        let (header, found) = self.split(self.cluster.query_regions(request));
        found.by_id.keys().copied().for_each(stamp_lookup);
        let to_pb = |info: RegionInfo| pdpb::RegionResponse {
            region: Some(info.meta),
            leader: info.leader,
            down_peers: info.down_peers,
            pending_peers: info.pending_peers,
            buckets: None,
        };
        Ok(pdpb::QueryRegionResponse {
            header,
            key_id_map: found.of_keys,
            prev_key_id_map: found.before_keys,
            regions_by_id: found.by_id.into_iter().map(|(id, info)| (id, to_pb(info))).collect(),
        })
    }

    fn grant(&self, request: &pdpb::TsoRequest) -> Result<pdpb::TsoResponse, Status> {
        self.check(request)?;
        let granted = self.cluster.tso.grant(request.count);
        let timestamp = granted.map_err(|refusal| match refusal.kind {
            ErrorType::InvalidValue => Status::invalid_argument(refusal.message),
            _ => Status::internal(refusal.message),
        })?;
        // A store's own request: no client operation waits for it.
        if request.header.as_ref().is_none_or(|header| header.caller_id != CALLER_ID) {
            let req = request::begin(RequestKind::Tso, &[], 0);
            stamp!(PD_TSO, req, count = u64::from(request.count), ts = timestamp.to_ts());
            request::end(req);
        }
        Ok(pdpb::TsoResponse { header: self.header(), count: request.count, timestamp: Some(timestamp) })
    }

    /// Handles one heartbeat of a stream. A refusal is sent on the stream, which stays open.
    fn heartbeat(&self, request: pdpb::RegionHeartbeatRequest, stream: &ResponseSender) {
        let target_peer = request.leader;
        let region_id = request.region.as_ref().map_or(0, |region| region.id);
        if let Err(refusal) = self.cluster.region_heartbeat(request, stream) {
            log::warn!("pd: refused the heartbeat of region {region_id}: {refusal}");
            let header = self.refuse(&refusal);
            let response =
                pdpb::RegionHeartbeatResponse { header, region_id, target_peer, ..Default::default() };
            // If the stream is full or closed, the sender does not read; it will report again.
            let _ = stream.try_send(Ok(response));
        }
    }

    async fn serve_heartbeats(
        self,
        mut requests: Streaming<pdpb::RegionHeartbeatRequest>,
        stream: ResponseSender,
    ) {
        loop {
            match requests.message().await {
                Ok(Some(request)) => match self.check(&request) {
                    Ok(()) => self.heartbeat(request, &stream),
                    Err(status) => {
                        let _ = stream.try_send(Err(status));
                        break;
                    }
                },
                Ok(None) => break,
                Err(status) => {
                    log::info!("pd: a region heartbeat stream ended: {status}");
                    break;
                }
            }
        }
        self.cluster.unbind_stream(&stream);
    }

    pub fn member(&self) -> pdpb::Member {
        pdpb::Member {
            name: "pd".to_owned(),
            member_id: 1,
            peer_urls: vec![self.client_url.clone()],
            client_urls: vec![self.client_url.clone()],
            ..Default::default()
        }
    }
}

/// Stamps a lookup of a region; id 0: PD has none.
fn stamp_lookup(region: u64) {
    let req = request::begin(RequestKind::GetRegion, &[], region);
    stamp!(PD_GET_REGION, req, region = region);
    request::end(req);
}

macro_rules! reply {
    ($response:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        // Some responses have no further field.
        #[allow(clippy::needless_update)]
        Ok(Response::new(pdpb::$response { $($field $(: $value)?,)* ..Default::default() }))
    };
}

#[tonic::async_trait]
impl Pd for PdService {
    async fn get_cluster_info(
        &self,
        _: Request<pdpb::GetClusterInfoRequest>,
    ) -> Reply<pdpb::GetClusterInfoResponse> {
        reply!(GetClusterInfoResponse {
            header: self.header(),
            service_modes: vec![pdpb::ServiceMode::PdSvcMode as i32],
        })
    }

    async fn get_members(&self, _: Request<pdpb::GetMembersRequest>) -> Reply<pdpb::GetMembersResponse> {
        reply!(GetMembersResponse {
            header: self.header(),
            members: vec![self.member()],
            leader: Some(self.member()),
            etcd_leader: Some(self.member()),
        })
    }

    async fn tso(
        &self,
        request: Request<Streaming<pdpb::TsoRequest>>,
    ) -> Reply<BoxStream<pdpb::TsoResponse>> {
        let service = self.clone();
        let grants = request.into_inner().map(move |request| service.grant(&request?));
        Ok(Response::new(Box::pin(grants)))
    }

    async fn get_min_ts(&self, request: Request<pdpb::GetMinTsRequest>) -> Reply<pdpb::GetMinTsResponse> {
        self.admit(request)?;
        let (header, timestamp) = self.split(self.cluster.tso.grant(1).map(Some));
        reply!(GetMinTsResponse { header, timestamp })
    }

    async fn bootstrap(&self, request: Request<pdpb::BootstrapRequest>) -> Reply<pdpb::BootstrapResponse> {
        let request = self.admit(request)?;
        let (store, region) = (request.store.unwrap_or_default(), request.region.unwrap_or_default());
        let (header, ()) = self.split(self.cluster.bootstrap(store, region));
        reply!(BootstrapResponse { header })
    }

    async fn is_bootstrapped(
        &self,
        request: Request<pdpb::IsBootstrappedRequest>,
    ) -> Reply<pdpb::IsBootstrappedResponse> {
        self.admit(request)?;
        reply!(IsBootstrappedResponse { header: self.header(), bootstrapped: self.cluster.is_bootstrapped() })
    }

    async fn alloc_id(&self, request: Request<pdpb::AllocIdRequest>) -> Reply<pdpb::AllocIdResponse> {
        let count = self.admit(request)?.count.max(1);
        let (header, id) = self.split(self.cluster.alloc_id(count));
        reply!(AllocIdResponse { header, id, count })
    }

    async fn is_snapshot_recovering(
        &self,
        request: Request<pdpb::IsSnapshotRecoveringRequest>,
    ) -> Reply<pdpb::IsSnapshotRecoveringResponse> {
        self.admit(request)?;
        let marked = self.cluster.is_snapshot_recovering();
        reply!(IsSnapshotRecoveringResponse { header: self.header(), marked })
    }

    async fn get_store(&self, request: Request<pdpb::GetStoreRequest>) -> Reply<pdpb::GetStoreResponse> {
        let request = self.admit(request)?;
        let (header, found) = self.split(self.cluster.store(request.store_id).map(Some));
        let (store, stats) = found.map(|info| (info.meta, info.stats)).unzip();
        reply!(GetStoreResponse { header, store, stats })
    }

    async fn put_store(&self, request: Request<pdpb::PutStoreRequest>) -> Reply<pdpb::PutStoreResponse> {
        let store = self.admit(request)?.store.unwrap_or_default();
        let (header, ()) = self.split(self.cluster.put_store(store));
        reply!(PutStoreResponse { header })
    }

    async fn get_all_stores(
        &self,
        request: Request<pdpb::GetAllStoresRequest>,
    ) -> Reply<pdpb::GetAllStoresResponse> {
        let request = self.admit(request)?;
        let (header, stores) = self.split(self.cluster.all_stores(request.exclude_tombstone_stores));
        reply!(GetAllStoresResponse { header, stores })
    }

    async fn store_heartbeat(
        &self,
        request: Request<pdpb::StoreHeartbeatRequest>,
    ) -> Reply<pdpb::StoreHeartbeatResponse> {
        let missing = || Status::unknown("invalid store heartbeat command: it has no stats");
        let stats = self.admit(request)?.stats.ok_or_else(missing)?;
        let (header, status) = self.split(self.cluster.store_heartbeat(stats));
        reply!(StoreHeartbeatResponse {
            header,
            cluster_version: status.cluster_version,
            state: status.state
        })
    }

    async fn region_heartbeat(
        &self,
        request: Request<Streaming<pdpb::RegionHeartbeatRequest>>,
    ) -> Reply<BoxStream<pdpb::RegionHeartbeatResponse>> {
        let (sender, receiver) = mpsc::channel(HEARTBEAT_STREAM_CAPACITY);
        tokio::spawn(self.clone().serve_heartbeats(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_region(&self, request: Request<pdpb::GetRegionRequest>) -> Reply<pdpb::GetRegionResponse> {
        let request = self.admit(request)?;
        self.region_reply(self.cluster.region_of_key(&request.region_key))
    }

    async fn get_prev_region(
        &self,
        request: Request<pdpb::GetRegionRequest>,
    ) -> Reply<pdpb::GetRegionResponse> {
        let request = self.admit(request)?;
        self.region_reply(self.cluster.region_before_key(&request.region_key))
    }

    async fn get_region_by_id(
        &self,
        request: Request<pdpb::GetRegionByIdRequest>,
    ) -> Reply<pdpb::GetRegionResponse> {
        let request = self.admit(request)?;
        self.region_reply(self.cluster.region(request.region_id))
    }

    async fn query_region(
        &self,
        request: Request<Streaming<pdpb::QueryRegionRequest>>,
    ) -> Reply<BoxStream<pdpb::QueryRegionResponse>> {
        let service = self.clone();
        let answers = request.into_inner().map(move |request| service.query(&request?));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn scan_regions(
        &self,
        request: Request<pdpb::ScanRegionsRequest>,
    ) -> Reply<pdpb::ScanRegionsResponse> {
        let request = self.admit(request)?;
        let found = self.cluster.scan_regions(&request.start_key, &request.end_key, request.limit);
        let (header, regions) = self.split(found);
        // For old and new clients: metas and leaders separately, and together.
        let region_metas = regions.iter().filter_map(|region| region.region.clone()).collect();
        let leaders = regions.iter().map(|region| region.leader.unwrap_or_default()).collect();
        reply!(ScanRegionsResponse { header, region_metas, leaders, regions })
    }

    async fn batch_scan_regions(
        &self,
        request: Request<pdpb::BatchScanRegionsRequest>,
    ) -> Reply<pdpb::BatchScanRegionsResponse> {
        let request = self.admit(request)?;
        let (header, regions) = self.split(self.cluster.batch_scan_regions(&request));
        reply!(BatchScanRegionsResponse { header, regions })
    }

    async fn ask_split(&self, request: Request<pdpb::AskSplitRequest>) -> Reply<pdpb::AskSplitResponse> {
        let region = self.admit(request)?.region.unwrap_or_default();
        let (header, ids) = self.split(self.cluster.ask_split(&region, 1));
        let pdpb::SplitId { new_region_id, new_peer_ids } = ids.into_iter().next().unwrap_or_default();
        reply!(AskSplitResponse { header, new_region_id, new_peer_ids })
    }

    async fn ask_batch_split(
        &self,
        request: Request<pdpb::AskBatchSplitRequest>,
    ) -> Reply<pdpb::AskBatchSplitResponse> {
        let request = self.admit(request)?;
        let region = request.region.unwrap_or_default();
        let (header, ids) = self.split(self.cluster.ask_split(&region, request.split_count));
        reply!(AskBatchSplitResponse { header, ids })
    }

    async fn report_split(
        &self,
        request: Request<pdpb::ReportSplitRequest>,
    ) -> Reply<pdpb::ReportSplitResponse> {
        let request = self.admit(request)?;
        let halves: Vec<_> = request.left.into_iter().chain(request.right).collect();
        let (header, ()) = self.split(self.cluster.report_split(&halves));
        reply!(ReportSplitResponse { header })
    }

    async fn report_batch_split(
        &self,
        request: Request<pdpb::ReportBatchSplitRequest>,
    ) -> Reply<pdpb::ReportBatchSplitResponse> {
        let request = self.admit(request)?;
        let (header, ()) = self.split(self.cluster.report_split(&request.regions));
        reply!(ReportBatchSplitResponse { header })
    }

    async fn get_cluster_config(
        &self,
        request: Request<pdpb::GetClusterConfigRequest>,
    ) -> Reply<pdpb::GetClusterConfigResponse> {
        self.admit(request)?;
        let (header, cluster) = self.split(self.cluster.config().map(Some));
        reply!(GetClusterConfigResponse { header, cluster })
    }

    async fn put_cluster_config(
        &self,
        request: Request<pdpb::PutClusterConfigRequest>,
    ) -> Reply<pdpb::PutClusterConfigResponse> {
        let cluster = self.admit(request)?.cluster.unwrap_or_default();
        let (header, ()) = self.split(self.cluster.put_config(cluster));
        reply!(PutClusterConfigResponse { header })
    }

    async fn scatter_region(
        &self,
        request: Request<pdpb::ScatterRegionRequest>,
    ) -> Reply<pdpb::ScatterRegionResponse> {
        let request = self.admit(request)?;
        let scattered = scatter_regions(&self.cluster, &request).await;
        let (header, (finished_percentage, failed_regions_id)) = self.split(scattered);
        reply!(ScatterRegionResponse { header, finished_percentage, failed_regions_id })
    }

    async fn split_regions(
        &self,
        request: Request<pdpb::SplitRegionsRequest>,
    ) -> Reply<pdpb::SplitRegionsResponse> {
        let request = self.admit(request)?;
        let split = split_regions(&self.cluster, request.split_keys, request.retry_limit).await;
        let (header, (finished_percentage, regions_id)) = self.split(split);
        reply!(SplitRegionsResponse { header, finished_percentage, regions_id })
    }

    async fn split_and_scatter_regions(
        &self,
        request: Request<pdpb::SplitAndScatterRegionsRequest>,
    ) -> Reply<pdpb::SplitAndScatterRegionsResponse> {
        let request = self.admit(request)?;
        let split = split_regions(&self.cluster, request.split_keys, request.retry_limit).await;
        let scatter_finished_percentage = match &split {
            // PD `ScatterRegionsByID`.
            Ok((_, made)) if made.is_empty() => {
                return Err(Status::unknown("[PD:scatter:ErrEmptyRegion]empty region"));
            }
            Ok((_, made)) => {
                let scatter = pdpb::ScatterRegionRequest {
                    group: request.group,
                    regions_id: made.clone(),
                    retry_limit: request.retry_limit,
                    ..Default::default()
                };
                let scattered = scatter_regions(&self.cluster, &scatter).await;
                scattered.map_err(|refusal| Status::unknown(refusal.to_string()))?.0
            }
            Err(_) => 0,
        };
        let (header, (split_finished_percentage, regions_id)) = self.split(split);
        reply!(SplitAndScatterRegionsResponse {
            header,
            split_finished_percentage,
            scatter_finished_percentage,
            regions_id,
        })
    }

    async fn get_gc_safe_point(
        &self,
        request: Request<pdpb::GetGcSafePointRequest>,
    ) -> Reply<pdpb::GetGcSafePointResponse> {
        self.admit(request)?;
        let (header, safe_point) = self.split(self.cluster.gc_safe_point());
        reply!(GetGcSafePointResponse { header, safe_point })
    }

    async fn get_gc_state(
        &self,
        request: Request<pdpb::GetGcStateRequest>,
    ) -> Reply<pdpb::GetGcStateResponse> {
        let request = self.admit(request)?;
        let scope = self.cluster.check_keyspace_scope(request.keyspace_scope.as_ref());
        let points = match scope.and_then(|()| self.cluster.safe_points()) {
            Ok(points) => points,
            Err(refusal) => {
                let header = self.refuse(&refusal);
                return Ok(Response::new(pdpb::GetGcStateResponse { header, ..Default::default() }));
            }
        };
        let (header, (points, now_s)) = (self.header(), points);
        // There are no barriers over all keyspaces.
        let global_gc_barriers = request.include_global_gc_barriers.then(Default::default);
        let gc_state = Some(points.to_gc_state(now_s, !request.exclude_gc_barriers));
        reply!(GetGcStateResponse { header, gc_state, global_gc_barriers })
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<pdpb::UpdateGcSafePointRequest>,
    ) -> Reply<pdpb::UpdateGcSafePointResponse> {
        let request = self.admit(request)?;
        let (header, new_safe_point) = self.split(self.cluster.update_gc_safe_point(request.safe_point));
        reply!(UpdateGcSafePointResponse { header, new_safe_point })
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<pdpb::UpdateServiceGcSafePointRequest>,
    ) -> Reply<pdpb::UpdateServiceGcSafePointResponse> {
        let request = self.admit(request)?;
        let id = String::from_utf8_lossy(&request.service_id);
        let answer = self.cluster.update_service_safe_point(&id, request.ttl, request.safe_point);
        let (header, (lowest, now_s)) = self.split(answer);
        reply!(UpdateServiceGcSafePointResponse {
            header,
            service_id: lowest.service_id.into_bytes(),
            ttl: lowest.expires_s.saturating_sub(now_s),
            min_safe_point: lowest.safe_point,
        })
    }

    async fn get_operator(
        &self,
        request: Request<pdpb::GetOperatorRequest>,
    ) -> Reply<pdpb::GetOperatorResponse> {
        let region_id = self.admit(request)?.region_id;
        let (header, operator) = self.split(self.cluster.operator(region_id).map(Some));
        let mut response = pdpb::GetOperatorResponse { header, region_id, ..Default::default() };
        if let Some(operator) = operator {
            response.desc = operator.desc.into();
            response.kind = operator.kind().into();
            response.status = operator.status as i32;
        }
        Ok(Response::new(response))
    }
}
