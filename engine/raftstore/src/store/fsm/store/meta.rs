//! Regions of the store and their key ranges. Mirrors `StoreMeta`.
use std::collections::{BTreeMap, HashMap, VecDeque};

use kvproto::{metapb::Region, raft_serverpb::RaftMessage};

use crate::store::util::overlaps;

/// Maximum number of votes kept for regions that a split is about to create.
const MAX_PENDING_VOTES: usize = 20;

/// Regions of the store and their key ranges.
#[derive(Default)]
pub struct StoreMeta {
    /// Maps the end of each region's range (in RocksDB's key format) to the region id.
    pub region_ranges: BTreeMap<Vec<u8>, u64>,
    /// Regions by id.
    pub regions: HashMap<u64, Region>,
    /// Regions whose snapshot is being applied to RocksDB.
    pending_snapshots: Vec<Region>,
    pending_votes: VecDeque<RaftMessage>,
}

impl StoreMeta {
    /// Adds or replaces a region and its range.
    pub fn set_region(&mut self, region: &Region) {
        self.region_ranges.insert(keys::enc_end_key(region), region.id);
        self.regions.insert(region.id, region.clone());
    }

    /// Removes the range if this region owns it.
    pub fn remove_range(&mut self, region: &Region) {
        let end = keys::enc_end_key(region);
        if self.region_ranges.get(&end) == Some(&region.id) {
            self.region_ranges.remove(&end);
        }
    }

    /// Returns another region of this store that shares a key with `region`.
    pub fn overlapping(&self, region: &Region) -> Option<Region> {
        let start = keys::enc_start_key(region);
        let mut following =
            self.region_ranges.range((std::ops::Bound::Excluded(start), std::ops::Bound::Unbounded));
        let other = following.find(|(_, id)| **id != region.id).and_then(|(_, id)| self.regions.get(id))?;
        overlaps(other, region).then(|| other.clone())
    }

    /// Returns the neighbour that the last split created next to `region`. TiKV: `find_sibling_region`.
    pub fn sibling(&self, region: &Region, right_derive: bool) -> Option<Region> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match right_derive {
            // The region that ends where `region` begins.
            true => Included(keys::enc_start_key(region)),
            false => Excluded(keys::enc_end_key(region)),
        };
        let (_, id) = self.region_ranges.range((from, Unbounded)).next()?;
        self.regions.get(id).filter(|sibling| sibling.id != region.id).cloned()
    }

    /// Returns another region whose snapshot is being applied and that shares a key with `region`.
    pub fn overlapping_pending(&self, region: &Region) -> Option<Region> {
        self.pending_snapshots.iter().find(|r| r.id != region.id && overlaps(r, region)).cloned()
    }

    /// Records that the region's snapshot is being applied.
    pub fn add_pending_snapshot(&mut self, region: Region) {
        self.remove_pending_snapshot(region.id);
        self.pending_snapshots.push(region);
    }

    /// Records that no snapshot of the region is being applied.
    pub fn remove_pending_snapshot(&mut self, region_id: u64) {
        self.pending_snapshots.retain(|r| r.id != region_id);
    }

    /// Keeps a vote request until its region exists.
    pub fn add_pending_vote(&mut self, msg: RaftMessage) {
        if self.pending_votes.len() == MAX_PENDING_VOTES {
            self.pending_votes.pop_front();
        }
        self.pending_votes.push_back(msg);
    }

    /// Takes the vote requests kept for the region.
    pub fn take_pending_votes(&mut self, region_id: u64) -> Vec<RaftMessage> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.pending_votes.drain(..).partition(|m| m.region_id == region_id);
        self.pending_votes = kept.into();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u64, start: &[u8], end: &[u8]) -> Region {
        Region { id, start_key: start.to_vec(), end_key: end.to_vec(), ..Default::default() }
    }

    #[test]
    fn only_a_shared_key_is_an_overlap() {
        let mut meta = StoreMeta::default();
        meta.set_region(&region(1, b"", b"b"));
        meta.set_region(&region(2, b"d", b""));
        assert!(meta.overlapping(&region(3, b"b", b"d")).is_none());
        assert_eq!(meta.overlapping(&region(3, b"a", b"c")).unwrap().id, 1);
        assert_eq!(meta.overlapping(&region(3, b"c", b"")).unwrap().id, 2);
        assert_eq!(meta.overlapping(&region(3, b"c", b"e")).unwrap().id, 2);
        assert!(meta.overlapping(&region(2, b"d", b"")).is_none(), "a region does not overlap itself");
        meta.remove_range(&region(2, b"d", b""));
        assert!(meta.overlapping(&region(3, b"c", b"")).is_none());
        meta.add_pending_snapshot(region(4, b"x", b"y"));
        assert_eq!(meta.overlapping_pending(&region(3, b"c", b"")).unwrap().id, 4);
    }

    #[test]
    fn a_sibling_is_the_region_created_by_the_last_split() {
        let mut meta = StoreMeta::default();
        let regions = [region(1, b"", b"b"), region(2, b"b", b"d"), region(3, b"d", b"")];
        regions.iter().for_each(|r| meta.set_region(r));
        let id = |r: usize, right| meta.sibling(&regions[r], right).map(|r| r.id);
        assert_eq!((id(1, true), id(1, false)), (Some(1), Some(3)));
        assert_eq!((id(0, true), id(0, false)), (None, Some(2)));
        assert_eq!(id(2, false), None);
    }

    #[test]
    fn votes_wait_for_their_region() {
        let mut meta = StoreMeta::default();
        for region_id in [7, 8, 7] {
            meta.add_pending_vote(RaftMessage { region_id, ..Default::default() });
        }
        assert_eq!(meta.take_pending_votes(7).len(), 2);
        assert_eq!(meta.take_pending_votes(7).len(), 0);
        assert_eq!(meta.take_pending_votes(8).len(), 1);
    }
}
