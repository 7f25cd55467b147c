//! The regions of the stepped requests.
use std::sync::atomic::{AtomicU64, Ordering};

/// Regions of the stepped requests; the owners of their Raft state publish while a region is in this list.
static REGIONS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

#[inline(never)]
pub(super) fn is_watched(region: u64) -> bool {
    region != 0 && REGIONS.iter().any(|r| r.load(Ordering::Relaxed) == region)
}

/// Adds a region whose Raft state its owners must publish (0: removes all). A ninth region replaces the last
/// one.
pub fn watch_region(region: u64) {
    if region == 0 {
        REGIONS.iter().for_each(|r| r.store(0, Ordering::Relaxed));
    } else if !is_watched(region) {
        let free =
            |r: &&AtomicU64| r.compare_exchange(0, region, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if REGIONS.iter().find(free).is_none() {
            REGIONS[REGIONS.len() - 1].store(region, Ordering::Relaxed);
        }
    }
}
