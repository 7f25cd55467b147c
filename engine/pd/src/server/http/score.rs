//! The region score of a store: its fill level for PD's schedulers (tikv/pd `StoreInfo.regionScoreV2`).
use kvproto::pdpb::StoreStats;

const GIB: f64 = (1u64 << 30) as f64;
/// PD `low-space-ratio`.
const LOW_SPACE_RATIO: f64 = 0.8;

/// Returns the score of a store whose regions have a total of `region_size` MiB.
pub fn region_score(stats: &StoreStats, region_size: u64) -> f64 {
    let (available, capacity) = (stats.available as f64 / GIB, stats.capacity as f64 / GIB);
    let used = stats.used_size as f64 / GIB;
    // Below this free space in GiB the score grows steeply.
    let low = (capacity * (1.0 - LOW_SPACE_RATIO)).max(50.0);
    let (weight, reserve) = (256.0, 1e10);
    let size = region_size as f64;
    if available >= capacity || capacity < 1.0 {
        return size;
    }
    let free = if region_size == 0 { available } else { capacity - used - (capacity - available - used) };
    if free > low {
        let amplified = (capacity.ln() - (free - low + 1.0).ln()) / (capacity - free + low - 1.0);
        (1.0 + weight * amplified) * size
    } else {
        (1.0 + weight * capacity.ln() / capacity) * size + reserve * (low - free) / low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_with_less_free_space_scores_higher() {
        let stats = |available: u64| StoreStats {
            capacity: 1000 << 30,
            available: available << 30,
            ..Default::default()
        };
        let scores: Vec<f64> = [900, 500, 200, 10].map(|free| region_score(&stats(free), 100)).to_vec();
        assert!(scores.is_sorted() && scores[0] > 100.0, "{scores:?}");
        assert_eq!(region_score(&StoreStats::default(), 7), 7.0, "the disk was not reported");
    }
}
