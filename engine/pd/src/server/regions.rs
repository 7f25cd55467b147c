//! The regions as last reported by their leaders, by id and by start key (tikv/pd `core.RegionsInfo`).
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use kvproto::{
    metapb::{Peer, Region},
    pdpb,
};

const MIB: u64 = 1 << 20;
/// Size in MiB assumed for a region without a reported size (PD `EmptyRegionApproximateSize`).
const EMPTY_REGION_SIZE: u64 = 1;
/// A larger flow in one heartbeat is an error of the store (PD `ImpossibleFlowSize`, 1 PiB).
const IMPOSSIBLE_FLOW: u64 = 1 << 50;

/// The traffic of a region since its previous heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    pub bytes: u64,
    pub keys: u64,
}

impl Flow {
    fn new(bytes: u64, keys: u64) -> Flow {
        if bytes >= IMPOSSIBLE_FLOW || keys >= IMPOSSIBLE_FLOW {
            Flow::default()
        } else {
            Flow { bytes, keys }
        }
    }
}

/// One region and its leader's last report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionInfo {
    pub meta: Region,
    pub leader: Option<Peer>,
    /// The leader's Raft term; 0 if it was not reported.
    pub term: u64,
    pub down_peers: Vec<pdpb::PeerStats>,
    pub pending_peers: Vec<Peer>,
    pub written: Flow,
    pub read: Flow,
    /// In MiB; an empty region counts as 1.
    pub approximate_size: u64,
    pub approximate_keys: u64,
    /// In MiB; reported by TiDB's next-generation stores.
    pub approximate_kv_size: u64,
    pub approximate_columnar_kv_size: u64,
    /// In percent of a core.
    pub cpu_usage: u64,
}

impl RegionInfo {
    /// PD `core.RegionFromHeartbeat`.
    #[allow(deprecated)] // PD's HTTP shows cpu_usage
    pub fn from_heartbeat(mut request: pdpb::RegionHeartbeatRequest) -> RegionInfo {
        let size = match request.approximate_size {
            0 => 0,
            bytes => (bytes / MIB).max(EMPTY_REGION_SIZE),
        };
        request.down_peers.sort_by_key(|stats| stats.peer.map_or(0, |peer| peer.id));
        request.pending_peers.sort_by_key(|peer| peer.id);
        RegionInfo {
            meta: request.region.unwrap_or_default(),
            leader: request.leader,
            term: request.term,
            down_peers: request.down_peers,
            pending_peers: request.pending_peers,
            written: Flow::new(request.bytes_written, request.keys_written),
            read: Flow::new(request.bytes_read, request.keys_read),
            approximate_size: size,
            approximate_keys: request.approximate_keys,
            approximate_kv_size: request.approximate_kv_size / MIB,
            approximate_columnar_kv_size: request.approximate_columnar_kv_size / MIB,
            cpu_usage: request.cpu_usage,
        }
    }

    /// Copies sizes that the leader did not report from the previous report (PD `RegionInfo.Inherit`).
    fn inherit(&mut self, origin: Option<&RegionInfo>) {
        if self.approximate_size == 0 {
            self.approximate_size = origin.map_or(EMPTY_REGION_SIZE, |origin| origin.approximate_size);
            self.approximate_keys = origin.map_or(self.approximate_keys, |origin| origin.approximate_keys);
        }
    }

    /// Returns whether the peer needs no snapshot.
    pub fn has_caught_up(&self, peer: &Peer) -> bool {
        self.pending_peers.iter().all(|pending| pending.id != peer.id)
    }

    pub fn to_pb(&self) -> pdpb::Region {
        pdpb::Region {
            region: Some(self.meta.clone()),
            leader: self.leader,
            down_peers: self.down_peers.clone(),
            pending_peers: self.pending_peers.clone(),
            buckets: None,
        }
    }

    /// Returns the leader's store, if known.
    pub fn leader_store(&self) -> Option<u64> {
        self.leader.map(|leader| leader.store_id)
    }
}

