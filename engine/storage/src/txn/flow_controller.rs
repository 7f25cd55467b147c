//! Flow control: slows writes down, or rejects some of them, before RocksDB would stall all of them.
//!
//! Immutable memtables and files in level 0 limit the bytes per second of the scheduler. Bytes that wait for
//! compaction make the scheduler reject a growing share of the commands. Mirrors
//! `src/storage/txn/flow_controller/singleton_flow_controller.rs`.
mod checker;
mod factors;
mod limiter;
mod limits;
mod smoother;
#[cfg(test)]
mod tests;

pub use factors::{FlowControlConfig, FlowControlFactors};

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::{Condvar, Mutex};

use self::{checker::FlowChecker, limits::Limits};
use crate::errors::{Error, Result};

/// Interval of the checker. Between two flushes or compactions it only reads a counter.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// State that the checker's thread shares with the controller.
struct Shared {
    limits: Limits,
    /// Set when the checker must end.
    stopped: Mutex<bool>,
    stop: Condvar,
}

/// Owner of the checker's thread. Dropping the owner ends the thread, so that a store that failed to start leaves
/// no RocksDB open.
struct Checker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checker {
    fn stop(&self) {
        *self.shared.stopped.lock() = true;
        self.shared.stop.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread flow-checker panicked");
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Flow controller of a store. Clones share it; the last one ends its thread. TiKV: `EngineFlowController`.
#[derive(Clone)]
pub struct FlowController {
    shared: Arc<Shared>,
    checker: Arc<Checker>,
}

impl FlowController {
    /// Creates a controller that limits nothing until [`FlowController::start`].
    pub fn new(config: FlowControlConfig) -> Self {
        let shared = Shared { limits: Limits::new(config), stopped: Mutex::new(false), stop: Condvar::new() };
        let shared = Arc::new(shared);
        let checker = Checker { shared: shared.clone(), thread: Mutex::default() };
        Self { shared, checker: Arc::new(checker) }
    }

    /// Starts the thread `flow-checker`, which watches this engine until [`FlowController::stop`].
    ///
    /// # Errors
    /// The operating system cannot create the thread.
    pub fn start(&self, engine: impl FlowControlFactors, store_id: u64) -> Result<()> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("flow-checker".into()).spawn(move || {
            tracepoints::register_thread("flow-checker", store_id);
            let mut checker = FlowChecker::new(engine);
            let mut stopped = shared.stopped.lock();
            while !*stopped {
                shared.stop.wait_for(&mut stopped, CHECK_INTERVAL);
                checker.check(&shared.limits);
            }
        });
        let thread =
            thread.map_err(|e| Error::other(format!("cannot start the thread flow-checker: {e}")))?;
        *self.checker.thread.lock() = Some(thread);
        Ok(())
    }

    /// Ends the thread, which releases its engine.
    pub fn stop(&self) {
        self.checker.stop();
    }

    /// Changes the limits.
    pub fn set_config(&self, config: FlowControlConfig) {
        *self.shared.limits.config.lock() = config;
    }

    /// Whether to reject a command because of the bytes that wait for compaction.
    pub(crate) fn should_drop(&self) -> bool {
        self.shared.limits.should_drop()
    }

    /// Whether writes of any speed are allowed.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.shared.limits.limiter.is_unlimited()
    }

    /// Counts a write, and returns the time that it must wait.
    pub(crate) fn consume(&self, bytes: usize) -> Duration {
        self.shared.limits.limiter.consume(bytes)
    }

    /// Takes back the bytes of a write that did not happen.
    pub(crate) fn unconsume(&self, bytes: usize) {
        self.shared.limits.limiter.unconsume(bytes);
    }

    /// Returns the limit in bytes per second; `None`: unlimited.
    pub fn speed_limit(&self) -> Option<f64> {
        Some(self.shared.limits.limiter.speed()).filter(|speed| speed.is_finite())
    }

    /// Returns the share of commands that are rejected, from 0 to 1.
    pub fn discard_ratio(&self) -> f64 {
        self.shared.limits.discard_ratio()
    }

    #[cfg(test)]
    pub(crate) fn limit_for_test(&self, bytes_per_second: f64) {
        self.shared.limits.limiter.set_speed(bytes_per_second);
    }
}
