//! What could not be read, and what that means: which keys, which regions.

use kvproto::{metapb::Region, raft_serverpb::RegionLocalState};
use prost::Message;

use super::{CF_RAFT, Offline, bounds};
use crate::lsm::Error;

/// So many regions are named.
const MOST_NAMED: usize = 20;

impl Offline {
    /// What could not be read so far, a line each.
    pub(super) fn all_damages(&self) -> Vec<String> {
        let met = self.kv.damages();
        // Looking for the regions may itself meet damage; that is told too.
        let regions = if met.is_empty() { Vec::new() } else { self.regions() };
        let mut all = self.damages.clone();
        all.extend(texts(&self.kv.damages(), &regions));
        all.extend(self.raft.damages());
        all.extend(self.missing_log());
        all
    }

    /// What of SSTs and blob files could not be read so far.
    pub fn unread(&self) -> Vec<String> {
        let met = self.kv.unread();
        let regions = if met.is_empty() { Vec::new() } else { self.regions() };
        texts(&met, &regions)
    }

    /// Without any Raft group there is no Raft log, though regions of the store say that there was one.
    fn missing_log(&self) -> Option<String> {
        if self.has_tablets || !self.raft.is_empty() {
            return None;
        }
        let ids: Vec<u64> = self.regions().iter().map(|region| region.id).collect();
        (!ids.is_empty()).then(|| {
            format!(
                "{}: no Raft group is in it, though column family raft has regions {}: the Raft log and the Raft states \
                 are lost, or this raft-engine is another store's",
                self.raft.dir().display(),
                named(&ids)
            )
        })
    }

    fn regions(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        let read = self.each_region(|_, value| {
            regions.extend(RegionLocalState::decode(value).ok().and_then(|state| state.region));
            Ok(())
        });
        // Without the regions the damage is told all the same.
        let _ = read;
        regions
    }
}

/// What cannot be read of a database, with the regions that it means: column family, empty where it is not known, and
/// error.
pub(crate) fn texts(met: &[(String, Error)], regions: &[Region]) -> Vec<String> {
    let texts = met.iter().map(|(cf, e)| {
        let means = e.lost_keys().map(|(from, to)| match cf.as_str() {
            CF_RAFT => states_between(from, to),
            _ => touched(regions, from, to),
        });
        let of = if cf.is_empty() { String::new() } else { format!(" in CF {cf}") };
        format!("damage{of}: {e}{}", means.unwrap_or_default())
    });
    texts.collect()
}

/// The regions whose states lie between two keys of CF raft.
fn states_between(from: &[u8], to: &[u8]) -> String {
    let id = |key: &[u8]| match key {
        [keys::LOCAL_PREFIX, 2 | 3, rest @ ..] => rest.first_chunk::<8>().map(|id| u64::from_be_bytes(*id)),
        _ => None,
    };
    match (id(from), id(to)) {
        (Some(from), Some(to)) if from == to => format!("; states of region {from}"),
        (Some(from), Some(to)) => format!("; states of regions {from} to {to}"),
        _ => "; states of regions".to_owned(),
    }
}

/// The regions that have keys between `from` and `to`.
fn touched(regions: &[Region], from: &[u8], to: &[u8]) -> String {
    let mut ids: Vec<u64> = regions
        .iter()
        .filter(|region| {
            let (start, end) = bounds(Some(region));
            (to.is_empty() || start.as_slice() <= to) && end.as_slice() > from
        })
        .map(|region| region.id)
        .collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return "; in no region of this store".to_owned();
    }
    format!("; regions {}", named(&ids))
}

fn named(ids: &[u64]) -> String {
    let more = ids.len().saturating_sub(MOST_NAMED);
    let first: Vec<String> = ids.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_keys_of_cf_raft_are_states() {
        let key = keys::region_state_key;
        assert_eq!(states_between(&key(2), &key(8)), "; states of regions 2 to 8");
        assert_eq!(states_between(&key(2), &keys::apply_state_key(2)), "; states of region 2");
        assert_eq!(states_between(b"", &key(8)), "; states of regions");
    }

    #[test]
    fn a_span_touches_the_regions_that_it_reaches_into() {
        let region = |id, start: &[u8], end: &[u8]| Region {
            id,
            start_key: start.to_vec(),
            end_key: end.to_vec(),
            ..Default::default()
        };
        let regions = [region(2, b"", b"m"), region(4, b"m", b"")];
        assert_eq!(touched(&regions, b"za", b"zb"), "; regions 2");
        assert_eq!(touched(&regions, b"za", b"zm"), "; regions 2, 4");
        assert_eq!(touched(&regions, b"", b""), "; regions 2, 4");
        assert_eq!(touched(&regions, b"{", b"}"), "; in no region of this store");
    }
}
