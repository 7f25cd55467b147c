//! Compacts the ranges of CF default that have expired raw values (TiKV `src/server/ttl/ttl_checker.rs`).
use std::{
    sync::{Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use engine_rocks::{CF_DEFAULT, IterOptions, RocksEngine};
use storage::ttl_current_ts;
use tokio::sync::watch;

use super::{TtlMetrics, compaction_filter::FORMAT};

/// Maximum number of rows of a range that is compacted as a whole.
const ROWS_PER_RANGE: usize = 10_000;
/// Pause between two compactions, as in TiKV.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time after which the checker notices the stop of its store.
const STOP_POLL: Duration = Duration::from_millis(50);

/// Searches the values themselves: tables here do not have TiKV's properties with the times of expiry.
#[derive(Clone)]
pub struct TtlChecker {
    kv: RocksEngine,
    metrics: TtlMetrics,
}

/// A range of data keys, both ends included, and whether a value in it has expired.
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    rows: usize,
    expired: bool,
}

impl TtlChecker {
    /// Creates a checker of one store of API V1TTL.
    pub fn new(kv: RocksEngine, metrics: TtlMetrics) -> Self {
        Self { kv, metrics }
    }

    /// Checks once in every `interval`, which may change, until the store of `alive` is gone.
    pub async fn run(self, mut interval: watch::Receiver<Duration>, alive: Weak<()>) {
        loop {
            self.wait(&mut interval).await;
            if alive.upgrade().is_none() {
                return;
            }
            let (checker, alive) = (self.clone(), alive.clone());
            let round = move || checker.check(|time| pause(&alive, time));
            match tokio::task::spawn_blocking(round).await {
                Ok(Ok(())) => {
                    self.metrics.0.finished.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(e)) => {
                    self.metrics.0.errors.fetch_add(1, Ordering::Relaxed);
                    log::error!("ttl checker: {e}");
                }
                Err(e) => log::error!("ttl checker: {e}"),
            }
        }
    }

    /// Waits for the interval. A change of it counts from the beginning of the wait.
    async fn wait(&self, interval: &mut watch::Receiver<Duration>) {
        let begin = Instant::now();
        let mut may_change = true;
        loop {
            let wanted = *interval.borrow_and_update();
            self.metrics.0.poll_interval_ms.store(wanted.as_millis() as u64, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(wanted.saturating_sub(begin.elapsed())) => return,
                changed = interval.changed(), if may_change => may_change = changed.is_ok(),
            }
        }
    }

    /// Compacts every range with an expired value. After each range, calls `pause` with the time to wait, and ends
    /// if `pause` returns false.
    fn check(&self, pause: impl Fn(Duration) -> bool) -> engine_rocks::Result<()> {
        let mut from = keys::DATA_MIN_KEY.to_vec();
        while let Some(range) = self.next_range(&from)? {
            if range.expired {
                self.kv.compact_range_cf(CF_DEFAULT, Some(&range.start), Some(&range.end))?;
                self.metrics.0.compacted.fetch_add(1, Ordering::Relaxed);
            }
            if !pause(if range.expired { PAUSE } else { Duration::ZERO }) {
                return Ok(());
            }
            from = range.end;
            from.push(0);
        }
        Ok(())
    }

    fn next_range(&self, from: &[u8]) -> engine_rocks::Result<Option<Range>> {
        let now = ttl_current_ts();
        let options = IterOptions { fill_cache: false, ..IterOptions::range(from, keys::DATA_MAX_KEY) };
        let mut iter = self.kv.iterator_cf(CF_DEFAULT, options)?;
        let mut range: Option<Range> = None;
        let mut found = iter.seek(from)?;
        while found {
            let key = iter.key();
            let range = range.get_or_insert_with(|| Range {
                start: key.to_vec(),
                end: Vec::new(),
                rows: 0,
                expired: false,
            });
            range.rows += 1;
            range.expired |= is_expired(iter.value(), now);
            range.end.clear();
            range.end.extend_from_slice(key);
            if range.rows == ROWS_PER_RANGE {
                break;
            }
            found = iter.next()?;
        }
        Ok(range)
    }
}

/// Waits for `time`, or until the store stops; returns whether the store still runs.
fn pause(alive: &Weak<()>, time: Duration) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end && alive.strong_count() > 0 {
        std::thread::sleep(STOP_POLL);
    }
    alive.strong_count() > 0
}

/// Whether a raw value has expired; the compaction filter reports values that it cannot decode.
fn is_expired(value: &[u8], now: u64) -> bool {
    FORMAT.decode_raw_value(value).is_ok_and(|raw| raw.is_ttl_expired(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api_version::RawValue;
    use engine_rocks::DbConfig;

    use super::*;
    use crate::ttl::TtlCompactionFilterFactory;

    #[test]
    fn expired_rows_leave_the_disk() {
        let (dir, metrics) = (tempfile::tempdir().unwrap(), TtlMetrics::default());
        let mut config = DbConfig::small();
        config.compaction_filters = vec![(
            CF_DEFAULT,
            Arc::new(TtlCompactionFilterFactory::new(metrics.clone(), Arc::new(true.into()))),
        )];
        let kv = RocksEngine::open(dir.path(), &config).unwrap();
        let put = |key: &str, expire_ts| {
            let value = RawValue { user_value: b"v".to_vec(), expire_ts, is_delete: false };
            kv.put_cf(CF_DEFAULT, key.as_bytes(), &FORMAT.encode_raw_value(value)).unwrap();
        };
        put("za", Some(1));
        put("zb", None);
        put("zc", Some(u64::MAX));
        put("zd", Some(1));
        TtlChecker::new(kv.clone(), metrics.clone()).check(|_| true).unwrap();
        let left: Vec<bool> = ["za", "zb", "zc", "zd"]
            .iter()
            .map(|k| kv.get_value_cf(CF_DEFAULT, k.as_bytes()).unwrap().is_some())
            .collect();
        assert_eq!(left, [false, true, true, false]);
        assert_eq!(metrics.0.expired.load(Ordering::Relaxed), 2);
        assert_eq!(metrics.0.compacted.load(Ordering::Relaxed), 1);
        TtlChecker::new(kv, metrics.clone()).check(|_| true).unwrap();
        assert_eq!(metrics.0.compacted.load(Ordering::Relaxed), 1, "nothing is left to compact");
    }

    #[tokio::test]
    async fn a_changed_interval_counts_from_the_last_round() {
        let (dir, metrics) = (tempfile::tempdir().unwrap(), TtlMetrics::default());
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let checker = TtlChecker::new(kv, metrics.clone());
        let (sender, mut interval) = watch::channel(Duration::from_secs(3600));
        let wait = checker.wait(&mut interval);
        tokio::pin!(wait);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut wait).await.is_err());
        sender.send(Duration::from_millis(30)).unwrap();
        tokio::time::timeout(Duration::from_secs(60), &mut wait)
            .await
            .expect("the shorter interval has passed");
        assert_eq!(metrics.0.poll_interval_ms.load(Ordering::Relaxed), 30);
    }
}
