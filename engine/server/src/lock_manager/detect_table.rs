//! The graph of transactions that wait for each other. Mirrors `DetectTable` of
//! `src/server/lock_manager/deadlock.rs`.
use std::{collections::HashMap, time::Duration};

use kvproto::deadlock::WaitForEntry;
use tracepoints::{
    clock::EngineInstant,
    probe::{LockWaitEdge, WaitGraphProbe},
};
use txn_types::TimeStamp;

/// Number of waiting transactions from which old edges are removed without a search that finds them.
const ACTIVE_EXPIRE_THRESHOLD: usize = 100_000;
/// Interval between such removals, unless the table is twice as large.
const ACTIVE_EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);

/// Maximum number of waits in a probe.
const MAX_PROBED: usize = 100;

/// The keys on which one transaction waits for another.
struct Locks {
    /// Hash and raw key. Of several keys with one hash the table has one.
    keys: Vec<(u64, Vec<u8>)>,
    resource_group_tag: Vec<u8>,
    last_detect_time: EngineInstant,
}

impl Locks {
    fn push(&mut self, hash: u64, key: &[u8], now: EngineInstant) {
        if !self.keys.iter().any(|(known, _)| *known == hash) {
            self.keys.push((hash, key.to_vec()));
        }
        self.last_detect_time = now;
    }

    fn is_expired(&self, now: EngineInstant, ttl: Duration) -> bool {
        now.saturating_since(self.last_detect_time) >= ttl
    }

    fn to_wait_for_entry(&self, txn: TimeStamp, wait_for: TimeStamp) -> WaitForEntry {
        let (key_hash, key) = self.keys.first().cloned().unwrap_or_default();
        WaitForEntry {
            txn: txn.into_inner(),
            wait_for_txn: wait_for.into_inner(),
            key_hash,
            key,
            resource_group_tag: self.resource_group_tag.clone(),
            ..WaitForEntry::default()
        }
    }
}

/// Edges from waiting transactions to those that they wait for. An edge expires unless it is detected again.
pub struct DetectTable {
    wait_for_map: HashMap<TimeStamp, HashMap<TimeStamp, Locks>>,
    ttl: Duration,
    last_active_expire: EngineInstant,
}

impl DetectTable {
    pub fn new(ttl: Duration, now: EngineInstant) -> Self {
        Self { wait_for_map: HashMap::new(), ttl, last_active_expire: now }
    }

    /// Adds the edge of `entry`, unless it closes a cycle. Then returns the hash of the key on which another
    /// transaction waits for this one, and the other edges of the cycle, from the transaction that
    /// `entry` waits for.
    pub fn detect(&mut self, entry: &WaitForEntry, now: EngineInstant) -> Option<(u64, Vec<WaitForEntry>)> {
        self.active_expire(now);
        let (txn_ts, lock_ts) = (TimeStamp::new(entry.txn), TimeStamp::new(entry.wait_for_txn));
        if let Some(locks) = self.wait_for_map.get_mut(&txn_ts).and_then(|edges| edges.get_mut(&lock_ts)) {
            // The edge has closed no cycle before.
            locks.push(entry.key_hash, &entry.key, now);
            locks.resource_group_tag.clone_from(&entry.resource_group_tag);
            return None;
        }
        if let Some(found) = self.do_detect(txn_ts, lock_ts, now) {
            return Some(found);
        }
        let locks = Locks {
            keys: vec![(entry.key_hash, entry.key.clone())],
            resource_group_tag: entry.resource_group_tag.clone(),
            last_detect_time: now,
        };
        self.wait_for_map.entry(txn_ts).or_default().insert(lock_ts, locks);
        None
    }

