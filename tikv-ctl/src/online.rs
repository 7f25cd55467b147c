//! A store reached over gRPC (kvproto `debugpb.Debug`).
mod raw_scan;

use std::future::Future;

use kvproto::{
    debugpb::{self, debug_client::DebugClient},
    eraftpb::Entry,
    kvrpcpb::{ApiVersion, Context, RawGetRequest},
    metapb::{Peer, Region},
    tikvpb::tikv_client::TikvClient,
};
use security::{SecurityManager, causes};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    Error,
    error::DebugError,
    grpc,
    offline::health::check_region,
    probe::is_status_address,
    source::{Answer, MvccTaker, RawTaker, RegionInfo, Source},
};

/// Maximum size of a reply, as in TiKV's tool: 1 GiB.
const MAX_MESSAGE_LEN: usize = 1 << 30;

/// A server.
#[derive(Debug)]
pub struct Online {
    host: String,
    security: SecurityManager,
    hint: &'static str,
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    client: DebugClient<Channel>,
}

impl Online {
    /// Connects to the server whose gRPC address is `host`.
    pub fn connect(host: &str, security: &SecurityManager) -> crate::Result<Online> {
        let (runtime, channel) = grpc::connect(host, security)?;
        let client = DebugClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_LEN)
            .max_encoding_message_size(MAX_MESSAGE_LEN);
        let (host, hint, security) = (host.to_owned(), security.hint(), security.clone());
        Ok(Online { host, security, hint, runtime, channel, client })
    }

    /// Returns a client for the server's data.
    pub(crate) fn kv(&self) -> TikvClient<Channel> {
        TikvClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    /// Waits for the reply to a call of [`Online::kv`].
    pub(crate) fn wait<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
        self.call(call)
    }

    fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
        self.runtime.block_on(call).map(Response::into_inner).map_err(|e| self.failure(&e))
    }

    /// Formats the status as grpcio does, and adds a cause in plain words if the connection was lost.
    fn failure(&self, status: &Status) -> DebugError {
        let name = match status.code() {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        };
        let mut text = format!("{}-{name} {}", status.code() as i32, status.message());
        if let Some(cause) = std::error::Error::source(status) {
            // The connection was lost: the server sent no reply.
            if let Some(what) = is_status_address(&self.host, &self.security) {
                return DebugError::Rpc(format!("{text} ({what})"));
            }
            let why = causes(cause);
            text.push_str(&format!(
                " (the server at {} closed the connection or does not reply: {why}{})",
                self.host, self.hint
            ));
        }
        // A reply that is not gRPC is refused without a cause; a server without the service sends no text.
        if status.code() == Code::Unimplemented && status.message().is_empty() {
            text.push_str(&format!(
                "(the server at {} has no debugpb.Debug: check that it is a TiKV server, not PD)",
                self.host
            ));
        } else if status.metadata().get("server").is_none()
            && status.message().contains("invalid compression flag")
        {
            if let Some(what) = is_status_address(&self.host, &self.security) {
                return DebugError::Rpc(format!("{text} ({what})"));
            }
            text.push_str(&format!(" (the server at {} does not speak gRPC{})", self.host, self.hint));
        }
        DebugError::Rpc(text)
    }

    /// Returns the metrics of the server: all of them, or only those of Prometheus.
    pub fn metrics(&self, all: bool) -> Answer<debugpb::GetMetricsResponse> {
        self.call(self.client.clone().get_metrics(debugpb::GetMetricsRequest { all }))
    }

    /// Makes the server propose a consistency check.
    pub fn check_region_consistency(&self, region_id: u64) -> Answer<()> {
        let request = debugpb::RegionConsistencyCheckRequest { region_id };
        self.call(self.client.clone().check_region_consistency(request)).map(|_| ())
    }

    /// Compacts a range.
    pub fn compact(&self, request: debugpb::CompactRequest) -> Answer<()> {
        self.call(self.client.clone().compact(request)).map(|_| ())
    }

    /// Changes a setting.
    pub fn modify_tikv_config(&self, name: &str, value: &str) -> Answer<()> {
        let (config_name, config_value) = (name.to_owned(), value.to_owned());
        let request = debugpb::ModifyTikvConfigRequest { config_name, config_value, ..Default::default() };
        self.call(self.client.clone().modify_tikv_config(request)).map(|_| ())
    }

    /// Sets a fail point.
    pub fn inject_fail_point(&self, name: &str, actions: &str) -> Answer<()> {
        let request = debugpb::InjectFailPointRequest { name: name.to_owned(), actions: actions.to_owned() };
        self.call(self.client.clone().inject_fail_point(request)).map(|_| ())
    }

    /// Clears a fail point.
    pub fn recover_fail_point(&self, name: &str) -> Answer<()> {
        let request = debugpb::RecoverFailPointRequest { name: name.to_owned() };
        self.call(self.client.clone().recover_fail_point(request)).map(|_| ())
    }

    /// Returns names and actions of the fail points that are set.
    pub fn fail_points(&self) -> Answer<Vec<(String, String)>> {
        let reply = self.call(self.client.clone().list_fail_points(debugpb::ListFailPointsRequest {}))?;
        Ok(reply.entries.into_iter().map(|entry| (entry.name, entry.actions)).collect())
    }

    /// Deletes all versions and locks after `ts`.
    pub fn reset_to_version(&self, ts: u64) -> Answer<()> {
        self.call(self.client.clone().reset_to_version(debugpb::ResetToVersionRequest { ts })).map(|_| ())
    }

    /// Prepares or finishes the flashback of a region whose leader is on this server.
    pub fn flashback_to_version(&self, request: debugpb::FlashbackToVersionRequest) -> Answer<()> {
        self.call(self.client.clone().flashback_to_version(request)).map(|_| ())
    }

    /// Returns the progress of a region's resolved timestamp.
    pub fn region_read_progress(
        &self,
        region_id: u64,
        log_locks: bool,
        min_start_ts: u64,
    ) -> Answer<debugpb::GetRegionReadProgressResponse> {
        let request = debugpb::GetRegionReadProgressRequest { region_id, log_locks, min_start_ts };
        self.call(self.client.clone().get_region_read_progress(request))
    }
}

