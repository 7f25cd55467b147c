//! What could not be read, and what that means: which keys, which regions.

use kvproto::{metapb::Region, raft_serverpb::RegionLocalState};
use prost::Message;

use super::{CF_RAFT, Offline, bounds};

/// So many regions are named.
const MOST_NAMED: usize = 20;

impl Offline {
    /// What could not be read so far, a line each.
    pub fn damages(&self) -> Vec<String> {
        let met = self.kv.damages();
        if met.is_empty() {
            return Vec::new();
        }
        // Looking for the regions may itself meet damage; that is told too.
        let regions = self.regions();
        let texts = met.iter().map(|(cf, e)| {
            let of = e.lost_keys().filter(|_| cf != CF_RAFT);
            let touched = of.map(|(from, to)| touched(&regions, from, to)).unwrap_or_default();
            format!("damage in CF {cf}: {e}{touched}")
        });
        texts.collect()
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
    let more = ids.len().saturating_sub(MOST_NAMED);
    let named: Vec<String> = ids.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; regions {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

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
