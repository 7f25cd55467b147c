//! The regions as their leaders last reported them, by id and by start key (tikv/pd `core.RegionsInfo`).

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use kvproto::{
    metapb::{Peer, Region},
    pdpb,
};

const MIB: u64 = 1 << 20;
/// MiB that a region without a reported size counts for (PD `EmptyRegionApproximateSize`).
const EMPTY_REGION_SIZE: u64 = 1;
/// More than this in one heartbeat is a store's mistake (PD `ImpossibleFlowSize`, 1 PiB).
const IMPOSSIBLE_FLOW: u64 = 1 << 50;

/// What flowed through a region since the heartbeat before.
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

/// One region and what its leader said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionInfo {
    pub meta: Region,
    pub leader: Option<Peer>,
    /// The leader's raft term; 0 if it was not reported.
    pub term: u64,
    pub down_peers: Vec<pdpb::PeerStats>,
    pub pending_peers: Vec<Peer>,
    pub written: Flow,
    pub read: Flow,
    /// In MiB; an empty region has 1, so that it counts.
    pub approximate_size: u64,
    pub approximate_keys: u64,
    /// In MiB; that of TiDB's next-generation stores.
    pub approximate_kv_size: u64,
    pub approximate_columnar_kv_size: u64,
    /// In percent of a core.
    pub cpu_usage: u64,
}

impl RegionInfo {
    /// PD `core.RegionFromHeartbeat`.
    #[allow(deprecated)] // cpu_usage is what PD's HTTP shows
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

    /// Takes over what a leader that does not know a size left out (PD `RegionInfo.Inherit`).
    fn inherit(&mut self, origin: Option<&RegionInfo>) {
        if self.approximate_size == 0 {
            self.approximate_size = origin.map_or(EMPTY_REGION_SIZE, |origin| origin.approximate_size);
            self.approximate_keys = origin.map_or(self.approximate_keys, |origin| origin.approximate_keys);
        }
    }

    /// Whether the peer needs no snapshot any more.
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

    /// The store that leads, if known.
    pub fn leader_store(&self) -> Option<u64> {
        self.leader.map(|leader| leader.store_id)
    }
}

/// A heartbeat that is behind what PD knows (tikv/pd `errs.ErrRegionIsStale`).
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
    /// Regions as they were before a split that not all of the new regions have reported yet. They answer for keys that
    /// would have no region: a client that asks their leader hears of the new epoch and asks again.
    before_split: Vec<RegionInfo>,
}

impl RegionTable {
    /// Takes a report in. `true` if anything changed that must outlive a restart. What the region newly covers is
    /// taken from older regions, which vanish. [`Stale`] if the report is behind (PD `PreCheckPutRegion`).
    pub fn put(&mut self, mut info: RegionInfo) -> Result<bool, Stale> {
        self.check_fresh(&info)?;
        info.inherit(self.by_id.get(&info.meta.id));
        let changed = match self.by_id.get(&info.meta.id) {
            // Who leads is a hint, which the next heartbeat after a restart gives again (PD does not save it at all).
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

    /// Takes a region out; it answers for what is left of its range until that has regions of its own.
    fn replace(&mut self, id: u64) {
        self.before_split.extend(self.by_id.get(&id).cloned());
        self.remove(id);
    }

    /// Whether every key of `range` has a region.
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
            let behind_term = info.term > 0 && info.term < origin.term;
            if behind_term || epoch.is_stale(&origin.meta.epoch()) {
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

    /// Ids of the regions that share a key with `[start, end)`; an empty end is unbounded.
    fn overlapping(&self, start: &[u8], end: &[u8]) -> Vec<u64> {
        self.scan(start, end, usize::MAX).iter().map(|info| info.meta.id).collect()
    }

    pub fn get(&self, id: u64) -> Option<&RegionInfo> {
        self.by_id.get(&id)
    }

    /// The region that holds `key`, or held it before a split that is not reported in full.
    pub fn by_key(&self, key: &[u8]) -> Option<&RegionInfo> {
        let before = || self.before_split.iter().rev().find(|old| old.meta.contains(key));
        self.current(key).or_else(before)
    }

    /// The region that holds `key`, as reported.
    fn current(&self, key: &[u8]) -> Option<&RegionInfo> {
        self.at_or_before(Bound::Included(key)).filter(|info| info.meta.contains(key))
    }

    /// The region that ends where the region of `key` begins.
    pub fn previous(&self, key: &[u8]) -> Option<&RegionInfo> {
        let start = &self.current(key)?.meta.start_key;
        self.at_or_before(Bound::Excluded(start)).filter(|info| info.meta.end_key == *start)
    }

    fn at_or_before(&self, bound: Bound<&[u8]>) -> Option<&RegionInfo> {
        let (_, id) = self.by_start.range::<[u8], _>((Bound::Unbounded, bound)).next_back()?;
        self.by_id.get(id)
    }

    /// Up to `limit` regions that share a key with `[start, end)`, in key order; an empty end is unbounded.
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
    fn the_whole_answers_until_both_halves_of_a_split_report() {
        let mut table = RegionTable::default();
        table.put(region(1, "", "", 1)).unwrap();
        table.put(region(2, "", "m", 2)).unwrap();
        assert_eq!(ids(table.iter()), [2], "the whole is older than its half");
        assert_eq!(table.by_key(b"a").map(|info| info.meta.id), Some(2));
        let whole = table.by_key(b"x").unwrap();
        assert_eq!((whole.meta.id, whole.meta.epoch().version), (1, 1), "nobody reported these keys anew");
        table.put(region(1, "m", "", 2)).unwrap();
        assert_eq!(ids(table.iter()), [2, 1]);
        assert_eq!(table.by_key(b"x").map(|info| info.meta.epoch().version), Some(2));
        assert!(table.before_split.is_empty());
    }

    #[test]
    fn the_parent_reports_first_and_its_next_leader_answers_for_the_rest() {
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
        assert_eq!(table.by_key(b"cz").map(|info| info.meta.id), Some(2), "one more is to come");
        assert_eq!(ids(table.scan(b"", b"", 10)), [1, 2, 8, 3]);
        table.put(region(9, "cm", "d", 4)).unwrap();
        assert_eq!(table.by_key(b"cz").map(|info| info.meta.id), Some(9));
        assert!(table.before_split.is_empty());
    }

    #[test]
    fn a_report_behind_in_epoch_term_or_range_is_stale() {
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
    fn sizes_are_in_mebibytes_and_an_unknown_one_is_that_of_before() {
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
        assert_eq!(put(&mut table, 0, 7), (1, 7), "as it was: nobody had reported a size");
        assert_eq!(put(&mut table, 100, 0), (1, 0));
        assert_eq!(put(&mut table, 5 << 20, IMPOSSIBLE_FLOW), (5, 0));
        assert_eq!(put(&mut table, 0, 0), (5, 0));
    }

    #[test]
    fn only_what_changed_must_be_saved() {
        let mut table = split_table();
        let mut info = region(2, "b", "d", 2);
        info.pending_peers = info.meta.peers.clone();
        assert_eq!(table.put(info.clone()), Ok(false));
        info.leader = Some(Peer::voter(9, 9));
        assert_eq!(table.put(info.clone()), Ok(false), "who leads");
        assert_eq!(table.get(2).unwrap().leader_store(), Some(9));
        info.meta.region_epoch = Some(RegionEpoch { conf_ver: 2, version: 2 });
        assert_eq!(table.put(info), Ok(true));
    }
}
