//! The peers that scattering has put on each store, for each group of regions.
use std::collections::BTreeMap;

/// Peers and leaders that scattering has put on one store, for one group of regions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scattered {
    /// Number of peers.
    pub peers: usize,
    /// Number of leaders.
    pub leaders: usize,
}

/// Scattered peers and leaders of each group, by store.
pub type ScatterGroups = BTreeMap<String, BTreeMap<u64, Scattered>>;
