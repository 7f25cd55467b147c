//! Timestamps of raw writes in API V2: larger than those of all writes that a client knows of.
//!
//! Mirrors `components/causal_ts`.
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use txn_types::TimeStamp;

use crate::errors::{Error, Result};

/// Source of the timestamps.
pub trait CausalTsProvider: Send + Sync {
    /// Returns a new timestamp.
    fn async_get_ts(&self) -> BoxFuture<'_, Result<TimeStamp>>;

    /// Drops all timestamps taken ahead and returns a new one. A region's new leader calls it, so that its
    /// timestamps are above those of the leader before.
    fn async_flush(&self) -> BoxFuture<'_, Result<TimeStamp>>;
}

/// PD's timestamp oracle.
pub trait BatchTso: Send + Sync + 'static {
    /// Takes `count` timestamps; returns the last one.
    fn batch_get_tso(&self, count: u32) -> BoxFuture<'_, std::result::Result<TimeStamp, String>>;
}

/// `[causal-ts]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CausalTsConfig {
    /// Interval at which timestamps are taken ahead.
    pub renew_interval: Duration,
    /// Minimum number of timestamps of one request.
    pub renew_batch_min_size: u32,
    /// Maximum number of timestamps of one request.
    pub renew_batch_max_size: u32,
    /// Time that the timestamps taken ahead last for.
    pub alloc_ahead_buffer: Duration,
}

impl Default for CausalTsConfig {
    fn default() -> Self {
        Self {
            renew_interval: Duration::from_millis(100),
            renew_batch_min_size: 100,
            renew_batch_max_size: 8192,
            alloc_ahead_buffer: Duration::from_secs(3),
        }
    }
}

/// Maximum number of batches, as in TiKV.
const MAX_TSO_BATCH_LIST_CAPACITY: usize = 1024;

impl CausalTsConfig {
    /// Returns the number of intervals that the timestamps taken ahead last for.
    fn cache_multiplier(&self) -> u32 {
        let interval = self.renew_interval.as_nanos().max(1);
        u32::try_from(self.alloc_ahead_buffer.as_nanos().div_ceil(interval)).unwrap_or(u32::MAX)
    }
}

/// Timestamps from `next` to `end`, excluded.
struct TsoBatch {
    next: u64,
    end: u64,
}

/// Timestamps taken ahead, from old to new.
#[derive(Default)]
struct TsoBatchList {
    batches: VecDeque<TsoBatch>,
    /// Number of the flush that emptied the list last.
    flushes: u64,
}

impl TsoBatchList {
    fn pop(&mut self) -> Option<TimeStamp> {
        let batch = self.batches.front_mut()?;
        let ts = batch.next;
        batch.next += 1;
        if batch.next == batch.end {
            self.batches.pop_front();
        }
        Some(ts.into())
    }

    fn remain(&self) -> u32 {
        let remain: u64 = self.batches.iter().map(|batch| batch.end - batch.next).sum();
        u32::try_from(remain).unwrap_or(u32::MAX)
    }

    /// Adds `count` timestamps that end with `last`.
    fn push(&mut self, count: u32, last: TimeStamp, capacity: usize) -> Result<()> {
        let end = last.into_inner().saturating_add(1);
        let next = end.saturating_sub(u64::from(count));
        if self.batches.back().is_some_and(|newest| next < newest.end) {
            return Err(Error::other("timestamp fall back"));
        }
        self.batches.push_back(TsoBatch { next, end });
        if self.batches.len() > capacity {
            self.batches.pop_front();
        }
        Ok(())
    }
}

/// Takes timestamps from PD in batches, ahead of their use. TiKV: `BatchTsoProvider`.
pub struct BatchTsoProvider<T> {
    tso: T,
    config: CausalTsConfig,
    list: Mutex<TsoBatchList>,
    /// Timestamps used since the last renewal by the timer.
    usage: AtomicU32,
    /// One request to PD at a time.
    renewing: tokio::sync::Mutex<()>,
}

impl<T: BatchTso> BatchTsoProvider<T> {
    /// Creates a provider without timestamps; the first write takes a batch.
    pub fn new(tso: T, config: CausalTsConfig) -> Self {
        Self { tso, config, list: Mutex::default(), usage: AtomicU32::new(0), renewing: Default::default() }
    }

    /// Takes timestamps ahead of their use, at the configured interval, until the provider is dropped.
    pub async fn run(provider: std::sync::Weak<Self>) {
        loop {
            let Some(this) = provider.upgrade() else { return };
            let interval = this.config.renew_interval;
            if let Err(e) = this.renew(this.ahead()).await {
                log::warn!("cannot take causal timestamps from PD ahead of their use: {e}");
            }
            drop(this);
            tokio::time::sleep(interval).await;
        }
    }

    /// Returns the number of timestamps that the timer must take; 0 if there are enough.
    /// TiKV: `calc_new_batch_size`.
    fn ahead(&self) -> u32 {
        let wanted = self.usage.swap(0, Ordering::Relaxed).saturating_mul(self.config.cache_multiplier());
        let wanted = wanted.max(self.config.renew_batch_min_size);
        let missing = wanted.saturating_sub(self.list.lock().remain());
        if missing == 0 { 0 } else { self.clamp(missing) }
    }

