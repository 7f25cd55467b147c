//! Inspects the latency of RaftStore in turns, and publishes the store's slow score.
//!
//! Mirrors `RaftstoreReporter` of `components/health_controller/src/reporters.rs`. Only the disk of the Raft log is
//! inspected: RocksDB is on the same disk, and TiKV inspects a disk once.
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use raftstore::{RaftRouter, store::LatencyInspector};
use tracepoints::EngineClock;

use crate::{service::HealthController, slow_score::SlowScore};

/// Inspects one store.
pub struct RaftstoreReporter {
    health: HealthController,
    /// Time between two inspections; an inspection that takes as long is late. Zero: never inspect.
    interval: Duration,
    score: Arc<Mutex<SlowScore>>,
}

impl RaftstoreReporter {
    /// Creates the reporter of a store, which inspects once in every `interval`; zero: never.
    pub fn new(health: HealthController, interval: Duration) -> Self {
        Self { health, interval, score: Arc::new(Mutex::new(SlowScore::new(interval))) }
    }

    /// Inspects once in every interval of engine time, until the store of `alive` is gone.
    pub async fn run(self, router: RaftRouter, alive: Weak<()>) {
        let interval = self.interval;
        if interval.is_zero() {
            return;
        }
        let mut last = EngineClock::now();
        while alive.upgrade().is_some() {
            tokio::time::sleep(interval).await;
            // While a session holds a request, no inspection can become late.
            if last.elapsed() >= interval {
                last = EngineClock::now();
                self.inspect(&router);
            }
        }
    }

    fn inspect(&self, router: &RaftRouter) {
        let (tick, finished) = {
            let mut score = self.score.lock();
            let finished = score.last_tick_finished();
            (score.tick(), finished)
        };
        if finished {
            self.health.set_is_healthy(true);
        }
        if let Some((score, any)) = tick.updated {
            self.health.update_raftstore_slow_score(score);
            if !any {
                self.health.set_is_healthy(false);
            }
        }
        let score = self.score.clone();
        router.inspect_latency(LatencyInspector::new(tick.id, move |id, duration| {
            score.lock().record(id, duration.delays_on_disk_io());
        }));
    }
}