    /// Searches a path from `wait_for_ts` to `txn_ts`, and removes expired edges on its way.
    fn do_detect(
        &mut self,
        txn_ts: TimeStamp,
        wait_for_ts: TimeStamp,
        now: EngineInstant,
    ) -> Option<(u64, Vec<WaitForEntry>)> {
        let ttl = self.ttl;
        // Each visited transaction, and the one that waits for it.
        let mut waiter_of = HashMap::from([(wait_for_ts, None)]);
        let mut stack = vec![wait_for_ts];
        while let Some(waiter) = stack.pop() {
            let Some(edges) = self.wait_for_map.get_mut(&waiter) else { continue };
            edges.retain(|_, locks| !locks.is_expired(now, ttl));
            if let Some(locks) = edges.get(&txn_ts) {
                let last = locks.to_wait_for_entry(waiter, txn_ts);
                let hash = last.key_hash;
                let mut chain = self.chain(waiter, &waiter_of);
                chain.push(last);
                return Some((hash, chain));
            }
            if edges.is_empty() {
                self.wait_for_map.remove(&waiter);
                continue;
            }
            for next in edges.keys().copied() {
                waiter_of.entry(next).or_insert_with(|| {
                    stack.push(next);
                    Some(waiter)
                });
            }
        }
        None
    }

    /// Returns the edges from the begin of a search to `end`.
    fn chain(&self, end: TimeStamp, waiter_of: &HashMap<TimeStamp, Option<TimeStamp>>) -> Vec<WaitForEntry> {
        let (mut chain, mut at) = (Vec::new(), end);
        while let Some(Some(waiter)) = waiter_of.get(&at) {
            let locks = self.wait_for_map.get(waiter).and_then(|edges| edges.get(&at));
            chain.extend(locks.map(|locks| locks.to_wait_for_entry(*waiter, at)));
            at = *waiter;
        }
        chain.reverse();
        chain
    }

    /// Removes one key of an edge, and the edge with its last key.
    pub fn clean_up_wait_for(&mut self, txn: TimeStamp, wait_for: TimeStamp, hash: u64) {
        let Some(edges) = self.wait_for_map.get_mut(&txn) else { return };
        if let Some(locks) = edges.get_mut(&wait_for) {
            locks.keys.retain(|(known, _)| *known != hash);
            if locks.keys.is_empty() {
                edges.remove(&wait_for);
            }
        }
        if edges.is_empty() {
            self.wait_for_map.remove(&txn);
        }
    }

    /// Returns the first waits of the graph for a viewer, by transaction. Expired ones are not among them.
    pub fn probe(&self, store: u64, now: EngineInstant) -> WaitGraphProbe {
        let live = |txn: TimeStamp, edges: &HashMap<TimeStamp, Locks>| {
            let live = edges.iter().filter(|(_, locks)| !locks.is_expired(now, self.ttl));
            live.map(|(wait_for, _)| (txn, *wait_for)).collect::<Vec<_>>()
        };
        let mut pairs: Vec<_> = self.wait_for_map.iter().flat_map(|(txn, edges)| live(*txn, edges)).collect();
        pairs.sort_unstable();
        let key = |txn: &TimeStamp, wait_for: &TimeStamp| {
            let locks = self.wait_for_map.get(txn).and_then(|edges| edges.get(wait_for));
            locks.and_then(|locks| locks.keys.first()).map_or_else(String::new, |(_, key)| keys::escape(key))
        };
        let edge = |(txn, wait_for): &(TimeStamp, TimeStamp)| LockWaitEdge {
            txn: txn.into_inner(),
            wait_for: wait_for.into_inner(),
            key: key(txn, wait_for),
        };
        let more = pairs.len().saturating_sub(MAX_PROBED) as u64;
        WaitGraphProbe { store, edges: pairs.iter().take(MAX_PROBED).map(edge).collect(), more }
    }

    /// Removes all edges of a waiting transaction.
    pub fn clean_up(&mut self, txn: TimeStamp) {
        self.wait_for_map.remove(&txn);
    }

    pub fn clear(&mut self) {
        self.wait_for_map.clear();
    }

