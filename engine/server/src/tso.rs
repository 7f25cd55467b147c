//! PD's timestamps as the upper bound for timestamps of clients.
use std::{sync::Arc, time::Duration};

use pd::client::{PdClient, Result};
use storage::{
    ConcurrencyManager,
    concurrency_manager::{MaxTsBound, TsoProvider},
};
use tokio::runtime::Handle;
use txn_types::TimeStamp;

use crate::{config::MaxTsConfig, runtime};

/// Gets a new timestamp from PD.
pub async fn get(pd: &PdClient) -> Result<TimeStamp> {
    let ts = pd.get_tso(1).await?;
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
