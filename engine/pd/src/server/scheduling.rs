//! Region heartbeats in, operators out; ids for splits.

use kvproto::{
    metapb::{Peer, Region},
    pdpb::{self, ErrorType},
};

use super::{
    cluster::{Answer, Cluster, Inner},
    error::Refusal,
    heartbeat_streams::ResponseSender,
    operator::{Operator, Step},
    regions::RegionInfo,
    replica_checker::{Plan, View},
};

/// Regions that one patrol gives an operator; the next one goes on.
const PATROL: usize = 128;

impl Cluster {
    /// Takes a region heartbeat in and sends its leader what to do, if anything (PD `GrpcServer.RegionHeartbeat`).
    pub fn region_heartbeat(
        &self,
        request: pdpb::RegionHeartbeatRequest,
        stream: &ResponseSender,
    ) -> Answer<()> {
        let info = RegionInfo::from_heartbeat(request);
        let id = info.meta.id;
        let Some(store_id) = info.leader_store() else {
            return Err(Refusal::unknown(format!("invalid request leader, region {id}: it has none")));
        };
        if id == 0 {
            return Err(Refusal::unknown("invalid request region: its id is 0"));
        }
        let mut inner = self.running()?;
        inner.stores.get(store_id)?;
        inner.streams.bind(store_id, stream);
        if inner.put_region(info)? {
            self.save(&inner)?;
        }
        self.schedule(&mut inner, id)
    }

    /// Forgets a stream that ended.
    pub fn unbind_stream(&self, stream: &ResponseSender) {
        self.lock().streams.unbind(stream);
    }

    /// Looks at regions that lack peers, without waiting for their next heartbeat, which is a minute away: a store that
    /// has come may take what they lack (tikv/pd `checker` `patrolRegions`).
    pub(super) fn patrol(&self, inner: &mut Inner) -> Answer<()> {
        let wanted = inner.max_peer_count as usize;
        let idle = |id: &u64| !inner.operators.get(id).is_some_and(Operator::is_running);
        let short = inner.regions.iter().filter(|region| region.meta.peers.len() < wanted);
        let ids: Vec<u64> = short.map(|region| region.meta.id).filter(idle).take(PATROL).collect();
        ids.into_iter().try_for_each(|id| self.schedule(inner, id))
    }

    /// Sends the region's leader the operator under way, or a new one if its replicas are not as they should be.
    fn schedule(&self, inner: &mut Inner, id: u64) -> Answer<()> {
        let Some(region) = inner.regions.get(id).cloned() else { return Ok(()) };
        let now_ms = self.now_ms();
        if let Some(operator) = inner.operators.get_mut(&id) {
            operator.update(&region, now_ms);
        }
        if !inner.operators.get(&id).is_some_and(Operator::is_running) {
            let Some(step) = self.next_step(inner, &region)? else { return Ok(()) };
            log::info!("pd: region {id}: {step:?}");
            inner.operators.insert(id, Operator::new(step, now_ms));
        }
        if let (Some(operator), Some(store)) = (inner.operators.get(&id), region.leader_store()) {
            let response = operator.to_response(&region);
            inner.streams.send(store, response);
        }
        Ok(())
    }

    fn next_step(&self, inner: &mut Inner, region: &RegionInfo) -> Answer<Option<Step>> {
        let view = View {
            stores: &inner.stores.0,
            peer_counts: &inner.peer_counts(),
            max_peer_count: inner.max_peer_count as usize,
            now_ms: self.now_ms(),
        };
        Ok(match view.check(region) {
            None => None,
            Some(Plan::AddPeerOn(store_id)) => {
                let id = self.alloc_ids(inner, 1)?;
                Some(Step::AddPeer { peer: Peer::voter(store_id, id) })
            }
            Some(Plan::RemovePeerOn(store_id)) => Some(Step::RemovePeer { store_id }),
            Some(Plan::TransferLeaderTo(to_store)) => Some(Step::TransferLeader { to_store }),
        })
    }

    /// Replaces the region's operator by `step` and sends it at once if its leader is connected.
    pub fn add_operator(&self, region_id: u64, step: Step) -> Answer<()> {
        let mut inner = self.running()?;
        let region = inner.regions.get(region_id).cloned().ok_or_else(|| no_region(region_id))?;
        self.check_step(&inner, &region, &step)?;
        inner.operators.insert(region_id, Operator::new(step, self.now_ms()));
        self.schedule(&mut inner, region_id)
    }

    fn check_step(&self, inner: &Inner, region: &RegionInfo, step: &Step) -> Answer<()> {
        let has_peer = |store_id: u64| region.meta.find_peer(store_id).is_some();
        let id = region.meta.id;
        match step {
            Step::AddPeer { peer } => {
                inner.stores.get(peer.store_id)?;
                if has_peer(peer.store_id) {
                    return Err(Refusal::unknown(format!(
                        "region {id} already has a peer on store {}",
                        peer.store_id
                    )));
                }
            }
            Step::RemovePeer { store_id: store } | Step::TransferLeader { to_store: store }
                if !has_peer(*store) =>
            {
                return Err(Refusal::unknown(format!("region {id} has no peer on store {store}")));
            }
            Step::RemovePeer { .. } | Step::TransferLeader { .. } => {}
        }
        Ok(())
    }

    /// The region's operator, under way or ended last.
    pub fn operator(&self, region_id: u64) -> Answer<Operator> {
        self.running()?.operators.get(&region_id).cloned().ok_or_else(|| {
            Refusal::new(ErrorType::RegionNotFound, format!("no operator of region {region_id} is known"))
        })
    }

    /// Ids for `count` new regions and their peers (PD `RaftCluster.HandleAskBatchSplit`).
    pub fn ask_split(&self, region: &Region, count: u32) -> Answer<Vec<pdpb::SplitId>> {
        let mut inner = self.running()?;
        let known = inner.regions.get(region.id).ok_or_else(|| no_region(region.id))?;
        if region.epoch().is_stale(&known.meta.epoch()) {
            let message = format!("invalid region {region:?}, not match {:?}", known.meta);
            return Err(Refusal::unknown(message));
        }
        let peers = region.peers.len() as u64;
        let mut ids = Vec::new();
        for _ in 0..count {
            let last = self.alloc_ids(&mut inner, 1 + peers)?;
            let new_region_id = last - peers;
            ids.push(pdpb::SplitId { new_region_id, new_peer_ids: (new_region_id + 1..=last).collect() });
        }
        Ok(ids)
    }

    /// Checks what a split reports; the new regions themselves come with heartbeats
    /// (PD `RaftCluster.HandleBatchReportSplit`).
    pub fn report_split(&self, regions: &[Region]) -> Answer<()> {
        drop(self.running()?);
        let adjacent =
            |pair: &[Region]| matches!(pair, [a, b] if !a.end_key.is_empty() && a.end_key == b.start_key);
        if regions.windows(2).all(adjacent) && !regions.is_empty() {
            return Ok(());
        }
        Err(Refusal::unknown(format!("invalid split: the regions are not adjacent: {regions:?}")))
    }
}

pub fn no_region(id: u64) -> Refusal {
    Refusal::new(ErrorType::RegionNotFound, format!("region {id} not found"))
}
