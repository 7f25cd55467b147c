//! PD's clock: the engine's, so that timestamps and TTLs stop while a request is held.

/// PD's wall clock.
pub trait PdClock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
}

/// Engine time of this process ([`tracepoints::EngineClock`]).
#[derive(Debug, Default)]
pub struct EngineWallClock;

impl PdClock for EngineWallClock {
    fn wall_ms(&self) -> u64 {
        tracepoints::EngineClock::wall_ms()
    }
}

/// A clock that tests set by hand.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct ManualClock(pub std::sync::atomic::AtomicU64);

#[cfg(test)]
impl ManualClock {
    pub fn at(ms: u64) -> std::sync::Arc<Self> {
        std::sync::Arc::new(ManualClock(ms.into()))
    }

    pub fn set(&self, ms: u64) {
        self.0.store(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl PdClock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