/// A heartbeat older than PD's state (tikv/pd `errs.ErrRegionIsStale`).
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("region is stale: region {region:?} origin {origin:?}")]
pub struct Stale {
    pub region: Box<Region>,
    pub origin: Box<Region>,
}

#[derive(Default)]
pub struct RegionTable {
    by_start: BTreeMap<Vec<u8>, u64>,
    by_id: HashMap<u64, RegionInfo>,
    /// Regions before a split that not all new regions have reported yet. They answer for keys that would
    /// have no region: a client that asks their leader gets the new epoch and retries.
    before_split: Vec<RegionInfo>,
}

impl RegionTable {
    /// Adds a report. Returns `true` if a change must survive a restart. Older regions lose the keys that the
    /// region newly covers, and vanish. Returns [`Stale`] if the report is outdated (PD `PreCheckPutRegion`).
    pub fn put(&mut self, mut info: RegionInfo) -> Result<bool, Stale> {
        self.check_fresh(&info)?;
        info.inherit(self.by_id.get(&info.meta.id));
        let changed = match self.by_id.get(&info.meta.id) {
            // The leader is only a hint, which the first heartbeat after a restart repeats (PD does not save
            // it at all).
            Some(origin) => origin.meta != info.meta,
            None => true,
        };
        for old in self.before_split.iter_mut().filter(|old| old.meta.id == info.meta.id) {
            old.leader = info.leader;
        }
        if changed {
            for id in self.overlapping(&info.meta.start_key, &info.meta.end_key) {
                self.replace(id);
            }
            self.replace(info.meta.id);
            self.by_start.insert(info.meta.start_key.clone(), info.meta.id);
        }
        self.by_id.insert(info.meta.id, info);
        let mut before_split = std::mem::take(&mut self.before_split);
        before_split.retain(|old| !self.covers(&old.meta));
        self.before_split = before_split;
        Ok(changed)
    }

    /// Removes a region; it still answers for the rest of its range until that has regions of its own.
    fn replace(&mut self, id: u64) {
        self.before_split.extend(self.by_id.get(&id).cloned());
        self.remove(id);
    }

    /// Returns whether every key of `range` has a region.
    fn covers(&self, range: &Region) -> bool {
        let mut next = range.start_key.as_slice();
        for info in self.scan(&range.start_key, &range.end_key, usize::MAX) {
            if info.meta.start_key.as_slice() > next {
                return false;
            }
            next = &info.meta.end_key;
            if next.is_empty() || (!range.end_key.is_empty() && next >= range.end_key.as_slice()) {
                return true;
            }
        }
        false
    }

