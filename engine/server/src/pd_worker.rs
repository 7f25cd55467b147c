//! The store's connection to PD: sends heartbeats and turns PD's replies into admin commands (TiKV
//! `raftstore/src/store/worker/pd.rs`).
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kvproto::{
    metapb::{Peer, Region},
    pdpb::{CheckPolicy, RegionHeartbeatRequest, RegionHeartbeatResponse, StoreStats, TimeInterval},
    raft_cmdpb::{
        AdminCmdType, AdminRequest, BatchSplitRequest, ChangePeerRequest, ChangePeerV2Request,
        RaftCmdRequest, RaftRequestHeader, SplitRequest, TransferLeaderRequest,
    },
};
use pd::client::{HeartbeatHandler, PdClient, RegionHeartbeats};
use raftstore::{
    RaftRouter,
    store::{Callback, CasualMessage, PdReporter, RegionHeartbeat, StoreHeartbeat, TxnExt, cmd_resp},
};
use storage::{ConcurrencyManager, causal_ts};
use tokio::runtime::Handle;
use tracepoints::{EngineClock, Req};
use txn_types::TimeStamp;

use crate::{runtime, service::HealthController, tso};

/// Pause between attempts to get a timestamp.
const SYNC_PAUSE: Duration = Duration::from_millis(100);

/// Reports to PD for one store.
#[derive(Clone)]
pub struct PdWorker {
    pd: Arc<PdClient>,
    heartbeats: RegionHeartbeats,
    runtime: Handle,
    data_dir: PathBuf,
    start_secs: u32,
    router: Arc<OnceLock<RaftRouter>>,
    concurrency_manager: ConcurrencyManager,
    causal_ts_provider: causal_ts::Provider,
    health: HealthController,
}

impl PdWorker {
    /// Requests run on `runtime`. PD's commands are executed after [`PdWorker::set_router`].
    pub fn new(
        pd: Arc<PdClient>,
        runtime: Handle,
        data_dir: PathBuf,
        concurrency_manager: ConcurrencyManager,
        causal_ts_provider: causal_ts::Provider,
        health: HealthController,
    ) -> Self {
        let router = Arc::<OnceLock<RaftRouter>>::default();
        let _guard = runtime.enter();
        let heartbeats = pd.region_heartbeats(Arc::new(PdCommands { router: router.clone() }));
        let start_secs = (EngineClock::wall_ms() / 1000) as u32;
        let runtime = runtime.clone();
        Self {
            pd,
            heartbeats,
            runtime,
            data_dir,
            start_secs,
            router,
            concurrency_manager,
            causal_ts_provider,
            health,
        }
    }

    pub fn set_router(&self, router: RaftRouter) {
        // Only the first call has an effect.
        let _ = self.router.set(router);
    }

    fn stats(&self, heartbeat: StoreHeartbeat) -> StoreStats {
        let total = fs4::total_space(&self.data_dir).unwrap_or(0);
        let free = fs4::available_space(&self.data_dir).unwrap_or(0);
        let capacity = if heartbeat.capacity == 0 { total } else { heartbeat.capacity.min(total) };
        StoreStats {
            store_id: heartbeat.store_id,
            capacity,
            available: free.min(capacity.saturating_sub(heartbeat.used_size)),
            region_count: heartbeat.region_count as u32,
            sending_snap_count: heartbeat.snap.sending as u32,
            receiving_snap_count: heartbeat.snap.receiving as u32,
            applying_snap_count: heartbeat.snap.applying as u32,
            start_time: self.start_secs,
            used_size: heartbeat.used_size,
            slow_score: self.health.get_raftstore_slow_score() as u64,
            ..StoreStats::default()
        }
    }
}

impl PdReporter for PdWorker {
    fn region_heartbeat(&self, heartbeat: RegionHeartbeat) {
        let end = EngineClock::wall_ms() / 1000;
        let since = heartbeat.last_heartbeat.elapsed().as_secs();
        let report = RegionHeartbeatRequest {
            region: Some(heartbeat.region),
            leader: Some(heartbeat.peer),
            term: heartbeat.term,
            down_peers: heartbeat.down_peers,
            pending_peers: heartbeat.pending_peers,
            bytes_written: heartbeat.written_bytes,
            keys_written: heartbeat.written_keys,
            approximate_size: heartbeat.approximate_size,
            approximate_keys: heartbeat.approximate_keys,
            interval: Some(TimeInterval { start_timestamp: end.saturating_sub(since), end_timestamp: end }),
            ..RegionHeartbeatRequest::default()
        };
        if !self.heartbeats.send(report) {
            log::debug!("a region heartbeat was dropped: the queue to PD is full");
        }
    }

