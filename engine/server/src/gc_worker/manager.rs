//! Follows PD's safe point (TiKV `src/server/gc_worker/gc_manager.rs`).
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use pd::client::PdClient;

use super::{GcContext, GcTask};

/// Pause between two requests to PD, as in TiKV.
const POLL_SAFE_POINT_INTERVAL: Duration = Duration::from_secs(10);

/// Polls PD for one store.
pub struct GcManager {
    gc: Arc<GcContext>,
    pd: Arc<PdClient>,
    interval: Duration,
}

impl GcManager {
    /// Asks PD once in every `interval`; `None`: as often as TiKV does.
    pub fn new(gc: Arc<GcContext>, pd: Arc<PdClient>, interval: Option<Duration>) -> Self {
        Self { gc, pd, interval: interval.unwrap_or(POLL_SAFE_POINT_INTERVAL) }
    }

    /// Runs until the store of `alive` is gone.
    pub async fn run(self, alive: Weak<()>) {
        while alive.upgrade().is_some() {
            match self.pd.get_gc_safe_point().await {
                Ok(safe_point) => self.on_safe_point(safe_point),
                Err(e) => log::warn!("cannot get the GC safe point from PD: {e}"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Uses a new safe point. Without compaction filters, the worker collects all garbage below it.
    /// TiKV: `try_update_safe_point`.
    fn on_safe_point(&self, safe_point: u64) {
        let old = self.gc.safe_point.fetch_max(safe_point, Ordering::Relaxed);
        if safe_point < old {
            log::error!("PD's GC safe point went back from {old} to {safe_point}; the old one stays");
        }
        if safe_point <= old {
            return;
        }
        log::info!("the GC safe point is {safe_point}, it was {old}");
        self.gc.metrics.safe_point(safe_point);
        if !self.gc.enable_compaction_filter {
            self.gc.schedule(GcTask::Gc { safe_point: safe_point.into() });
        }
    }
}
