//! Spreads the regions of a group over the stores (tikv/pd `scatter.RegionScatterer`).
use std::{collections::BTreeMap, time::Duration};

use kvproto::{
    metapb::Peer,
    pdpb::{self, ErrorType},
};

use super::{
    cluster::{Answer, Cluster, Inner},
    error::Refusal,
    operator::{Operator, Step},
    regions::RegionInfo,
    scatter_groups::Scattered,
    scheduling::{no_region, view},
};

const DESC: &str = "scatter-region";
/// Maximum number of further attempts (PD `maxRetryLimit`).
const MAX_RETRIES: u64 = 30;
/// Pause after the first attempt; it doubles with each, up to [`MAX_PAUSE`] (PD `initialSleepDuration`).
const PAUSE: Duration = Duration::from_millis(100);
/// PD `maxSleepDuration`.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Scatters regions as [`Cluster::scatter`], in up to `retry_limit` more attempts for those that failed. A region that PD
/// does not know is not tried again.
///
/// # Errors
/// As [`Cluster::scatter`].
pub async fn scatter_regions(
    cluster: &Cluster,
    request: &pdpb::ScatterRegionRequest,
) -> Answer<(u64, Vec<u64>)> {
    let (mut share, mut failed) = cluster.scatter(request)?;
    let mut pause = PAUSE;
    for _ in 0..request.retry_limit.min(MAX_RETRIES) {
        let known = |id: &u64| matches!(cluster.region(*id), Ok(Some(_)));
        let (again, unknown): (Vec<u64>, Vec<u64>) = failed.iter().partition(|id| known(id));
        if again.is_empty() {
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
        let request = pdpb::ScatterRegionRequest { regions_id: again, ..request.clone() };
        failed = cluster.scatter(&request)?.1;
        failed.extend(unknown);
    }
    if let total @ 1.. = request.regions_id.len() {
        share = finished(failed.len(), total);
    }
    Ok((share, failed))
}

/// The percentage of regions that were scattered. As in PD, that of the failed ones is rounded down.
fn finished(failed: usize, total: usize) -> u64 {
    (100 - failed * 100 / total) as u64
}

impl Cluster {
    /// Gives each region an operator that moves a peer or the leader to the store where its group has the
    /// fewest. Returns the percentage of regions that were scattered, and the ids of the others.
    ///
    /// # Errors
    /// For a request with a single region: the reason why it cannot be scattered.
    pub fn scatter(&self, request: &pdpb::ScatterRegionRequest) -> Answer<(u64, Vec<u64>)> {
        let mut inner = self.running()?;
        if request.regions_id.is_empty() {
            #[allow(deprecated)] // older clients send one id
            let id = request.region_id;
            return self.scatter_one(&mut inner, id, &request.group).map(|()| (100, Vec::new()));
        }
        let mut failed = Vec::new();
        for &id in &request.regions_id {
            if let Err(refusal) = self.scatter_one(&mut inner, id, &request.group) {
                log::info!("pd: cannot scatter region {id}: {refusal}");
                failed.push(id);
            }
        }
        Ok((finished(failed.len(), request.regions_id.len()), failed))
    }

    fn scatter_one(&self, inner: &mut Inner, id: u64, group: &str) -> Answer<()> {
        let region = inner.regions.get(id).cloned().ok_or_else(|| no_region(id))?;
        check_scatterable(&region, inner)?;
        if let Some(running) = inner.operators.get(&id).filter(|operator| operator.is_running()) {
            // A repeated request of the group finds its own operator: the region is being scattered.
            if running.desc == DESC && running.group == group {
                return Ok(());
            }
            let message = "operator canceled because cannot add an operator to the execute queue";
            return Err(Refusal::new(ErrorType::Unknown, message));
        }
        let mut counts = inner.scattered.get(group).cloned().unwrap_or_default();
        let steps = self.scatter_steps(inner, &region, &mut counts)?;
        inner.scattered.insert(group.to_owned(), counts);
        if !steps.is_empty() {
            log::info!("pd: region {id}: {DESC} ({steps:?})");
            inner.operators.insert(id, Operator::new(DESC, steps, self.now_ms()).with_group(group));
            self.send(inner, id);
        }
        Ok(())
    }

    /// Moves one peer if another store has fewer of the group, otherwise the leader
    /// if another member's store has fewer.
    fn scatter_steps(
        &self,
        inner: &mut Inner,
        region: &RegionInfo,
        counts: &mut BTreeMap<u64, Scattered>,
    ) -> Answer<Vec<Step>> {
        let tally = |counts: &BTreeMap<u64, Scattered>, id: u64| counts.get(&id).copied().unwrap_or_default();
        let leader = region.leader_store().unwrap_or_default();
        let mut members: Vec<u64> = region.meta.peers.iter().map(|peer| peer.store_id).collect();
        let peer_counts = inner.peer_counts();
        let now_ms = self.now_ms();
        let fullest = members
            .iter()
            .copied()
            .filter(|id| *id != leader)
            .max_by_key(|id| (tally(counts, *id).peers, *id));
        let serving =
            inner.stores.0.values().filter(|store| store.is_serving(now_ms)).map(|store| store.meta.id);
        let free = serving.filter(|id| !members.contains(id));
        let emptiest = free.min_by_key(|id| (tally(counts, *id).peers, peer_counts.get(id).copied(), *id));
        let moved =
            fullest.zip(emptiest).filter(|(from, to)| tally(counts, *to).peers < tally(counts, *from).peers);
        let steps = match moved {
            Some((from, to)) => {
                members.retain(|id| *id != from);
                members.push(to);
                let action = view(inner, &peer_counts, now_ms).addition(region, to);
                move_steps(self.to_step(inner, action)?, from)
            }
            None => {
                let able = members
                    .iter()
                    .copied()
                    .filter(|id| inner.stores.0.get(id).is_some_and(|store| store.is_serving(now_ms)));
                let to = able.min_by_key(|id| (tally(counts, *id).leaders, *id != leader, *id));
                let to = to.filter(|to| tally(counts, *to).leaders < tally(counts, leader).leaders);
                to.map(|to_store| Step::TransferLeader { to_store }).into_iter().collect()
            }
        };
        let leads = match steps.first() {
            Some(Step::TransferLeader { to_store }) => *to_store,
            _ => leader,
        };
        for id in members {
            counts.entry(id).or_default().peers += 1;
        }
        counts.entry(leads).or_default().leaders += 1;
        Ok(steps)
    }
}

/// Extends the step that adds a peer to the steps of the whole move.
fn move_steps(add: Step, from: u64) -> Vec<Step> {
    let learner = match &add {
        Step::AddPeer { peer } if peer.is_learner() => Some(*peer),
        _ => None,
    };
    let promote = learner.map(|peer: Peer| Step::Promote { peer });
    std::iter::once(add).chain(promote).chain([Step::RemovePeer { store_id: from }]).collect()
}

fn check_scatterable(region: &RegionInfo, inner: &Inner) -> Answer<()> {
    let id = region.meta.id;
    if region.leader.is_none() {
        return Err(Refusal::unknown(format!("region {id} has no leader")));
    }
    let whole = region.meta.peers.len() == inner.max_peer_count as usize;
    if !whole || !region.down_peers.is_empty() || !region.pending_peers.is_empty() {
        return Err(Refusal::unknown(format!("region {id} is not fully replicated")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