    fn check_fresh(&self, info: &RegionInfo) -> Result<(), Stale> {
        let epoch = info.meta.epoch();
        let stale = |origin: &RegionInfo| {
            Err(Stale { region: Box::new(info.meta.clone()), origin: Box::new(origin.meta.clone()) })
        };
        if let Some(origin) = self.by_id.get(&info.meta.id) {
            let older_term = info.term > 0 && info.term < origin.term;
            if older_term || epoch.is_stale(&origin.meta.epoch()) {
                return stale(origin);
            }
        }
        for id in self.overlapping(&info.meta.start_key, &info.meta.end_key) {
            match self.by_id.get(&id) {
                Some(other) if id != info.meta.id && epoch.version < other.meta.epoch().version => {
                    return stale(other);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: u64) {
        if let Some(old) = self.by_id.remove(&id) {
            self.by_start.remove(&old.meta.start_key);
        }
    }

    /// Returns the ids of the regions that overlap `[start, end)`; an empty end is unbounded.
    fn overlapping(&self, start: &[u8], end: &[u8]) -> Vec<u64> {
        self.scan(start, end, usize::MAX).iter().map(|info| info.meta.id).collect()
    }

    pub fn get(&self, id: u64) -> Option<&RegionInfo> {
        self.by_id.get(&id)
    }

    /// Returns the region that contains `key`, or contained it before a split that is not fully reported.
    pub fn by_key(&self, key: &[u8]) -> Option<&RegionInfo> {
        let before = || self.before_split.iter().rev().find(|old| old.meta.contains(key));
        self.current(key).or_else(before)
    }

    /// Returns the region that contains `key` according to the reports.
    fn current(&self, key: &[u8]) -> Option<&RegionInfo> {
        self.at_or_before(Bound::Included(key)).filter(|info| info.meta.contains(key))
    }

    /// Returns the region that ends where the region of `key` begins.
    pub fn previous(&self, key: &[u8]) -> Option<&RegionInfo> {
        let start = &self.current(key)?.meta.start_key;
        self.at_or_before(Bound::Excluded(start)).filter(|info| info.meta.end_key == *start)
    }

    fn at_or_before(&self, bound: Bound<&[u8]>) -> Option<&RegionInfo> {
        let (_, id) = self.by_start.range::<[u8], _>((Bound::Unbounded, bound)).next_back()?;
        self.by_id.get(id)
    }

    /// Returns up to `limit` regions that overlap `[start, end)`, in key order; an empty end is unbounded.
    pub fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Vec<&RegionInfo> {
        let first = self.current(start).map_or(start, |info| info.meta.start_key.as_slice());
        self.by_start
            .range::<[u8], _>((Bound::Included(first), Bound::Unbounded))
            .take_while(|(from, _)| end.is_empty() || from.as_slice() < end)
            .take(limit)
            .filter_map(|(_, id)| self.by_id.get(id))
            .collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &RegionInfo> {
        self.by_start.values().filter_map(|id| self.by_id.get(id))
    }
}

#[cfg(test)]
mod tests {
    use kvproto::metapb::RegionEpoch;

    use super::*;

    fn region(id: u64, start: &str, end: &str, version: u64) -> RegionInfo {
        let meta = Region {
            id,
            start_key: start.into(),
            end_key: end.into(),
            region_epoch: Some(RegionEpoch { conf_ver: 1, version }),
            peers: vec![Peer::voter(1, id + 100)],
            ..Default::default()
        };
        RegionInfo { leader: meta.peers.first().copied(), meta, term: 5, ..Default::default() }
    }

    fn ids<'a>(regions: impl IntoIterator<Item = &'a RegionInfo>) -> Vec<u64> {
        regions.into_iter().map(|info| info.meta.id).collect()
    }

    fn split_table() -> RegionTable {
        let mut table = RegionTable::default();
        for info in [region(1, "", "b", 2), region(2, "b", "d", 2), region(3, "d", "", 2)] {
            assert_eq!(table.put(info), Ok(true));
        }
        table
    }

    #[test]
    fn regions_are_found_by_key() {
        let table = split_table();
        for (key, id) in [("", 1), ("a", 1), ("b", 2), ("czz", 2), ("d", 3), ("zz", 3)] {
            assert_eq!(table.by_key(key.as_bytes()).map(|info| info.meta.id), Some(id), "{key}");
        }
        assert_eq!(table.previous(b"c").map(|info| info.meta.id), Some(1));
        assert_eq!(table.previous(b"a"), None);
        assert_eq!(ids(table.scan(b"c", b"", 10)), [2, 3]);
        assert_eq!(ids(table.scan(b"", b"d", 10)), [1, 2]);
        assert_eq!(ids(table.scan(b"", b"", 2)), [1, 2]);
    }

    #[test]
    fn the_old_region_answers_until_both_halves_report() {
        let mut table = RegionTable::default();
        table.put(region(1, "", "", 1)).unwrap();
        table.put(region(2, "", "m", 2)).unwrap();
        assert_eq!(ids(table.iter()), [2], "the whole is older than its half");
        assert_eq!(table.by_key(b"a").map(|info| info.meta.id), Some(2));
        let whole = table.by_key(b"x").unwrap();
        assert_eq!((whole.meta.id, whole.meta.epoch().version), (1, 1), "no newer report covers these keys");
        table.put(region(1, "m", "", 2)).unwrap();
        assert_eq!(ids(table.iter()), [2, 1]);
        assert_eq!(table.by_key(b"x").map(|info| info.meta.epoch().version), Some(2));
        assert!(table.before_split.is_empty());
    }

    #[test]
    fn the_parent_answers_until_all_children_report() {
        let mut table = split_table();
        // Region 2 becomes [b, c) and two others.
        table.put(region(2, "b", "c", 4)).unwrap();
        assert_eq!(table.by_key(b"ca").map(|info| (info.meta.id, info.meta.epoch().version)), Some((2, 2)));
        let mut elsewhere = region(2, "b", "c", 4);
        elsewhere.leader = Some(Peer::voter(7, 107));
        table.put(elsewhere).unwrap();
        assert_eq!(table.by_key(b"cz").and_then(RegionInfo::leader_store), Some(7));
        table.put(region(8, "c", "cm", 4)).unwrap();
        assert_eq!(table.by_key(b"ca").map(|info| info.meta.id), Some(8));
        assert_eq!(table.by_key(b"cz").map(|info| info.meta.id), Some(2), "one more report is missing");
        assert_eq!(ids(table.scan(b"", b"", 10)), [1, 2, 8, 3]);
        table.put(region(9, "cm", "d", 4)).unwrap();
        assert_eq!(table.by_key(b"cz").map(|info| info.meta.id), Some(9));
        assert!(table.before_split.is_empty());
    }

    #[test]
    fn a_report_with_an_older_epoch_or_term_is_stale() {
        let mut table = split_table();
        assert!(table.put(region(2, "b", "d", 1)).is_err(), "older version");
        let mut older_term = region(2, "b", "d", 2);
        older_term.term = 4;
        assert!(table.put(older_term.clone()).is_err(), "the leader of an earlier term");
        older_term.term = 0;
        assert_eq!(table.put(older_term), Ok(false), "a term that is not reported is not compared");
        assert!(table.put(region(9, "a", "z", 1)).is_err(), "covers newer regions");
        assert_eq!(ids(table.iter()), [1, 2, 3]);
    }

    #[test]
    fn sizes_are_in_mebibytes_and_unknown_ones_are_kept() {
        let mut table = split_table();
        let put = |table: &mut RegionTable, approximate_size, bytes_written| {
            let region = region(2, "b", "d", 2);
            let report = pdpb::RegionHeartbeatRequest {
                region: Some(region.meta),
                leader: region.leader,
                approximate_size,
                bytes_written,
                ..Default::default()
            };
            table.put(RegionInfo::from_heartbeat(report)).unwrap();
            let info = table.get(2).unwrap();
            (info.approximate_size, info.written.bytes)
        };
        assert_eq!(put(&mut table, 0, 7), (1, 7), "no report had a size");
        assert_eq!(put(&mut table, 100, 0), (1, 0));
        assert_eq!(put(&mut table, 5 << 20, IMPOSSIBLE_FLOW), (5, 0));
        assert_eq!(put(&mut table, 0, 0), (5, 0));
    }

    #[test]
    fn only_changes_must_be_saved() {
        let mut table = split_table();
        let mut info = region(2, "b", "d", 2);
        info.pending_peers = info.meta.peers.clone();
        assert_eq!(table.put(info.clone()), Ok(false));
        info.leader = Some(Peer::voter(9, 9));
        assert_eq!(table.put(info.clone()), Ok(false), "the leader is not saved");
        assert_eq!(table.get(2).unwrap().leader_store(), Some(9));
        info.meta.region_epoch = Some(RegionEpoch { conf_ver: 2, version: 2 });
        assert_eq!(table.put(info), Ok(true));
    }
}
