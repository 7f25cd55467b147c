//! Limit of bytes per second: a bucket that fills with time, and that writes empty.
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tracepoints::{EngineClock, clock::EngineInstant};

/// Capacity of the bucket, as the seconds in which it fills.
const BURST_SECS: f64 = 0.001;

#[derive(Debug)]
pub(super) struct Limiter {
    /// Bytes per second, as bits of an `f64`.
    speed: AtomicU64,
    /// Total bytes of writes since the checker asked last.
    consumed: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes that may be written at once; negative: bytes that wait.
    available: f64,
    filled: EngineInstant,
}

impl Default for Limiter {
    fn default() -> Self {
        let speed = AtomicU64::new(f64::INFINITY.to_bits());
        Self { speed, consumed: AtomicU64::new(0), bucket: Mutex::default() }
    }
}

impl Limiter {
    pub fn speed(&self) -> f64 {
        f64::from_bits(self.speed.load(Ordering::Relaxed))
    }

    pub fn is_unlimited(&self) -> bool {
        self.speed().is_infinite()
    }

    pub fn set_speed(&self, speed: f64) {
        let mut bucket = self.bucket.lock();
        // Writes from before the limit do not count against it.
        if self.is_unlimited() {
            *bucket = Bucket { available: 0.0, filled: EngineClock::now() };
        }
        self.speed.store(speed.to_bits(), Ordering::Relaxed);
    }

    /// Counts a write and returns the time that it must wait.
    pub fn consume(&self, bytes: usize) -> Duration {
        self.consumed.fetch_add(bytes as u64, Ordering::Relaxed);
        let speed = self.speed();
        if speed.is_infinite() {
            return Duration::ZERO;
        }
        let mut bucket = self.bucket.lock();
        let now = EngineClock::now();
        let refilled = now.saturating_since(bucket.filled).as_secs_f64() * speed;
        bucket.available = (bucket.available + refilled).min(speed * BURST_SECS) - bytes as f64;
        bucket.filled = now;
        // A speed is at least 16 KiB per second, so the division cannot overflow.
        Duration::try_from_secs_f64((-bucket.available / speed).max(0.0)).unwrap_or_default()
    }

    /// Takes back the bytes of a write that did not happen.
    pub fn unconsume(&self, bytes: usize) {
        // The checker may have reset the count since the write was added: do not go below 0.
        let _ = self
            .consumed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| Some(all.saturating_sub(bytes as u64)));
        self.bucket.lock().available += bytes as f64;
    }

    /// Returns the bytes since the last call.
    pub fn take_consumed(&self) -> u64 {
        self.consumed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_write_waits_for_those_before_it() {
        let stopped = EngineClock::freeze();
        let limiter = Limiter::default();
        assert_eq!(limiter.consume(1 << 30), Duration::ZERO, "unlimited");
        limiter.set_speed(1000.0);
        assert_eq!(limiter.consume(500), Duration::from_millis(500), "no debt from before the limit");
        assert_eq!(limiter.consume(500), Duration::from_secs(1));
        limiter.unconsume(500);
        assert_eq!(limiter.consume(250), Duration::from_millis(750));
        assert_eq!(limiter.take_consumed(), (1 << 30) + 750);
        assert_eq!(limiter.take_consumed(), 0);
        drop(stopped);
    }
}
