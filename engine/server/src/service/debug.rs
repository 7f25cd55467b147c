//! `debugpb.Debug`, which tikv-ctl calls on a running store (TiKV `src/server/service/debug.rs`,
//! `src/server/debug.rs`).
mod consistency;
mod error;
mod maintenance;
mod mvcc;
mod properties;

use std::sync::Arc;

use engine_rocks::{CF_DEFAULT, CF_RAFT, RocksEngine};
use futures::StreamExt;
use kvproto::{
    debugpb::{debug_server::Debug, *},
    kvrpcpb::ApiVersion,
    raft_serverpb::{PeerState, RaftApplyState, RegionLocalState},
};
use raftstore::{RaftRouter, store::Engines};
use serde_json::{Map, Value};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, codegen::BoxStream};

use self::error::{DebugError, check_cf};
use super::flashback;
use crate::{Storage, config::ConfigController, heap, metrics::Metrics};

type Answer<T> = Result<Response<T>, Status>;

/// The debug service of one store.
#[derive(Clone)]
pub struct DebugService {
    engines: Engines,
    storage: Storage,
    router: RaftRouter,
    cluster_id: u64,
    store_id: u64,
    metrics: Metrics,
    config: Arc<ConfigController>,
}

impl DebugService {
    /// Creates the service of a store.
    pub fn new(
        engines: Engines,
        storage: Storage,
        router: RaftRouter,
        cluster_id: u64,
        store_id: u64,
        metrics: Metrics,
        config: Arc<ConfigController>,
    ) -> Self {
        Self { engines, storage, router, cluster_id, store_id, metrics, config }
    }

    /// Runs a read from disk on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(Engines) -> Result<T, DebugError> + Send + 'static,
    ) -> Answer<T> {
        let engines = self.engines.clone();
        let read = tokio::task::spawn_blocking(move || read(engines)).await;
        Ok(Response::new(read.map_err(|e| Status::internal(e.to_string()))??))
    }
}

fn region_state(kv: &RocksEngine, region_id: u64) -> Result<Option<RegionLocalState>, DebugError> {
    Ok(kv.get_msg_cf(CF_RAFT, &keys::region_state_key(region_id))?)
}

/// Returns the data keys of a region that has a peer here.
fn region_range(kv: &RocksEngine, region_id: u64) -> Result<(Vec<u8>, Vec<u8>), DebugError> {
    let state = region_state(kv, region_id)?.filter(|s| s.state != PeerState::Tombstone as i32);
    let region = state.and_then(|s| s.region);
    let region =
        region.ok_or_else(|| DebugError::NotFound(format!("region {region_id} is not on this store")))?;
    Ok((keys::enc_start_key(&region), keys::enc_end_key(&region)))
}

fn region_info(engines: &Engines, region_id: u64) -> Result<RegionInfoResponse, DebugError> {
    let raft_apply_state: Option<RaftApplyState> =
        engines.kv.get_msg_cf(CF_RAFT, &keys::apply_state_key(region_id))?;
    let info = RegionInfoResponse {
        raft_local_state: engines.raft.get_raft_state(region_id)?,
        raft_apply_state,
        region_local_state: region_state(&engines.kv, region_id)?,
    };
    if info == RegionInfoResponse::default() {
        return Err(DebugError::NotFound(format!("info for region {region_id}")));
    }
    Ok(info)
}

fn region_size(kv: &RocksEngine, request: &RegionSizeRequest) -> Result<RegionSizeResponse, DebugError> {
    let (start, end) = region_range(kv, request.region_id)?;
    let mut entries = Vec::new();
    for name in &request.cfs {
        let cf = check_cf(Db::Kv, name)?;
        let mut size = 0;
        kv.scan_cf(cf, &start, &end, |key, value| {
            size += (key.len() + value.len()) as u64;
            Ok(true)
        })?;
        entries.push(region_size_response::Entry { cf: name.clone(), size });
    }
    Ok(RegionSizeResponse { entries })
}

fn all_regions(kv: &RocksEngine) -> Result<Vec<u64>, DebugError> {
    let mut regions = Vec::new();
    kv.scan_cf(CF_RAFT, keys::REGION_META_MIN_KEY, keys::REGION_META_MAX_KEY, |key, _| {
        if let Ok((region_id, keys::REGION_STATE_SUFFIX)) = keys::decode_region_meta_key(key) {
            regions.push(region_id);
        }
        Ok(true)
    })?;
    regions.sort_unstable();
    Ok(regions)
}

