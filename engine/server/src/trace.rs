//! Recording: the collector of this process and its slow log, shared by all its stores.
use std::sync::Arc;

use parking_lot::Mutex;
use raftstore::store::RejectReason;
use tracepoints::collector::{self, Collector, CollectorHandle};

use crate::{config::TikvConfig, slow_log::SlowLog};

/// Number of running stores, and their shared recording.
static SHARED: Mutex<(usize, Option<Running>)> = Mutex::new((0, None));

struct Running {
    /// None if this process had a collector before its first store: then that one is used.
    collector: Option<Collector>,
    slow_log: Option<SlowLog>,
}

impl Running {
    fn start(config: &TikvConfig) -> Self {
        let collector = match collector::current() {
            Some(_) => None,
            None => Collector::start(config.build_collector_config(reject_reason))
                .inspect_err(|e| log::error!("requests will not be recorded: {e}"))
                .ok(),
        };
        let start = |handle: &CollectorHandle| {
            SlowLog::start(handle, config.slow_log_path())
                .inspect_err(|e| {
                    log::error!("no slow log will be written: cannot start the thread slow-logger: {e}")
                })
                .ok()
        };
        let slow_log = collector.as_deref().and_then(start);
        Self { collector, slow_log }
    }

    fn stop(self) {
        // Ends the collector first: the slow log ends after the last request that the collector reports.
        drop(self.collector);
        self.slow_log.into_iter().for_each(SlowLog::join);
    }
}

fn reject_reason(code: u64) -> &'static str {
    RejectReason::from_code(code).map_or("unknown", RejectReason::name)
}

/// A store's share in the recording. Dropping the last share ends the recording.
#[derive(Debug)]
pub struct Recording(());

impl Recording {
    /// The configuration of the first store applies. A collector that
    /// cannot run is logged: it stops no store.
    pub fn share(config: &TikvConfig) -> Arc<Self> {
        let mut shared = SHARED.lock();
        shared.0 += 1;
        shared.1.get_or_insert_with(|| Running::start(config));
        Arc::new(Self(()))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut shared = SHARED.lock();
        shared.0 -= 1;
        if shared.0 == 0 {
            shared.1.take().into_iter().for_each(Running::stop);
        }
    }
}
