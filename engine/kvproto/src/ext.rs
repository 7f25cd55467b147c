//! Common helpers for wire messages.
use crate::metapb::{Peer, PeerRole, Region, RegionEpoch};
use crate::pdpb::Timestamp;

/// Number of bits of a timestamp's logical part (TSO of PD).
pub const TSO_LOGICAL_BITS: u32 = 18;

impl RegionEpoch {
    /// Whether either part of this epoch is older than in `other` (TiKV `util::is_epoch_stale`).
    pub fn is_stale(&self, other: &RegionEpoch) -> bool {
        self.version < other.version || self.conf_ver < other.conf_ver
    }
}

impl Region {
    /// Returns the region's epoch; zero if the message has none.
    pub fn epoch(&self) -> RegionEpoch {
        self.region_epoch.unwrap_or_default()
    }

    /// Finds the peer on `store_id` (TiKV `util::find_peer`).
    pub fn find_peer(&self, store_id: u64) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.store_id == store_id)
    }

    /// Finds the peer with the id `peer_id` (TiKV `util::find_peer_by_id`).
    pub fn find_peer_by_id(&self, peer_id: u64) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == peer_id)
    }

    /// Whether `start_key <= key < end_key`, in the key's stored encoding (TiKV `util::check_key_in_region`).
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start_key.as_slice() && (self.end_key.is_empty() || key < self.end_key.as_slice())
    }
}

impl Peer {
    /// Creates a voter (TiKV `util::new_peer`).
    pub fn voter(store_id: u64, peer_id: u64) -> Peer {
        Peer { id: peer_id, store_id, role: PeerRole::Voter as i32, is_witness: false }
    }

    /// Creates a learner (TiKV `util::new_learner_peer`).
    pub fn learner(store_id: u64, peer_id: u64) -> Peer {
        Peer { id: peer_id, store_id, role: PeerRole::Learner as i32, is_witness: false }
    }

    /// Whether the peer is a learner, which has no vote.
    pub fn is_learner(&self) -> bool {
        self.role == PeerRole::Learner as i32
    }
}

impl Timestamp {
    /// Returns the timestamp as one number, as in locks and writes (TiKV `TimeStamp::compose`).
    pub fn to_ts(&self) -> u64 {
        ((self.physical as u64) << TSO_LOGICAL_BITS) + self.logical as u64
    }

    /// Reverses [`Timestamp::to_ts`].
    pub fn from_ts(ts: u64) -> Timestamp {
        Timestamp {
            physical: (ts >> TSO_LOGICAL_BITS) as i64,
            logical: (ts & ((1 << TSO_LOGICAL_BITS) - 1)) as i64,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_stale_if_either_part_is_older() {
        let epoch = |conf_ver, version| RegionEpoch { conf_ver, version };
        assert!(epoch(1, 2).is_stale(&epoch(2, 2)));
        assert!(epoch(2, 1).is_stale(&epoch(1, 2)));
        assert!(!epoch(2, 2).is_stale(&epoch(2, 2)));
        assert!(!epoch(3, 2).is_stale(&epoch(2, 2)));
    }

    #[test]
    fn a_region_contains_its_start_and_not_its_end() {
        let mut region = Region { start_key: b"b".to_vec(), end_key: b"d".to_vec(), ..Default::default() };
        assert!(region.contains(b"b") && region.contains(b"cz"));
        assert!(!region.contains(b"a") && !region.contains(b"d"));
        region.end_key.clear();
        assert!(region.contains(b"\xff\xff"));
    }

    #[test]
    fn peers_are_found_by_store_and_by_id() {
        let region = Region { peers: vec![Peer::voter(1, 4), Peer::learner(2, 5)], ..Default::default() };
        assert_eq!(region.find_peer(2).map(|p| p.id), Some(5));
        assert!(region.find_peer_by_id(5).is_some_and(Peer::is_learner));
        assert_eq!(region.find_peer(3), None);
    }

    #[test]
    fn a_timestamp_round_trips_through_one_number() {
        let ts = Timestamp { physical: 1_700_000_000_123, logical: 262_143, ..Default::default() };
        assert_eq!(Timestamp::from_ts(ts.to_ts()), ts);
        assert_eq!(Timestamp { physical: 1, logical: 2, ..Default::default() }.to_ts(), 262_146);
    }
}