    pub fn reset_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    /// Bounds the table: removes all expired edges if there are many.
    fn active_expire(&mut self, now: EngineInstant) {
        let (len, since) = (self.wait_for_map.len(), now.saturating_since(self.last_active_expire));
        let due =
            since >= ACTIVE_EXPIRE_INTERVAL || (len >= 2 * ACTIVE_EXPIRE_THRESHOLD && since >= self.ttl);
        if len < ACTIVE_EXPIRE_THRESHOLD || !due {
            return;
        }
        let ttl = self.ttl;
        self.wait_for_map.retain(|_, edges| {
            edges.retain(|_, locks| !locks.is_expired(now, ttl));
            !edges.is_empty()
        });
        self.last_active_expire = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(1);

    fn edge(txn: u64, wait_for_txn: u64, key: &[u8]) -> WaitForEntry {
        let key_hash = txn_types::Key::from_raw(key).gen_hash().unwrap();
        WaitForEntry { txn, wait_for_txn, key_hash, key: key.to_vec(), ..WaitForEntry::default() }
    }

    fn table() -> DetectTable {
        DetectTable::new(TTL, EngineInstant(0))
    }

    fn at(seconds: u64) -> EngineInstant {
        EngineInstant(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_circle_is_found_with_its_whole_chain() {
        let mut table = table();
        assert_eq!(table.detect(&edge(1, 2, b"b"), at(0)), None);
        assert_eq!(table.detect(&edge(2, 3, b"c"), at(0)), None);
        assert_eq!(table.detect(&edge(2, 4, b"d"), at(0)), None);
        let (hash, chain) = table.detect(&edge(3, 1, b"a"), at(0)).unwrap();
        assert_eq!(hash, edge(2, 3, b"c").key_hash, "the key on which 2 waits for 3");
        assert_eq!(chain, [edge(1, 2, b"b"), edge(2, 3, b"c")]);
        // The refused edge is not in the table.
        assert_eq!(table.detect(&edge(4, 1, b"a"), at(0)).unwrap().1.len(), 2);
        table.clean_up(TimeStamp::new(2));
        assert_eq!(table.detect(&edge(3, 1, b"a"), at(0)), None);
    }

    #[test]
    fn an_edge_lives_as_long_as_its_keys() {
        let mut table = table();
        assert_eq!(table.detect(&edge(1, 2, b"a"), at(0)), None);
        assert_eq!(table.detect(&edge(1, 2, b"b"), at(0)), None);
        table.clean_up_wait_for(1.into(), 2.into(), edge(1, 2, b"a").key_hash);
        assert!(table.detect(&edge(2, 1, b"c"), at(0)).is_some());
        table.clean_up_wait_for(1.into(), 2.into(), edge(1, 2, b"b").key_hash);
        assert_eq!(table.detect(&edge(2, 1, b"c"), at(0)), None);
    }

    #[test]
    fn a_probe_has_the_live_edges_in_order() {
        let mut table = table();
        assert_eq!(table.detect(&edge(9, 2, b"old"), at(0)), None);
        assert_eq!(table.detect(&edge(3, 1, b"a"), at(1)), None);
        assert_eq!(table.detect(&edge(2, 1, b"a"), at(1)), None);
        let graph = table.probe(4, at(1));
        let shown: Vec<_> = graph.edges.iter().map(|e| (e.txn, e.wait_for, e.key.as_str())).collect();
        assert_eq!((graph.store, graph.more), (4, 0));
        assert_eq!(shown, [(2, 1, "a"), (3, 1, "a")], "the edge of 9 has expired");
    }

    #[test]
    fn an_edge_expires_unless_it_is_detected_again() {
        let mut table = table();
        assert_eq!(table.detect(&edge(1, 2, b"a"), at(0)), None);
        assert_eq!(table.detect(&edge(2, 1, b"b"), at(1)), None, "the edge of 1 has expired");
        table.clear();
        assert_eq!(table.detect(&edge(1, 2, b"a"), at(1)), None);
        assert_eq!(table.detect(&edge(1, 2, b"a"), at(2)), None);
        table.reset_ttl(2 * TTL);
        assert!(table.detect(&edge(2, 1, b"b"), at(3)).is_some());
    }
}
