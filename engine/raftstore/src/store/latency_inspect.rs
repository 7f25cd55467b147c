//! Measures how long RaftStore takes for an empty write, to find slow stores.
//!
//! Mirrors `LatencyInspector` of `components/health_controller/src/types.rs`.
use std::time::Duration;

use tracepoints::{EngineClock, clock::EngineInstant};

/// Times of one inspection, in engine time. TiKV: `RaftstoreDuration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftstoreDuration {
    /// Wait for a poller of the store FSM.
    pub store_wait_duration: Duration,
    /// From the poller to the end of the store writer's batch, with its fsync.
    pub store_write_duration: Duration,
}

impl RaftstoreDuration {
    /// Returns the part that the disk can delay.
    pub fn delays_on_disk_io(&self) -> Duration {
        self.store_write_duration
    }
}

type Done = Box<dyn FnOnce(u64, RaftstoreDuration) + Send>;

/// An inspection on its way through RaftStore. Dropped without a call if the store stops.
pub struct LatencyInspector {
    id: u64,
    /// Begin of the current part.
    begin: EngineInstant,
    duration: RaftstoreDuration,
    done: Done,
}

impl LatencyInspector {
    /// Begins an inspection; `done` gets its id and the times.
    pub fn new(id: u64, done: impl FnOnce(u64, RaftstoreDuration) + Send + 'static) -> Self {
        let (begin, duration) = (EngineClock::now(), RaftstoreDuration::default());
        Self { id, begin, duration, done: Box::new(done) }
    }

    fn take_part(&mut self) -> Duration {
        let part = self.begin.elapsed();
        self.begin = EngineClock::now();
        part
    }

    /// Ends the wait for a poller.
    pub fn record_store_wait(&mut self) {
        self.duration.store_wait_duration = self.take_part();
    }

    /// Ends the write, and reports.
    pub fn finish(mut self) {
        self.duration.store_write_duration = self.take_part();
        (self.done)(self.id, self.duration);
    }
}
