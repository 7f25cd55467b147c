//! Two clocks: the raw counter that stamps read, and engine time, which stops while a request is held.
//!
//! Every wait, lease and timestamp of the engine uses [`EngineClock`], never the operating system's clock.
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
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
        READS_TSC.store(is_tsc(&clock), Ordering::Relaxed);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Base { raw: clock.raw(), clock, unix_ns: unix.as_nanos() as u64 }
    })
}

/// Set if quanta finds the time stamp counter invariant; [`raw`] may then read it directly.
static READS_TSC: AtomicBool = AtomicBool::new(false);

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn tsc() -> u64 {
    // SAFETY: every x86-64 has the counter, and Linux, macOS and Windows let programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether quanta's clock is the counter itself: then each of its readings is between two of ours.
#[cfg(target_arch = "x86_64")]
fn is_tsc(clock: &quanta::Clock) -> bool {
    (0..8).all(|_| {
        let (before, theirs, after) = (tsc(), clock.raw(), tsc());
        before <= theirs && theirs <= after
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn is_tsc(_: &quanta::Clock) -> bool {
    false
}

/// Reads the time stamp counter: one instruction if it is invariant, otherwise the monotonic clock.
#[inline(always)]
pub fn raw() -> u64 {
    #[cfg(target_arch = "x86_64")]
    if READS_TSC.load(Ordering::Relaxed) {
        return tsc();
    }
    raw_by_quanta()
}

#[inline(never)]
fn raw_by_quanta() -> u64 {
    base().clock.raw()
}

/// Keeps the CPU from reading the counter out of program order.
#[inline(always)]
fn in_place() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    fence(Ordering::SeqCst);
}

/// Returns the Unix time in ns at which this process first read its clock: the origin of `raw_to_ns`.
pub fn unix_base_ns() -> u64 {
    base().unix_ns
}

/// Converts a raw reading to nanoseconds since this process first read its clock.
pub fn raw_to_ns(raw: u64) -> u64 {
    let base = base();
    base.clock.delta_as_nanos(base.raw, raw.max(base.raw))
}

/// Returns the monotonic nanoseconds of this process; never frozen.
pub fn now_ns() -> u64 {
    raw_to_ns(raw())
}

/// Returns the CPU time of the calling thread in ns; 0 if the system does not report it.
pub fn thread_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns the CPU time of all threads of this process in ns; 0 if the system does not report it.
pub fn process_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the reading to `time`, which is valid for writes.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    if failed != 0 { 0 } else { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
}

/// A point in engine time: nanoseconds since the process first read its clock, minus all frozen time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EngineInstant(pub u64);

impl EngineInstant {
    /// Returns the engine time since an earlier point; 0 if that point is later.
    pub fn saturating_since(self, earlier: EngineInstant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the engine time since this point.
    pub fn elapsed(self) -> Duration {
        EngineClock::now().saturating_since(self)
    }
}

impl std::ops::Add<Duration> for EngineInstant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        EngineInstant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Sequence number (odd during a change), engine time at the freeze (0: running), and total frozen time so
/// far.
static SEQ: AtomicU64 = AtomicU64::new(0);
static FROZEN_AT: AtomicU64 = AtomicU64::new(0);
static LOST_NS: AtomicU64 = AtomicU64::new(0);
/// Number of freezes in force.
static HOLDERS: Mutex<u64> = Mutex::new(0);

/// The engine's clock in this process. Frozen while any [`FreezeGuard`] exists.
pub struct EngineClock;

impl EngineClock {
    /// Reads the clock without a lock; never runs backwards, across all threads.
    pub fn now() -> EngineInstant {
        loop {
            let seq = SEQ.load(Ordering::Acquire);
            in_place();
            let now = now_ns();
            in_place();
            let (frozen, lost) = (FROZEN_AT.load(Ordering::Relaxed), LOST_NS.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if seq & 1 == 0 && SEQ.load(Ordering::Relaxed) == seq {
                return EngineInstant(if frozen != 0 { frozen } else { now.saturating_sub(lost) });
            }
            std::hint::spin_loop();
        }
    }

    /// Returns milliseconds since the Unix epoch as the engine sees them: real time minus all frozen time.
    pub fn wall_ms() -> u64 {
        (base().unix_ns + Self::now().0) / 1_000_000
    }

    /// Whether engine time is frozen.
    pub fn is_frozen() -> bool {
        FROZEN_AT.load(Ordering::Relaxed) != 0
    }

    /// Stops engine time until the guard is dropped; freezes nest.
    pub fn freeze() -> FreezeGuard {
        let mut holders = HOLDERS.lock();
        if *holders == 0 {
            change(|| {
                let now = now_ns().saturating_sub(LOST_NS.load(Ordering::Relaxed));
                FROZEN_AT.store(now.max(1), Ordering::Relaxed);
            });
        }
        *holders += 1;
        FreezeGuard(())
    }
}

/// Changes freeze and loss atomically; the caller must hold HOLDERS. A reader that sees a change retries.
fn change(write: impl FnOnce()) {
    SEQ.fetch_add(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    in_place();
    write();
    SEQ.fetch_add(1, Ordering::Release);
}

/// Keeps engine time frozen.
#[must_use = "engine time continues when the guard is dropped"]
#[derive(Debug)]
pub struct FreezeGuard(());

impl Drop for FreezeGuard {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock();
        *holders -= 1;
        if *holders == 0 {
            change(|| {
                let frozen = FROZEN_AT.swap(0, Ordering::Relaxed);
                LOST_NS.store(now_ns().saturating_sub(frozen), Ordering::Relaxed);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_time_stops_and_resumes_where_it_stopped() {
        let outer = EngineClock::freeze();
        let stood = EngineClock::now();
        let inner = EngineClock::freeze();
        std::thread::sleep(Duration::from_millis(20));
        drop(inner);
        assert_eq!(EngineClock::now(), stood);
        drop(outer);
        let after = EngineClock::now();
        assert!(after >= stood, "engine time never runs backwards");
        assert!(now_ns() - after.0 >= 20_000_000, "frozen time is not caught up later");
    }

    #[test]
    fn the_longest_duration_never_ends() {
        let end = EngineClock::now() + Duration::from_millis(u64::MAX);
        assert_eq!(end, EngineInstant(u64::MAX));
    }

    #[test]
    fn engine_time_never_runs_backwards_during_freezes() {
        use std::sync::{Arc, atomic::AtomicBool};
        let stop = Arc::new(AtomicBool::new(false));
        let last = Arc::new(AtomicU64::new(0));
        let readers = (0..3).map(|_| {
            let (stop, last) = (stop.clone(), last.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let floor = last.load(Ordering::SeqCst);
                    let now = EngineClock::now().0;
                    assert!(now >= floor, "{now} was read after {floor}");
                    last.fetch_max(now, Ordering::SeqCst);
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        for _ in 0..20_000 {
            drop(EngineClock::freeze());
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|r| r.join().unwrap());
    }

    #[test]
    fn the_raw_counter_and_wall_time_keep_pace_with_the_system() {
        let (raw, system) = (now_ns(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        let (ours, theirs) = (now_ns() - raw, system.elapsed().as_nanos() as u64);
        assert!(ours.abs_diff(theirs) < theirs / 10, "{ours} ns by the counter, {theirs} ns by the system");
    }
}
