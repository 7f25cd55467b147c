//! Splits regions at keys (tikv/pd `splitter.RegionSplitter`).
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    cluster::{Answer, Cluster, Inner},
    operator::{Operator, Step},
    regions::RegionInfo,
};

const DESC: &str = "region-splitter";
/// Interval in which the regions are looked at (PD `watchInterval`).
const WATCH: Duration = Duration::from_millis(100);
/// Timeout of one attempt, in engine time as that of its operators (PD `timeout`).
const ATTEMPT: Duration = Duration::from_secs(60);
/// Pause after the first attempt; it doubles with each, up to [`ATTEMPT`] (PD `initialSleepDuration`).
const PAUSE: Duration = Duration::from_millis(100);

/// Splits regions at `keys`, in up to `retry_limit` more attempts. Returns the percentage of keys at which a region was
/// split off, and the ids of these regions. As in PD, a key at which a region began before does not count.
///
/// # Errors
/// The cluster is not bootstrapped.
pub async fn split_regions(
    cluster: &Cluster,
    keys: Vec<Vec<u8>>,
    retry_limit: u64,
) -> Answer<(u64, Vec<u64>)> {
    let (total, mut left, mut made) = (keys.len(), keys, BTreeSet::new());
    let mut pause = PAUSE;
    for attempt in 0..=retry_limit {
        let asked = cluster.ask_for_splits(&left)?;
        let found = wait_for_splits(cluster, asked).await?;
        left.retain(|key| !found.contains_key(key));
        made.extend(found.into_values());
        if left.is_empty() || attempt == retry_limit {
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(ATTEMPT);
    }
    let percentage = (left.len() * 100).checked_div(total).map_or(0, |share| 100 - share);
    Ok((percentage as u64, made.into_iter().collect()))
}

/// Waits until a region begins at each key; returns the regions that do after [`ATTEMPT`] at most.
async fn wait_for_splits(cluster: &Cluster, mut keys: BTreeSet<Vec<u8>>) -> Answer<BTreeMap<Vec<u8>, u64>> {
    let (end, mut found) = (cluster.now_ms() + ATTEMPT.as_millis() as u64, BTreeMap::new());
    while !keys.is_empty() && cluster.now_ms() < end {
        tokio::time::sleep(WATCH).await;
        found.extend(cluster.regions_that_begin_at(&keys)?);
        keys.retain(|key| !found.contains_key(key));
    }
    Ok(found)
}

impl Cluster {
    /// Gives each region with keys inside of it an operator; returns these keys.
    fn ask_for_splits(&self, keys: &[Vec<u8>]) -> Answer<BTreeSet<Vec<u8>>> {
        let mut inner = self.running()?;
        let mut groups: BTreeMap<u64, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for key in keys {
            let Some(region) = inner.regions.by_key(key) else { continue };
            if region.meta.start_key != *key && is_splittable(&inner, region) {
                groups.entry(region.meta.id).or_default().insert(key.clone());
            }
        }
        let mut asked = BTreeSet::new();
        for (id, keys) in groups {
            let step = Step::Split { keys: keys.iter().cloned().collect() };
            log::info!("pd: region {id}: {DESC} at {} keys", keys.len());
            inner.operators.insert(id, Operator::new(DESC, vec![step], self.now_ms()));
            self.send(&mut inner, id);
            asked.extend(keys);
        }
        Ok(asked)
    }

    fn regions_that_begin_at(&self, keys: &BTreeSet<Vec<u8>>) -> Answer<BTreeMap<Vec<u8>, u64>> {
        let inner = self.running()?;
        let region = |key: &Vec<u8>| {
            let region = inner.regions.by_key(key).filter(|region| region.meta.start_key == *key);
            region.map(|region| (key.clone(), region.meta.id))
        };
        Ok(keys.iter().filter_map(region).collect())
    }
}

/// PD `checkRegionValid`; a region with a running operator must wait for the next attempt.
fn is_splittable(inner: &Inner, region: &RegionInfo) -> bool {
    let is_replicated = region.meta.peers.len() == inner.max_peer_count as usize
        && region.meta.peers.iter().all(|peer| !peer.is_learner());
    let is_idle = !inner.operators.get(&region.meta.id).is_some_and(Operator::is_running);
    is_replicated && region.leader.is_some() && is_idle
}

#[cfg(test)]
mod tests;