    fn store_heartbeat(&self, heartbeat: StoreHeartbeat) {
        let worker = self.clone();
        runtime::spawn(&self.runtime, "store-heartbeat", async move {
            if let Err(e) = worker.pd.store_heartbeat(worker.stats(heartbeat)).await {
                log::warn!("cannot send the store heartbeat to PD: {e}");
            }
        });
    }

    fn ask_batch_split(
        &self,
        region: Region,
        split_keys: Vec<Vec<u8>>,
        peer: Peer,
        right_derive: bool,
        callback: Callback,
    ) {
        let worker = self.clone();
        runtime::spawn(&self.runtime, "ask-batch-split", async move {
            let ids = worker.pd.ask_batch_split(region.clone(), split_keys.len() as u32).await;
            let (ids, router) = match (ids, worker.router.get()) {
                (Ok(ids), Some(router)) => (ids, router),
                (ids, _) => {
                    let why = ids.err().map_or_else(|| "the store is starting".to_owned(), |e| e.to_string());
                    let error = raftstore::Error::other(format!("cannot get ids for a split from PD: {why}"));
                    return callback.invoke_with_response(cmd_resp::new_error(error));
                }
            };
            let requests = split_keys.into_iter().zip(ids).map(|(split_key, id)| SplitRequest {
                split_key,
                new_region_id: id.new_region_id,
                new_peer_ids: id.new_peer_ids,
                ..SplitRequest::default()
            });
            let splits =
                BatchSplitRequest { requests: requests.collect(), right_derive, ..Default::default() };
            let admin = AdminRequest { splits: Some(splits), ..admin(AdminCmdType::BatchSplit) };
            let command = admin_command(region.id, region.region_epoch, peer, admin);
            // The callback receives a failure.
            let _ = router.send_command(command, callback, Req::NONE);
        });
    }

    fn report_batch_split(&self, regions: Vec<Region>) {
        let pd = self.pd.clone();
        runtime::spawn(&self.runtime, "report-batch-split", async move {
            if let Err(e) = pd.report_batch_split(regions).await {
                log::warn!("cannot report a split to PD: {e}; the next heartbeats report it");
            }
        });
    }

    fn validate_peer(&self, region: Region, peer: Peer) {
        let worker = self.clone();
        runtime::spawn(&self.runtime, "validate-peer", async move {
            // PD may not have heard of a region that was just split off.
            let Ok(known) = worker.pd.get_region_by_id(region.id).await else { return };
            let theirs = known.region.epoch();
            if theirs.is_stale(&region.epoch()) || known.region.find_peer_by_id(peer.id).is_some() {
                return;
            }
            log::info!("region {}: peer {} is not a member according to PD; removing it", region.id, peer.id);
            if let Some(router) = worker.router.get() {
                // The peer may be gone already.
                let _ = router.destroy_peer(region.id, peer.id);
            }
        });
    }

    fn update_max_timestamp(&self, region_id: u64, initial_status: u64, txn_ext: Arc<TxnExt>) {
        let worker = self.clone();
        runtime::spawn(&self.runtime, "update-max-timestamp", async move {
            worker.sync_max_ts(region_id, initial_status, &txn_ext).await;
        });
    }
}

impl PdWorker {
    /// TiKV: `handle_update_max_timestamp`. Retries until PD answers, or a new term
    /// or version makes the update pointless.
    async fn sync_max_ts(&self, region_id: u64, initial_status: u64, txn_ext: &TxnExt) {
        while txn_ext.is_waiting_with(initial_status) {
            match self.newest_ts().await {
                Ok(ts) => {
                    self.concurrency_manager.raise_max_ts(ts);
                    if txn_ext.set_max_ts_synced(initial_status) {
                        log::debug!("region {region_id}: max_ts is synchronised with PD: {ts}");
                    }
                }
                Err(e) => {
                    log::warn!("region {region_id}: cannot synchronise max_ts with PD yet: {e}");
                    tokio::time::sleep(SYNC_PAUSE).await;
                }
            }
        }
    }

    /// Gets a timestamp from PD. On API V2 no timestamp taken before may be used by a new leader.
    async fn newest_ts(&self) -> Result<TimeStamp, String> {
        match &self.causal_ts_provider {
            Some(provider) => provider.async_flush().await.map_err(|e| e.to_string()),
            None => tso::get(&self.pd).await.map_err(|e| e.to_string()),
        }
    }
}

fn admin(kind: AdminCmdType) -> AdminRequest {
    AdminRequest { cmd_type: kind as i32, ..AdminRequest::default() }
}