    fn clamp(&self, count: u32) -> u32 {
        let least = self.config.renew_batch_min_size.max(1);
        count.clamp(least, self.config.renew_batch_max_size.max(least))
    }

    async fn renew(&self, count: u32) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let _one = self.renewing.lock().await;
        self.request(count).await
    }

    /// Takes timestamps while the caller holds `renewing`. Drops them if a flush came in between: they may be
    /// older than the flush.
    async fn request(&self, count: u32) -> Result<()> {
        let flushes = self.list.lock().flushes;
        let last = self.tso.batch_get_tso(count).await.map_err(Error::other)?;
        let capacity = MAX_TSO_BATCH_LIST_CAPACITY.min(self.config.cache_multiplier().max(1) as usize);
        let mut list = self.list.lock();
        if list.flushes == flushes { list.push(count, last, capacity) } else { Ok(()) }
    }

    fn pop(&self) -> Option<TimeStamp> {
        let ts = self.list.lock().pop()?;
        self.usage.fetch_add(1, Ordering::Relaxed);
        Some(ts)
    }

    async fn get(&self) -> Result<TimeStamp> {
        if let Some(ts) = self.pop() {
            return Ok(ts);
        }
        let _one = self.renewing.lock().await;
        loop {
            // Another caller may have taken a batch.
            if let Some(ts) = self.pop() {
                return Ok(ts);
            }
            self.request(self.clamp(self.usage.load(Ordering::Relaxed))).await?;
        }
    }
}

impl<T: BatchTso> CausalTsProvider for BatchTsoProvider<T> {
    fn async_get_ts(&self) -> BoxFuture<'_, Result<TimeStamp>> {
        async move { self.get().await.map_err(|e| Error::other(format!("Fail to get ts: {e}"))) }.boxed()
    }

    fn async_flush(&self) -> BoxFuture<'_, Result<TimeStamp>> {
        async move {
            {
                let mut list = self.list.lock();
                list.batches.clear();
                list.flushes += 1;
            }
            self.get().await
        }
        .boxed()
    }
}

/// Provider of the store, if its API version needs one.
pub type Provider = Option<Arc<dyn CausalTsProvider>>;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::tests::store::wait;

    /// Counts the requests and gives out increasing timestamps.
    #[derive(Default)]
    struct FakeTso {
        last: AtomicU64,
        requests: AtomicU32,
    }

    impl BatchTso for Arc<FakeTso> {
        fn batch_get_tso(&self, count: u32) -> BoxFuture<'_, std::result::Result<TimeStamp, String>> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            // Other stores take timestamps, too.
            let count = u64::from(count) + 1000;
            let last = self.last.fetch_add(count, Ordering::Relaxed) + count;
            async move { Ok(last.into()) }.boxed()
        }
    }

    #[test]
    fn timestamps_grow_and_one_request_serves_many() {
        let tso = Arc::<FakeTso>::default();
        let provider = BatchTsoProvider::new(tso.clone(), CausalTsConfig::default());
        let mut last = TimeStamp::zero();
        for _ in 0..250 {
            let ts = wait(provider.async_get_ts()).unwrap();
            assert!(ts > last, "{ts} after {last}");
            last = ts;
        }
        let requests = tso.requests.load(Ordering::Relaxed);
        assert!(requests <= 3, "{requests} requests");
    }

    #[test]
    fn a_flush_drops_the_timestamps_taken_ahead() {
        let tso = Arc::<FakeTso>::default();
        let provider = BatchTsoProvider::new(tso.clone(), CausalTsConfig::default());
        wait(provider.async_get_ts()).unwrap();
        let before = tso.last.load(Ordering::Relaxed);
        assert!(wait(provider.async_flush()).unwrap().into_inner() > before);
        assert!(wait(provider.async_get_ts()).unwrap().into_inner() > before);
    }

    #[test]
    fn the_timer_takes_as_many_as_were_used() {
        let provider = BatchTsoProvider::new(Arc::<FakeTso>::default(), CausalTsConfig::default());
        assert_eq!(provider.ahead(), 100);
        provider.usage.store(20, Ordering::Relaxed);
        assert_eq!(provider.ahead(), 600, "20 in an interval, for 30 intervals");
        provider.usage.store(20, Ordering::Relaxed);
        wait(provider.renew(600)).unwrap();
        assert_eq!(provider.ahead(), 0, "there are enough");
    }

    #[test]
    fn a_failing_oracle_is_an_error() {
        struct Broken;
        impl BatchTso for Broken {
            fn batch_get_tso(&self, _: u32) -> BoxFuture<'_, std::result::Result<TimeStamp, String>> {
                async { Err("PD is away".to_owned()) }.boxed()
            }
        }
        let provider = BatchTsoProvider::new(Broken, CausalTsConfig::default());
        assert_eq!(wait(provider.async_get_ts()).unwrap_err().to_string(), "Fail to get ts: PD is away");
    }
}
