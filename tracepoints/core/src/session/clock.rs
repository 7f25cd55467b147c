//! The time of a trace. Engine time stands while anybody is held, so what others do meanwhile would take no time at all.
use crate::clock::{self, EngineClock};

/// While somebody is held, two events that are further apart than this have a person's thought between them.
const LONGEST_WORK_NS: u64 = 1_000_000_000;

/// Engine time, and the real time in which others worked while somebody was held. The time from the last event to a
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
    /// At an event; `held`: whether somebody was held since the one before.
    pub(super) fn now(&mut self, held: bool) -> u64 {
        let worked = clock::now_ns().saturating_sub(self.real);
        self.go(if held && worked <= LONGEST_WORK_NS { worked } else { 0 })
    }

    /// As somebody is released.
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
