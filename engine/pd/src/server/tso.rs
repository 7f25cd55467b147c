//! The timestamp oracle: physical milliseconds and a logical counter, never granted twice, not even after a crash.
//!
//! The file contains an upper bound of the physical part, one window ahead (tikv/pd `pkg/tso`). After a start
//! timestamps begin at the bound.
use std::sync::Arc;

use kvproto::pdpb::{ErrorType, Timestamp};
use parking_lot::Mutex;

use super::{
    clock::PdClock,
    error::{Refusal, Result},
    state_file::StateFile,
};

/// Distance from the physical part to the saved bound in milliseconds (PD `tso-save-interval`).
const SAVE_WINDOW_MS: u64 = 3000;
/// The logical part has 18 bits of a timestamp.
const LOGICAL_LIMIT: u64 = 1 << 18;

pub struct TimestampOracle {
    clock: Arc<dyn PdClock>,
    file: StateFile,
    state: Mutex<TsoState>,
}

struct TsoState {
    physical: u64,
    logical: u64,
    /// The bound on disk: no timestamp at or above it was ever granted.
    saved: u64,
}

impl TimestampOracle {
    /// Opens the bound in `file`; 0, or `None` from [`StateFile::load`],
    /// means that no timestamp was granted yet.
    pub fn open(file: StateFile, clock: Arc<dyn PdClock>) -> Result<TimestampOracle> {
        let saved = match file.load()? {
            None => 0,
            Some(bytes) => match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(bytes) => u64::from_le_bytes(bytes),
                Err(_) => {
                    return Err(file.corrupt(format!("expected a payload of 8 bytes, found {}", bytes.len())));
                }
            },
        };
        Ok(TimestampOracle {
            clock,
            file,
            state: Mutex::new(TsoState { physical: saved, logical: 0, saved }),
        })
    }

    /// Creates the file, so that a missing file later means that it was lost.
    pub fn create(&self) -> Result<()> {
        self.file.save(&self.state.lock().saved.to_le_bytes())
    }

    /// Returns whether a timestamp may have been granted from this directory.
    pub fn was_used(&self) -> bool {
        self.state.lock().saved > 0
    }

    /// Grants `count` timestamps with one physical part; returns the largest (pdpb `TsoResponse.timestamp`).
    pub fn grant(&self, count: u32) -> std::result::Result<Timestamp, Refusal> {
        let count = u64::from(count);
        if count == 0 || count >= LOGICAL_LIMIT {
            let message = format!("expected a tso count from 1 to {}, found {count}", LOGICAL_LIMIT - 1);
            return Err(Refusal::new(ErrorType::InvalidValue, message));
        }
        let mut state = self.state.lock();
        state.advance(self.clock.wall_ms(), count);
        if state.physical >= state.saved {
            let bound = state.physical + SAVE_WINDOW_MS;
            self.file.save(&bound.to_le_bytes())?;
            state.saved = bound;
        }
        state.logical += count;
        Ok(Timestamp { physical: state.physical as i64, logical: state.logical as i64, ..Default::default() })
    }
}

impl TsoState {
    /// Advances to the clock's time, and further if the logical part has no room for `count` more timestamps.
    fn advance(&mut self, clock_ms: u64, count: u64) {
        if clock_ms > self.physical {
            self.physical = clock_ms;
            self.logical = 0;
        }
        if self.logical + count >= LOGICAL_LIMIT {
            self.physical += 1;
            self.logical = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::clock::ManualClock;

    fn open(dir: &std::path::Path, clock: &Arc<ManualClock>) -> TimestampOracle {
        TimestampOracle::open(StateFile::new(dir, "tso.state"), clock.clone()).unwrap()
    }

    #[test]
    fn a_batch_ends_with_its_largest_timestamp() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1000);
        let oracle = open(dir.path(), &clock);
        let first = oracle.grant(10).unwrap();
        assert_eq!((first.physical, first.logical), (1000, 10));
        assert_eq!(oracle.grant(1).unwrap().logical, 11);
        clock.set(1001);
        let next = oracle.grant(2).unwrap();
        assert_eq!((next.physical, next.logical), (1001, 2));
        clock.set(900);
        assert_eq!(
            oracle.grant(1).unwrap().to_ts(),
            next.to_ts() + 1,
            "timestamps do not follow a clock that moves back"
        );
    }

    #[test]
    fn timestamps_grow_under_a_frozen_clock() {
        let dir = tempfile::tempdir().unwrap();
        let oracle = open(dir.path(), &ManualClock::at(1000));
        let mut last = 0;
        for _ in 0..40 {
            let ts = oracle.grant(20_000).unwrap();
            assert!(ts.logical < 1 << 18, "logical {} ran past its 18 bits", ts.logical);
            assert!(ts.to_ts() - 19_999 > last, "a batch begins above the previous one");
            last = ts.to_ts();
        }
        assert_eq!(Timestamp::from_ts(last).physical, 1003);
    }

    #[test]
    fn a_restart_never_grants_a_timestamp_again() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(50_000);
        let mut last = 0;
        for _ in 0..5 {
            let oracle = open(dir.path(), &clock);
            for _ in 0..3 {
                let ts = oracle.grant(200_000).unwrap();
                assert!(ts.to_ts() - 199_999 > last);
                last = ts.to_ts();
            }
            clock.set(clock.wall_ms() - 10_000);
        }
    }

    #[test]
    fn counts_that_cannot_be_granted_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let oracle = open(dir.path(), &ManualClock::at(1000));
        assert!(oracle.grant(0).is_err());
        assert!(oracle.grant(1 << 18).is_err());
        assert!(oracle.grant((1 << 18) - 1).is_ok());
    }
}