fn admin_command(
    region_id: u64,
    region_epoch: Option<kvproto::metapb::RegionEpoch>,
    peer: Peer,
    admin: AdminRequest,
) -> RaftCmdRequest {
    let header = RaftRequestHeader { region_id, region_epoch, peer: Some(peer), ..Default::default() };
    RaftCmdRequest { header: Some(header), admin_request: Some(admin), ..Default::default() }
}

/// Executes the commands in PD's replies to region heartbeats.
struct PdCommands {
    router: Arc<OnceLock<RaftRouter>>,
}

impl PdCommands {
    /// Splits a region at the keys that PD has chosen.
    fn split(&self, router: &RaftRouter, response: &RegionHeartbeatResponse, split_keys: Vec<Vec<u8>>) {
        let region = response.region_id;
        log::info!("region {region}: PD asks to split it at {} keys", split_keys.len());
        let refused = move |answer: raftstore::store::WriteResponse| {
            if let Some(e) = answer.error() {
                log::warn!("region {region}: cannot split it as PD asks: {}", e.message);
            }
        };
        let message = CasualMessage::SplitRegion {
            region_epoch: response.region_epoch.unwrap_or_default(),
            peer: None,
            split_keys,
            callback: Callback::write(Box::new(refused)),
        };
        if let Err(e) = router.send_casual_msg(region, message) {
            log::warn!("region {region}: cannot split it as PD asks: {e}");
        }
    }
}

impl HeartbeatHandler for PdCommands {
    fn on_response(&self, response: RegionHeartbeatResponse) {
        let region = response.region_id;
        let Some(router) = self.router.get() else { return };
        if let Some(split) = response.split_region.as_ref().filter(|s| s.policy() == CheckPolicy::Usekey) {
            return self.split(router, &response, split.keys.clone());
        }
        let Some((admin, what)) = to_admin_command(&response) else { return };
        log::info!("region {region}: PD asks to {what}");
        let peer = response.target_peer.unwrap_or_default();
        let command = admin_command(region, response.region_epoch, peer, admin);
        let refused = move |answer: raftstore::store::WriteResponse| {
            if let Some(e) = answer.error() {
                log::warn!("region {region}: cannot {what} as PD asks: {}", e.message);
            }
        };
        // The callback receives a failure.
        let _ = router.send_command(command, Callback::write(Box::new(refused)), Req::NONE);
    }
}

fn to_admin_command(response: &RegionHeartbeatResponse) -> Option<(AdminRequest, &'static str)> {
    let change =
        |c: &kvproto::pdpb::ChangePeer| ChangePeerRequest { change_type: c.change_type, peer: c.peer };
    if let Some(c) = &response.change_peer {
        let admin = AdminRequest { change_peer: Some(change(c)), ..admin(AdminCmdType::ChangePeer) };
        return Some((admin, "change a peer"));
    }
    if let Some(c) = &response.change_peer_v2 {
        let changes = c.changes.iter().map(change).collect();
        let change_peer_v2 = Some(ChangePeerV2Request { changes });
        return Some((AdminRequest { change_peer_v2, ..admin(AdminCmdType::ChangePeerV2) }, "change peers"));
    }
    if let Some(t) = &response.transfer_leader {
        let transfer_leader = Some(TransferLeaderRequest { peer: t.peer, peers: t.peers.clone() });
        return Some((
            AdminRequest { transfer_leader, ..admin(AdminCmdType::TransferLeader) },
            "transfer its leader",
        ));
    }
    if response.merge.is_some() || response.split_region.is_some() || response.switch_witnesses.is_some() {
        log::warn!(
            "region {}: PD asks for a merge, a split without keys or a witness, which this store does not support",
            response.region_id
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use kvproto::pdpb;

    use super::*;

    #[test]
    fn pd_commands_become_admin_requests() {
        let peer = Some(Peer::voter(2, 5));
        let transfer = RegionHeartbeatResponse {
            transfer_leader: Some(pdpb::TransferLeader { peer, peers: vec![] }),
            ..Default::default()
        };
        let (request, _) = to_admin_command(&transfer).unwrap();
        assert_eq!(request.cmd_type, AdminCmdType::TransferLeader as i32);
        assert_eq!(request.transfer_leader.and_then(|t| t.peer), peer);
        let add = pdpb::ChangePeer { peer, change_type: 0 };
        let change = RegionHeartbeatResponse { change_peer: Some(add), ..Default::default() };
        assert_eq!(to_admin_command(&change).unwrap().0.change_peer.and_then(|c| c.peer), peer);
        assert!(to_admin_command(&RegionHeartbeatResponse::default()).is_none());
    }
}
