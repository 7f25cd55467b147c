//! Handles region heartbeats, sends operators, allocates ids for splits.
use std::collections::BTreeMap;

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
    replica_checker::{Action, Plan, View},
    stores::StoreInfo,
};

/// Maximum number of regions that one patrol schedules; the next patrol continues.
const PATROL: usize = 128;

impl Cluster {
    /// Handles a region heartbeat and sends the next step, if any, to the region's leader (PD
    /// `GrpcServer.RegionHeartbeat`).
    pub fn region_heartbeat(
        &self,
        request: pdpb::RegionHeartbeatRequest,
        stream: &ResponseSender,
    ) -> Answer<()> {
        let info = RegionInfo::from_heartbeat(request);
        let id = info.meta.id;
        let Some(store_id) = info.leader_store() else {
            return Err(Refusal::unknown(format!(
                "invalid request leader, region {id}: the request has none"
            )));
        };
        if id == 0 {
            return Err(Refusal::unknown("invalid request region: its id is 0"));
        }
        let mut inner = self.running()?;
        inner.stores.get(store_id)?;
        inner.streams.bind(store_id, stream);
        if inner.put_region(info)? {
            self.save(&inner)?;
            self.bury_empty_stores(&mut inner)?;
        }
        self.schedule(&mut inner, id)
    }

    /// Forgets a closed stream.
    pub fn unbind_stream(&self, stream: &ResponseSender) {
        self.lock().streams.unbind(stream);
    }

    /// Checks regions that may need a change without waiting for their next heartbeat, which may be a minute
    /// away: a store is new, was silent for too long, or is taken out (tikv/pd `checker` `patrolRegions`).
    pub(super) fn patrol(&self, inner: &mut Inner) -> Answer<()> {
        self.bury_empty_stores(inner)?;
        let plans: Vec<(u64, Plan)> = {
            let (counts, idle) =
                (inner.peer_counts(), |id: &u64| !inner.operators.get(id).is_some_and(Operator::is_running));
            let view = view(inner, &counts, self.now_ms());
            let regions = inner.regions.iter().filter(|region| idle(&region.meta.id));
            let found = regions.filter(|region| view.needs_check(region));
            found.filter_map(|region| Some((region.meta.id, view.check(region)?))).take(PATROL).collect()
        };
        plans.into_iter().try_for_each(|(id, plan)| {
            self.begin(inner, id, plan)?;
            self.send(inner, id);
            Ok(())
        })
    }

    /// Sends the region's leader the running operator, or a new one if the replicas need a change.
    fn schedule(&self, inner: &mut Inner, id: u64) -> Answer<()> {
        let Some(region) = inner.regions.get(id).cloned() else { return Ok(()) };
        let now_ms = self.now_ms();
        if let Some(operator) = inner.operators.get_mut(&id) {
            let target = operator.target_store().map(|store| inner.stores.0.get(&store));
            let is_lost = |store: Option<&StoreInfo>| {
                store.is_none_or(|store| {
                    store.is_tombstone() || store.down_ms(now_ms) >= inner.max_store_down_ms
                })
            };
            operator.update(&region, target.is_some_and(is_lost), now_ms);
        }
        if !inner.operators.get(&id).is_some_and(Operator::is_running) {
            let counts = inner.peer_counts();
            let Some(plan) = view(inner, &counts, now_ms).check(&region) else { return Ok(()) };
            self.begin(inner, id, plan)?;
        }
        self.send(inner, id);
        Ok(())
    }

    fn begin(&self, inner: &mut Inner, region_id: u64, plan: Plan) -> Answer<()> {
        let step = self.to_step(inner, plan.action)?;
        log::info!("pd: region {region_id}: {} ({step:?})", plan.desc);
        inner.operators.insert(region_id, Operator::new(plan.desc, vec![step], self.now_ms()));
        Ok(())
    }

    pub(super) fn to_step(&self, inner: &mut Inner, action: Action) -> Answer<Step> {
        let mut new_id = || self.alloc_ids(inner, 1);
        Ok(match action {
            Action::AddVoterOn(store) => Step::AddPeer { peer: Peer::voter(store, new_id()?) },
            Action::AddLearnerOn(store) => Step::AddPeer { peer: Peer::learner(store, new_id()?) },
            Action::Promote(peer) => Step::Promote { peer },
            Action::RemovePeerOn(store_id) => Step::RemovePeer { store_id },
            Action::TransferLeaderTo(to_store) => Step::TransferLeader { to_store },
        })
    }

    /// Sends the region's running operator to its leader, if the leader is connected.
    pub(super) fn send(&self, inner: &mut Inner, region_id: u64) {
        let Some(region) = inner.regions.get(region_id) else { return };
        let running = inner.operators.get(&region_id).filter(|operator| operator.is_running());
        let (Some(operator), Some(store)) = (running, region.leader_store()) else { return };
        if let Some(response) = operator.to_response(region) {
            inner.streams.send(store, response);
        }
    }

    /// Replaces the region's operator by `step`, and sends it at once if the leader is connected.
    pub fn add_operator(&self, region_id: u64, desc: &'static str, step: Step) -> Answer<()> {
        let mut inner = self.running()?;
        let region = inner.regions.get(region_id).cloned().ok_or_else(|| no_region(region_id))?;
        self.check_step(&inner, &region, &step)?;
        inner.operators.insert(region_id, Operator::new(desc, vec![step], self.now_ms()));
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
            Step::RemovePeer { .. }
            | Step::TransferLeader { .. }
            | Step::Promote { .. }
            | Step::Split { .. } => {}
        }
        Ok(())
    }

    /// Returns the region's operator, running or last ended.
    pub fn operator(&self, region_id: u64) -> Answer<Operator> {
        self.running()?.operators.get(&region_id).cloned().ok_or_else(|| {
            Refusal::new(ErrorType::RegionNotFound, format!("region {region_id} has had no operator"))
        })
    }

    /// Allocates ids for `count` new regions and their peers (PD `RaftCluster.HandleAskBatchSplit`).
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

    /// Checks the report of a split; the new regions themselves come with heartbeats (PD
    /// `RaftCluster.HandleBatchReportSplit`).
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

pub(super) fn view<'a>(inner: &'a Inner, peer_counts: &'a BTreeMap<u64, usize>, now_ms: u64) -> View<'a> {
    View {
        stores: &inner.stores.0,
        peer_counts,
        max_peer_count: inner.max_peer_count as usize,
        max_store_down_ms: inner.max_store_down_ms,
        now_ms,
    }
}

pub fn no_region(id: u64) -> Refusal {
    Refusal::new(ErrorType::RegionNotFound, format!("region {id} not found"))
}
