//! The time of a trace. Engine time stops during a hold, so work of others during the hold would take no
//! engine time.
use crate::clock::{self, EngineClock};

/// If two events during a hold are further apart than this, in ns, the time between them is the person's.
const LONGEST_WORK_NS: u64 = 1_000_000_000;

/// Engine time plus the real time in which others worked during holds. The time from the last event to a
/// release is the person's and does not count.
#[derive(Debug)]
pub(super) struct TraceClock {
    now: u64,
    engine: u64,
    real: u64,
}

impl Default for TraceClock {
    fn default() -> Self {
        let engine = EngineClock::now().0;
        Self { now: engine, engine, real: clock::now_ns() }
    }
}

impl TraceClock {
    /// Returns the time of an event; `held`: whether a request has been held since the previous event.
    pub(super) fn now(&mut self, held: bool) -> u64 {
        let worked = clock::now_ns().saturating_sub(self.real);
        self.go(if held && worked <= LONGEST_WORK_NS { worked } else { 0 })
    }

    /// Returns the time of a release.
    pub(super) fn resume(&mut self) -> u64 {
        self.go(0)
    }

    fn go(&mut self, worked: u64) -> u64 {
        let (engine, real) = (EngineClock::now().0, clock::now_ns());
        self.now += engine.saturating_sub(self.engine).max(worked);
        (self.engine, self.real) = (engine, real);
        self.now
    }
}
