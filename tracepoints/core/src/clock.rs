//! Two clocks: the raw counter that stamps read, and engine time, which a held request makes stand still.
//!
//! Everything in the engine that waits, leases or hands out time reads [`EngineClock`], never the operating system's clock.
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

struct Base {
    clock: quanta::Clock,
    raw: u64,
    unix_ns: u64,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let clock = quanta::Clock::new();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Base { raw: clock.raw(), clock, unix_ns: unix.as_nanos() as u64 }
    })
}

/// Reads the time stamp counter: one instruction where it is invariant, the monotonic clock elsewhere.
#[inline(always)]
pub fn raw() -> u64 {
    base().clock.raw()
}

/// Nanoseconds since this process first read its clock.
pub fn raw_to_ns(raw: u64) -> u64 {
    let base = base();
    base.clock.delta_as_nanos(base.raw, raw.max(base.raw))
}

/// Monotonic nanoseconds of this process, never frozen.
pub fn now_ns() -> u64 {
    raw_to_ns(raw())
}

/// A point in engine time: nanoseconds since the process first read its clock, less all time frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EngineInstant(pub u64);

impl EngineInstant {
    pub fn saturating_since(self, earlier: EngineInstant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn elapsed(self) -> Duration {
        EngineClock::now().saturating_since(self)
    }
}

impl std::ops::Add<Duration> for EngineInstant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        EngineInstant(self.0.saturating_add(d.as_nanos() as u64))
    }
}

/// Sequence number (odd while changing), engine time at the freeze (0: running), and all time frozen so far.
static SEQ: AtomicU64 = AtomicU64::new(0);
static FROZEN_AT: AtomicU64 = AtomicU64::new(0);
static LOST_NS: AtomicU64 = AtomicU64::new(0);
/// How many freezes are in force.
static HOLDERS: Mutex<u64> = Mutex::new(0);

/// The clock of the engine in this process. Frozen while any [`FreezeGuard`] lives.
pub struct EngineClock;

impl EngineClock {
    pub fn now() -> EngineInstant {
        loop {
            let seq = SEQ.load(Ordering::Acquire);
            let now = now_ns();
            let (frozen, lost) = (FROZEN_AT.load(Ordering::Acquire), LOST_NS.load(Ordering::Acquire));
            if seq & 1 == 0 && SEQ.load(Ordering::Acquire) == seq {
                return EngineInstant(if frozen != 0 { frozen } else { now - lost.min(now) });
            }
            std::hint::spin_loop();
        }
    }

    /// Milliseconds since the Unix epoch, as the engine sees them: real time less all time frozen.
    pub fn wall_ms() -> u64 {
        (base().unix_ns + Self::now().0) / 1_000_000
    }

    pub fn is_frozen() -> bool {
        FROZEN_AT.load(Ordering::Acquire) != 0
    }

    /// Stops engine time until the guard is dropped; freezes nest.
    pub fn freeze() -> FreezeGuard {
        let mut holders = HOLDERS.lock();
        if *holders == 0 {
            let now = Self::now().0.max(1);
            SEQ.fetch_add(1, Ordering::AcqRel);
            FROZEN_AT.store(now, Ordering::Release);
            SEQ.fetch_add(1, Ordering::AcqRel);
        }
        *holders += 1;
        FreezeGuard(())
    }
}

/// Keeps engine time standing still.
#[must_use = "engine time runs on when the guard is dropped"]
#[derive(Debug)]
pub struct FreezeGuard(());

impl Drop for FreezeGuard {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock();
        *holders -= 1;
        if *holders == 0 {
            SEQ.fetch_add(1, Ordering::AcqRel);
            let frozen = FROZEN_AT.swap(0, Ordering::AcqRel);
            LOST_NS.store(now_ns().saturating_sub(frozen), Ordering::Release);
            SEQ.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_time_stands_still_and_goes_on_from_where_it_stood() {
        let outer = EngineClock::freeze();
        let stood = EngineClock::now();
        let inner = EngineClock::freeze();
        std::thread::sleep(Duration::from_millis(20));
        drop(inner);
        assert_eq!(EngineClock::now(), stood);
        drop(outer);
        let after = EngineClock::now();
        assert!(after >= stood, "engine time never runs backwards");
        assert!(now_ns() - after.0 >= 20_000_000, "the frozen time is not made up for");
    }
}
