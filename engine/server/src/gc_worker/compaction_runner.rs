//! Compacts the ranges of CF write that have much garbage (TiKV `src/server/gc_worker/compaction_runner.rs`).
use std::{
    mem,
    sync::{Arc, Weak},
    time::Instant,
};

use engine_rocks::{CF_DEFAULT, CF_WRITE, IterOptions, RocksEngine};
use txn_types::{TimeStamp, WriteRef};

use super::{
    GcContext,
    versions::{Decision, Version, Versions},
};
use crate::config::AutoCompactionConfig;

/// Number of records of a range. TiKV looks at regions.
const ROWS_PER_RANGE: u64 = 100_000;
/// Minimum of the number of ranges that one round may compact, as in TiKV.
const MIN_CANDIDATES: usize = 10;

/// Reads the records themselves: tables here do not have TiKV's properties with numbers of versions.
#[derive(Clone)]
pub struct CompactionRunner {
    kv: RocksEngine,
    gc: Arc<GcContext>,
    config: AutoCompactionConfig,
}

/// A range of data keys, both ends included.
#[derive(Debug, Default)]
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    rows: u64,
    /// Number of records that a compaction or the worker would remove.
    discardable: u64,
}

impl Range {
    fn add(&mut self, key: &[u8], discardable: bool) {
        if self.rows == 0 {
            self.start = key.to_vec();
        }
        self.end.clear();
        self.end.extend_from_slice(key);
        self.rows += 1;
        self.discardable += u64::from(discardable);
    }

    /// Returns how much a compaction is worth; `None` below both thresholds. TiKV: `get_compact_score`.
    fn score(&self, config: &AutoCompactionConfig) -> Option<f64> {
        if self.discardable == 0 {
            return None;
        }
        let ratio = self.discardable as f64 / self.rows as f64;
        let is_much = self.discardable >= config.redundant_rows_threshold
            || ratio >= config.redundant_rows_percent_threshold as f64 / 100.0;
        is_much.then_some(self.discardable as f64 * ratio)
    }
}

impl CompactionRunner {
    /// Creates the runner of one store.
    pub fn new(kv: RocksEngine, gc: Arc<GcContext>, config: AutoCompactionConfig) -> Self {
        Self { kv, gc, config }
    }

    /// Begins a round once in every interval, until the store of `alive` is gone. A round with the safe point of one
    /// that found nothing would find nothing, so there is none.
    pub async fn run(self, alive: Weak<()>) {
        let (mut last, mut found) = (TimeStamp::zero(), 0);
        loop {
            tokio::time::sleep(self.config.check_interval.0).await;
            if alive.upgrade().is_none() {
                return;
            }
            let safe_point = self.gc.safe_point();
            if safe_point == last && found == 0 {
                continue;
            }
            let (runner, alive) = (self.clone(), alive.clone());
            match tokio::task::spawn_blocking(move || runner.round(safe_point, &alive)).await {
                Ok(Ok(ranges)) => (last, found) = (safe_point, ranges),
                Ok(Err(e)) => log::error!("auto compaction: {e}"),
                Err(e) => log::error!("auto compaction: {e}"),
            }
        }
    }

    /// Compacts ranges, the one with the highest score first; returns the number of ranges above a threshold.
    fn round(&self, safe_point: TimeStamp, alive: &Weak<()>) -> engine_rocks::Result<usize> {
        let (begin, interval) = (Instant::now(), self.config.check_interval.0);
        let mut ranges = self.search(safe_point, alive)?;
        ranges.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        self.gc.metrics.ranges_to_compact(ranges.len() as u64);
        let most = MIN_CANDIDATES.max(interval.as_secs() as usize);
        for (range, score) in ranges.iter().take(most) {
            if alive.strong_count() == 0 {
                break;
            }
            for cf in [CF_WRITE, CF_DEFAULT] {
                self.kv.compact_range_cf(cf, Some(&range.start), Some(&range.end))?;
            }
            let Range { rows, discardable, .. } = range;
            log::info!("compacted a range of {rows} records with {discardable} to discard, score {score:.1}");
            if begin.elapsed() >= interval {
                break;
            }
        }
        Ok(ranges.len())
    }

    /// Returns the ranges above a threshold with their scores.
    fn search(&self, safe_point: TimeStamp, alive: &Weak<()>) -> engine_rocks::Result<Vec<(Range, f64)>> {
        let options =
            IterOptions { fill_cache: false, ..IterOptions::range(keys::DATA_MIN_KEY, keys::DATA_MAX_KEY) };
        let mut iter = self.kv.iterator_cf(CF_WRITE, options)?;
        let (mut versions, mut range, mut ranges) = (Versions::new(safe_point), Range::default(), Vec::new());
        let mut found = iter.seek(keys::DATA_MIN_KEY)?;
        while found && alive.strong_count() > 0 {
            let key = iter.key();
            range.add(key, is_discardable(&mut versions, key, iter.value()));
            if range.rows == ROWS_PER_RANGE {
                ranges.extend(self.with_score(mem::take(&mut range)));
                // Only the decisions count here.
                versions.take_lone_deletes(false);
            }
            found = iter.next()?;
        }
        ranges.extend(self.with_score(range));
        Ok(ranges)
    }

    fn with_score(&self, range: Range) -> Option<(Range, f64)> {
        range.score(&self.config).map(|score| (range, score))
    }
}

/// Whether a compaction removes the record or hands it to the worker. It reports a record that it cannot decode.
fn is_discardable(versions: &mut Versions, key: &[u8], value: &[u8]) -> bool {
    let Some(key) = key.strip_prefix(keys::DATA_PREFIX_KEY) else { return false };
    let decision =
        versions.decide::<txn_types::Error>(key, || Ok(Version::from(WriteRef::parse(value)?.write_type)));
    decision.is_ok_and(|decision| decision.removes() || decision == Decision::NewestDelete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(rows: u64, discardable: u64) -> Option<f64> {
        Range { rows, discardable, ..Default::default() }.score(&AutoCompactionConfig::default())
    }

    #[test]
    fn one_threshold_is_enough() {
        assert_eq!(score(100, 19), None, "below 20 % and below 50,000 records");
        assert_eq!(score(100, 20), Some(4.0));
        assert_eq!(score(500_000, 50_000), Some(5_000.0), "10 % of many records");
        assert_eq!(score(0, 0), None);
    }
}
