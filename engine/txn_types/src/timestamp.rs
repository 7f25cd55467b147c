//! Timestamps of the TSO: physical milliseconds, then a logical counter.
use std::{collections::HashSet, fmt, sync::Arc};

/// Number of bits of the logical part.
pub const TSO_PHYSICAL_SHIFT_BITS: u64 = 18;

/// A TSO timestamp: milliseconds since the Unix epoch << 18 | logical.
///
/// Has no `physical_now`: time comes only from the engine's clock, so that a gate can freeze it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[repr(transparent)]
pub struct TimeStamp(u64);

impl TimeStamp {
    /// Composes a timestamp; `physical` is in milliseconds.
    pub const fn compose(physical: u64, logical: u64) -> TimeStamp {
        TimeStamp((physical << TSO_PHYSICAL_SHIFT_BITS).wrapping_add(logical))
    }

    /// Returns the smallest timestamp, which also means "none".
    pub const fn zero() -> TimeStamp {
        TimeStamp(0)
    }

    /// Returns the greatest timestamp, which also means "the latest version".
    pub const fn max() -> TimeStamp {
        TimeStamp(u64::MAX)
    }

    /// Creates a timestamp from its 64 bits.
    pub const fn new(ts: u64) -> TimeStamp {
        TimeStamp(ts)
    }

    /// Returns the physical part, in milliseconds.
    pub const fn physical(self) -> u64 {
        self.0 >> TSO_PHYSICAL_SHIFT_BITS
    }

    /// Returns the logical part.
    pub const fn logical(self) -> u64 {
        self.0 & ((1 << TSO_PHYSICAL_SHIFT_BITS) - 1)
    }

    /// Returns the next timestamp; the greatest one stays unchanged.
    #[must_use]
    pub const fn next(self) -> TimeStamp {
        TimeStamp(self.0.saturating_add(1))
    }

    /// Returns the previous timestamp; zero stays unchanged.
    #[must_use]
    pub const fn prev(self) -> TimeStamp {
        TimeStamp(self.0.saturating_sub(1))
    }

    /// Whether the timestamp is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether the timestamp is the greatest one.
    pub const fn is_max(self) -> bool {
        self.0 == u64::MAX
    }

    /// Returns the 64 bits.
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl From<u64> for TimeStamp {
    fn from(ts: u64) -> TimeStamp {
        TimeStamp(ts)
    }
}

impl From<TimeStamp> for u64 {
    fn from(ts: TimeStamp) -> u64 {
        ts.0
    }
}

impl fmt::Display for TimeStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Up to this size a linear search is faster than a hash lookup.
const TS_SET_USE_VEC_LIMIT: usize = 8;

/// Set of timestamps that is cheap to clone, such as the locks a reader may bypass.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum TsSet {
    /// No timestamps.
    #[default]
    Empty,
    /// A few.
    Vec(Arc<[TimeStamp]>),
    /// Many.
    Set(Arc<HashSet<TimeStamp>>),
}

impl TsSet {
    /// Creates a set of `ts`.
    pub fn new(ts: Vec<TimeStamp>) -> TsSet {
        if ts.is_empty() {
            TsSet::Empty
        } else if ts.len() <= TS_SET_USE_VEC_LIMIT {
            TsSet::Vec(ts.into())
        } else {
            TsSet::Set(Arc::new(ts.into_iter().collect()))
        }
    }

    /// Creates a set from timestamps as on the wire.
    pub fn from_u64s(ts: Vec<u64>) -> TsSet {
        TsSet::new(ts.into_iter().map(TimeStamp::new).collect())
    }

    /// Whether `ts` is in the set.
    pub fn contains(&self, ts: TimeStamp) -> bool {
        match self {
            TsSet::Empty => false,
            TsSet::Vec(few) => few.contains(&ts),
            TsSet::Set(many) => many.contains(&ts),
        }
    }

    /// Whether the set has no timestamps.
    pub fn is_empty(&self) -> bool {
        matches!(self, TsSet::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_compose_and_split() {
        let ts = TimeStamp::compose(1_600_000_000_000, 77);
        assert_eq!((ts.physical(), ts.logical()), (1_600_000_000_000, 77));
        assert_eq!(ts.into_inner(), (1_600_000_000_000 << 18) | 77);
        assert_eq!(ts.to_string(), "419430400000000077");
    }

    #[test]
    fn neighbours_stop_at_the_ends() {
        assert_eq!(TimeStamp::new(5).next(), TimeStamp::new(6));
        assert_eq!(TimeStamp::new(5).prev(), TimeStamp::new(4));
        assert_eq!(TimeStamp::max().next(), TimeStamp::max());
        assert_eq!(TimeStamp::zero().prev(), TimeStamp::zero());
    }

    #[test]
    fn a_set_contains_its_timestamps() {
        for len in [0, 1, 8, 9, 100] {
            let set = TsSet::from_u64s((0..len).map(|i| i * 2).collect());
            assert_eq!(set.is_empty(), len == 0);
            for i in 0..len {
                assert!(set.contains((i * 2).into()));
                assert!(!set.contains((i * 2 + 1).into()));
            }
        }
    }
}