impl Source for Online {
    fn executor(&self) -> &'static str {
        "DebugClient"
    }

    fn all_regions(&self) -> Answer<Vec<u64>> {
        let request = debugpb::GetAllRegionsInStoreRequest {};
        Ok(self.call(self.client.clone().get_all_regions_in_store(request))?.regions)
    }

    fn get(&self, cf: &str, key: &[u8]) -> Answer<Vec<u8>> {
        let db = debugpb::Db::Kv.into();
        let request = debugpb::GetRequest { db, cf: cf.to_owned(), key: key.to_vec() };
        Ok(self.call(self.client.clone().get(request))?.value)
    }

    /// A store answers reads of a region that it leads, and names the leader of any other region.
    fn leader(&self, region: &Region) -> Option<Peer> {
        let store_id = self.store_info().ok()?.0;
        let own = region.peers.iter().find(|peer| peer.store_id == store_id)?;
        let context = Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: Some(*own),
            ..Default::default()
        };
        let request =
            RawGetRequest { context: Some(context), key: region.start_key.clone(), ..Default::default() };
        let mut client = self.kv();
        let asked = async { tokio::time::timeout(grpc::CONNECT_TIMEOUT, client.raw_get(request)).await };
        match self.runtime.block_on(asked).ok()?.ok()?.into_inner().region_error {
            None => Some(*own),
            Some(error) => error.not_leader.and_then(|error| error.leader),
        }
    }

    fn region_info(&self, region_id: u64) -> Answer<RegionInfo> {
        let reply = self.call(self.client.clone().region_info(debugpb::RegionInfoRequest { region_id }))?;
        Ok(RegionInfo {
            raft_local_state: reply.raft_local_state,
            raft_apply_state: reply.raft_apply_state,
            region_local_state: reply.region_local_state,
        })
    }

    fn region_size(&self, region_id: u64, cfs: &[String]) -> Answer<Vec<(String, u64)>> {
        let request = debugpb::RegionSizeRequest { region_id, cfs: cfs.to_vec() };
        let reply = self.call(self.client.clone().region_size(request))?;
        Ok(reply.entries.into_iter().map(|entry| (entry.cf, entry.size)).collect())
    }

    fn approximate_region_size(&self, _: u64, _: &[String]) -> Answer<Vec<(String, u64)>> {
        Err(Error::other(
            "size --approximate reads the SSTs of a directory, and servers have no call for it: give --data-dir, or \
             leave --approximate out",
        )
        .into())
    }

    fn raft_log(&self, region_id: u64, log_index: u64) -> Answer<Entry> {
        let request = debugpb::RaftLogRequest { region_id, log_index };
        Ok(self.call(self.client.clone().raft_log(request))?.entry.unwrap_or_default())
    }

    fn scan_mvcc(&self, from: &[u8], to: &[u8], limit: u64, take: MvccTaker<'_>) -> Answer<()> {
        let request = debugpb::ScanMvccRequest { from_key: from.to_vec(), to_key: to.to_vec(), limit };
        let mut stream = self.call(self.client.clone().scan_mvcc(request))?;
        loop {
            match self.runtime.block_on(stream.message()) {
                Ok(Some(reply)) => take(&reply.key, &mut reply.info.unwrap_or_default())?,
                Ok(None) => return Ok(()),
                Err(e) => return Err(self.failure(&e)),
            }
        }
    }

    fn raw_scan(&self, from: &[u8], to: &[u8], limit: usize, cf: &str, take: RawTaker<'_>) -> Answer<()> {
        self.scan_raw(from, to, limit, cf, take)
    }

    fn region_properties(&self, region_id: u64) -> Answer<Vec<(String, String)>> {
        let request = debugpb::GetRegionPropertiesRequest { region_id };
        let reply = self.call(self.client.clone().get_region_properties(request))?;
        Ok(reply.props.into_iter().map(|p| (p.name, p.value)).collect())
    }

    fn range_properties(&self, start: &[u8], end: &[u8]) -> Answer<Vec<(String, String)>> {
        let request = debugpb::GetRangePropertiesRequest { start_key: start.to_vec(), end_key: end.to_vec() };
        let reply = self.call(self.client.clone().get_range_properties(request))?;
        Ok(reply.properties.into_iter().map(|p| (p.key, p.value)).collect())
    }

    fn store_info(&self) -> Answer<(u64, ApiVersion)> {
        let reply = self.call(self.client.clone().get_store_info(debugpb::GetStoreInfoRequest {}))?;
        Ok((reply.store_id, reply.api_version()))
    }

    fn cluster_id(&self) -> Answer<u64> {
        Ok(self.call(self.client.clone().get_cluster_info(debugpb::GetClusterInfoRequest {}))?.cluster_id)
    }

    fn bad_regions(&self) -> Answer<Vec<(u64, String)>> {
        let store_id = self.store_info()?.0;
        let entry = |region, index| match self.raft_log(region, index) {
            Ok(entry) => Ok(Some(entry)),
            Err(DebugError::Rpc(text)) if text.contains("NOT_FOUND") => Ok(None),
            Err(e) => Err(e),
        };
        let mut bad = Vec::new();
        for id in self.all_regions()? {
            let info = self.region_info(id)?;
            if let Err(why) = check_region(store_id, id, &info, &entry)? {
                bad.push((id, format!("{why:?}")));
            }
        }
        Ok(bad)
    }
}
