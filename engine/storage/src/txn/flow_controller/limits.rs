//! Decisions of the checker, which the scheduler reads.
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use rand::Rng;

use super::{factors::FlowControlConfig, limiter::Limiter};

/// Denominator of the discard ratio.
const RATIO_SCALE_FACTOR: u32 = 10_000_000;

pub(super) struct Limits {
    pub config: Mutex<FlowControlConfig>,
    pub limiter: Limiter,
    discard_ratio: AtomicU32,
}

impl Limits {
    pub fn new(config: FlowControlConfig) -> Self {
        Self { config: Mutex::new(config), limiter: Limiter::default(), discard_ratio: AtomicU32::new(0) }
    }

    /// Returns the share of commands to reject, from 0 to 1.
    pub fn discard_ratio(&self) -> f64 {
        f64::from(self.discard_ratio.load(Ordering::Relaxed)) / f64::from(RATIO_SCALE_FACTOR)
    }

    /// Sets the share; a value below 0 counts as 0, and one above 1 as 1.
    pub fn set_discard_ratio(&self, ratio: f64) {
        let scaled = (ratio.clamp(0.0, 1.0) * f64::from(RATIO_SCALE_FACTOR)) as u32;
        self.discard_ratio.store(scaled, Ordering::Relaxed);
    }

    /// Decides at random whether to reject a command.
    pub fn should_drop(&self) -> bool {
        match self.discard_ratio.load(Ordering::Relaxed) {
            0 => false,
            ratio => rand::rng().random_ratio(ratio, RATIO_SCALE_FACTOR),
        }
    }
}