fn region_properties(kv: &RocksEngine, region_id: u64) -> Result<GetRegionPropertiesResponse, DebugError> {
    let (start, end) = region_range(kv, region_id)?;
    let mut props = properties::range(kv, &start, &end)?;
    props.push(("region.start_key".into(), keys::hex_lower(keys::origin_key(&start).unwrap_or_default())));
    props.push(("region.end_key".into(), keys::hex_lower(keys::origin_end_key(&end).unwrap_or_default())));
    let middle = properties::middle_key(kv, &start, &end)?.unwrap_or_default();
    let middle = keys::hex_lower(keys::origin_key(&middle).unwrap_or_default());
    props.push(("region.middle_key_by_approximate_size".into(), middle));
    let props = props.into_iter().map(|(name, value)| Property { name, value }).collect();
    Ok(GetRegionPropertiesResponse { props })
}

/// Sends rows until the limit, the end, or until the client has gone.
fn scan_mvcc(
    kv: &RocksEngine,
    request: &ScanMvccRequest,
    rows: &tokio::sync::mpsc::Sender<Result<ScanMvccResponse, Status>>,
) -> Result<(), DebugError> {
    let mut scanner = mvcc::MvccInfoScanner::new(kv, &request.from_key, &request.to_key)?;
    let mut sent = 0;
    while request.limit == 0 || sent < request.limit {
        let Some((key, info)) = scanner.next_key()? else { break };
        if rows.blocking_send(Ok(ScanMvccResponse { key, info: Some(info) })).is_err() {
            break;
        }
        sent += 1;
    }
    Ok(())
}

