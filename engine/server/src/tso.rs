//! PD's timestamps: the upper bound for timestamps of clients, and the source of those of raw writes on API V2.
use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use pd::client::{PdClient, Result};
use storage::{
    ConcurrencyManager,
    causal_ts::{BatchTso, BatchTsoProvider, CausalTsConfig, CausalTsProvider},
    concurrency_manager::{MaxTsBound, TsoProvider},
};
use tokio::runtime::Handle;
use txn_types::TimeStamp;

use crate::{
    config::{CausalTsSection, MaxTsConfig},
    runtime,
};

/// Gets a new timestamp from PD.
pub async fn get(pd: &PdClient) -> Result<TimeStamp> {
    get_batch(pd, 1).await
}

/// Gets `count` new timestamps from PD; returns the largest.
async fn get_batch(pd: &PdClient, count: u32) -> Result<TimeStamp> {
    let ts = pd.get_tso(count).await?;
    Ok(TimeStamp::compose(ts.physical.unsigned_abs(), ts.logical.unsigned_abs()))
}

/// Asks PD on PD's runtime while the calling thread waits.
struct PdTso {
    pd: Arc<PdClient>,
    runtime: Handle,
}

impl TsoProvider for PdTso {
    fn get_tso(&self, timeout: Duration) -> Option<TimeStamp> {
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        let pd = self.pd.clone();
        runtime::spawn(&self.runtime, "max-ts-double-check", async move {
            let got =
                get(&pd).await.map_err(|e| log::warn!("cannot get a timestamp from PD to compare with: {e}"));
            // The caller may have timed out.
            let _ = answer.send(got.ok());
        });
        wait.recv_timeout(timeout).ok().flatten()
    }
}

/// Builds the manager that bounds clients' timestamps by PD's. TiKV: `init_max_ts_updater`.
///
/// # Errors
/// If PD returns no timestamp.
pub fn concurrency_manager(
    pd: &Arc<PdClient>,
    runtime: &Handle,
    config: &MaxTsConfig,
) -> Result<ConcurrencyManager> {
    let latest = runtime.block_on(get(pd))?;
    let tso = Arc::new(PdTso { pd: pd.clone(), runtime: runtime.clone() });
    let interval = config.cache_sync_interval.0;
    let bound = MaxTsBound::new(config.max_drift.0, interval, config.action(), tso);
    bound.set_limit(latest);
    let manager = ConcurrencyManager::with_bound(latest, bound);
    let (pd, updated) = (pd.clone(), manager.clone());
    runtime::spawn(runtime, "max-ts-limit", async move {
        loop {
            tokio::time::sleep(interval).await;
            match get(&pd).await {
                Ok(ts) => updated.bound().set_limit(ts),
                Err(e) => log::warn!("cannot get a timestamp from PD to bound max_ts: {e}"),
            }
        }
    });
    Ok(manager)
}

/// PD as the source of causal timestamps.
struct CausalTso(Arc<PdClient>);

impl BatchTso for CausalTso {
    fn batch_get_tso(&self, count: u32) -> BoxFuture<'_, std::result::Result<TimeStamp, String>> {
        async move { get_batch(&self.0, count).await.map_err(|e| e.to_string()) }.boxed()
    }
}

/// Starts the source of the timestamps of raw writes on API V2.
pub fn causal_ts_provider(
    pd: &Arc<PdClient>,
    runtime: &Handle,
    config: &CausalTsSection,
) -> Arc<dyn CausalTsProvider> {
    let config = CausalTsConfig {
        renew_interval: config.renew_interval.0,
        renew_batch_min_size: config.renew_batch_min_size,
        renew_batch_max_size: config.renew_batch_max_size,
        alloc_ahead_buffer: config.alloc_ahead_buffer.0,
    };
    let provider = Arc::new(BatchTsoProvider::new(CausalTso(pd.clone()), config));
    let ahead = BatchTsoProvider::run(Arc::downgrade(&provider));
    runtime::spawn(runtime, "causal-ts-batch-tso-worker", ahead);
    provider
}