#[tonic::async_trait]
impl Debug for DebugService {
    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let request = request.into_inner();
        let cf = check_cf(request.db(), &request.cf)?;
        self.read(move |engines| {
            let value = engines.kv.get_value_cf(cf, &request.key)?;
            let absent =
                || DebugError::NotFound(format!("value for key {:?} in db Kv", keys::escape(&request.key)));
            Ok(GetResponse { value: value.ok_or_else(absent)? })
        })
        .await
    }

    async fn raft_log(&self, request: Request<RaftLogRequest>) -> Answer<RaftLogResponse> {
        let RaftLogRequest { region_id, log_index } = request.into_inner();
        self.read(move |engines| {
            let absent =
                || DebugError::NotFound(format!("raft log for region {region_id} at index {log_index}"));
            let entry = engines.raft.get_entry(region_id, log_index)?.ok_or_else(absent)?;
            Ok(RaftLogResponse { entry: Some(raft_log_engine::convert::entry_from_raft(entry)) })
        })
        .await
    }

    async fn region_info(&self, request: Request<RegionInfoRequest>) -> Answer<RegionInfoResponse> {
        let region_id = request.into_inner().region_id;
        self.read(move |engines| region_info(&engines, region_id)).await
    }

    async fn region_size(&self, request: Request<RegionSizeRequest>) -> Answer<RegionSizeResponse> {
        let request = request.into_inner();
        self.read(move |engines| region_size(&engines.kv, &request)).await
    }

    async fn scan_mvcc(&self, request: Request<ScanMvccRequest>) -> Answer<BoxStream<ScanMvccResponse>> {
        let request = request.into_inner();
        if request.to_key.is_empty() && request.limit == 0 {
            return Err(Status::invalid_argument("no limit and to_key"));
        }
        let (rows, stream) = tokio::sync::mpsc::channel(64);
        let kv = self.engines.kv.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(e) = scan_mvcc(&kv, &request, &rows) {
                // The client may have gone.
                let _ = rows.blocking_send(Err(e.into()));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Answer<GetMetricsResponse> {
        let all = request.into_inner().all;
        let (prometheus, store_id) = (self.metrics.to_text(), self.store_id);
        self.read(move |engines| {
            let mut reply = GetMetricsResponse { prometheus, store_id, ..GetMetricsResponse::default() };
            if all {
                // `rocksdb_raft` is empty, as in a TiKV with raft-engine.
                let stats = engines.kv.property_value_cf(CF_DEFAULT, "rocksdb.stats")?;
                reply.rocksdb_kv = stats.unwrap_or_default();
                reply.jemalloc = heap::stats();
            }
            Ok(reply)
        })
        .await
    }

    async fn get_region_properties(
        &self,
        request: Request<GetRegionPropertiesRequest>,
    ) -> Answer<GetRegionPropertiesResponse> {
        let region_id = request.into_inner().region_id;
        self.read(move |engines| region_properties(&engines.kv, region_id)).await
    }

    async fn get_range_properties(
        &self,
        request: Request<GetRangePropertiesRequest>,
    ) -> Answer<GetRangePropertiesResponse> {
        let request = request.into_inner();
        self.read(move |engines| {
            let (start, end) = (keys::data_key(&request.start_key), keys::data_end_key(&request.end_key));
            let properties = properties::range(&engines.kv, &start, &end)?.into_iter();
            let to_wire = |(key, value)| get_range_properties_response::RangeProperty { key, value };
            Ok(GetRangePropertiesResponse { properties: properties.map(to_wire).collect() })
        })
        .await
    }

    async fn get_store_info(&self, _: Request<GetStoreInfoRequest>) -> Answer<GetStoreInfoResponse> {
        let api_version = ApiVersion::from(self.storage.api_version()).into();
        Ok(Response::new(GetStoreInfoResponse { store_id: self.store_id, api_version }))
    }

    async fn get_cluster_info(&self, _: Request<GetClusterInfoRequest>) -> Answer<GetClusterInfoResponse> {
        Ok(Response::new(GetClusterInfoResponse { cluster_id: self.cluster_id }))
    }

    async fn get_all_regions_in_store(
        &self,
        _: Request<GetAllRegionsInStoreRequest>,
    ) -> Answer<GetAllRegionsInStoreResponse> {
        self.read(|engines| Ok(GetAllRegionsInStoreResponse { regions: all_regions(&engines.kv)? })).await
    }

    async fn compact(&self, request: Request<CompactRequest>) -> Answer<CompactResponse> {
        let request = request.into_inner();
        self.read(move |engines| maintenance::compact(&engines.kv, &request)).await
    }

    async fn modify_tikv_config(
        &self,
        request: Request<ModifyTikvConfigRequest>,
    ) -> Answer<ModifyTikvConfigResponse> {
        let ModifyTikvConfigRequest { config_name, config_value, .. } = request.into_inner();
        let config = self.config.clone();
        self.read(move |_| {
            let changes = Map::from_iter([(config_name.clone(), Value::from(config_value.as_str()))]);
            config.update(&changes).map_err(|e| DebugError::Config(format!("{e:?}")))?;
            log::info!("the configuration {config_name} is now {config_value}");
            Ok(ModifyTikvConfigResponse {})
        })
        .await
    }

    async fn inject_fail_point(
        &self,
        request: Request<InjectFailPointRequest>,
    ) -> Answer<InjectFailPointResponse> {
        let InjectFailPointRequest { name, actions } = request.into_inner();
        if name.is_empty() {
            return Err(Status::invalid_argument("the name of the fail point is empty"));
        }
        fail::cfg(name, &actions).map_err(Status::unknown)?;
        Ok(Response::new(InjectFailPointResponse {}))
    }

    async fn recover_fail_point(
        &self,
        request: Request<RecoverFailPointRequest>,
    ) -> Answer<RecoverFailPointResponse> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("the name of the fail point is empty"));
        }
        fail::remove(name);
        Ok(Response::new(RecoverFailPointResponse {}))
    }

    async fn list_fail_points(&self, _: Request<ListFailPointsRequest>) -> Answer<ListFailPointsResponse> {
        let entries = fail::list().into_iter();
        let entries = entries.map(|(name, actions)| list_fail_points_response::Entry { name, actions });
        Ok(Response::new(ListFailPointsResponse { entries: entries.collect() }))
    }

    async fn reset_to_version(
        &self,
        request: Request<ResetToVersionRequest>,
    ) -> Answer<ResetToVersionResponse> {
        let ts = request.into_inner().ts;
        self.read(move |engines| {
            let removed = maintenance::reset_to_version(&engines.kv, ts)?;
            log::warn!("reset to version {ts}: removed {removed} records");
            Ok(ResetToVersionResponse {})
        })
        .await
    }

    async fn get_region_read_progress(
        &self,
        _: Request<GetRegionReadProgressRequest>,
    ) -> Answer<GetRegionReadProgressResponse> {
        Ok(Response::new(maintenance::read_progress()))
    }

    async fn check_region_consistency(
        &self,
        request: Request<RegionConsistencyCheckRequest>,
    ) -> Answer<RegionConsistencyCheckResponse> {
        consistency::check(&self.router, request.into_inner().region_id).await?;
        Ok(Response::new(RegionConsistencyCheckResponse {}))
    }

    async fn flashback_to_version(
        &self,
        request: Request<FlashbackToVersionRequest>,
    ) -> Answer<FlashbackToVersionResponse> {
        let request = request.into_inner();
        let region_id = request.region_id;
        // Asks the peer: the state on disk may be older.
        let meta = self.router.query_region_meta(region_id).await;
        let gone = || Status::not_found(format!("region {region_id} is not on this store"));
        let region = meta.ok_or_else(gone)?.region;
        flashback::debug(&self.storage, region, self.store_id, request).await?;
        Ok(Response::new(FlashbackToVersionResponse::default()))
    }
}
