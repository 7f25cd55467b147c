//! The end of a request and its waits: marks that report to the collector what no stage shows.
use serde::{Deserialize, Serialize};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Outcome {
    /// Unknown: its end was not seen, or its kind has no outcome.
    #[default]
    Unknown,
    /// The reply has no error.
    Ok,
    /// The reply carries a key error: a lock, a write conflict, ...
    KeyError,
    /// The reply carries a region error: not leader, epoch not match, server is busy, ...
    RegionError,
    /// The request exceeded its client's deadline.
    DeadlineExceeded,
    /// The reply carries an error of another kind.
    Error,
    /// The client disconnected before there was a reply.
    Cancelled,
}

impl Outcome {
    /// Every outcome, by its number.
    pub const ALL: [Outcome; 7] = [
        Self::Unknown,
        Self::Ok,
        Self::KeyError,
        Self::RegionError,
        Self::DeadlineExceeded,
        Self::Error,
        Self::Cancelled,
    ];

    /// Returns the snake-case name, e.g. `key_error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::KeyError => "key_error",
            Self::RegionError => "region_error",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the client has no result.
    pub fn failed(self) -> bool {
        !matches!(self, Self::Unknown | Self::Ok)
    }
}

/// The end of a request, encoded in its mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether its client asked to keep it.
    pub asked: bool,
    /// `Context.max_execution_duration_ms`; 0: none.
    pub limit_ms: u64,
    /// The first 16 bytes of `Context.trace_id`; zeros: none.
    pub trace_id: [u8; 16],
}

const ASKED: u64 = 1 << 8;

impl Ending {
    /// Makes an ending without a deadline and a trace id.
    pub fn with_outcome(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    pub(crate) fn to_fields(self) -> [u64; 4] {
        let id = u128::from_be_bytes(self.trace_id);
        let outcome = self.outcome as u64 | if self.asked { ASKED } else { 0 };
        [outcome, self.limit_ms, (id >> 64) as u64, id as u64]
    }

    pub(crate) fn from_fields([outcome, limit_ms, high, low]: [u64; 4]) -> Self {
        let id = u128::from(high) << 64 | u128::from(low);
        Self {
            outcome: Outcome::ALL.get((outcome & 0xff) as usize).copied().unwrap_or_default(),
            asked: outcome & ASKED != 0,
            limit_ms,
            trace_id: id.to_be_bytes(),
        }
    }
}

/// A wait that no stage shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A latch that the command `holder` of the same store has; `cid` is the waiting command.
    Latch {
        /// The command that waits.
        cid: u64,
        /// The command that holds the latch.
        holder: u64,
    },
    /// The lock of the transaction that began at `lock_ts`.
    Lock {
        /// The start timestamp of the lock.
        lock_ts: u64,
    },
}

impl Wait {
    pub(crate) fn to_fields(self) -> [u64; 4] {
        match self {
            Wait::Latch { cid, holder } => [1, cid, holder, 0],
            Wait::Lock { lock_ts } => [2, lock_ts, 0, 0],
        }
    }

    pub(crate) fn from_fields(fields: [u64; 4]) -> Option<Self> {
        match fields {
            [1, cid, holder, _] => Some(Wait::Latch { cid, holder }),
            [2, lock_ts, ..] => Some(Wait::Lock { lock_ts }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_and_waits_survive_encoding_in_a_mark() {
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, i);
            let ending = Ending { outcome, asked: i % 2 == 0, limit_ms: 77, trace_id: [i as u8; 16] };
            assert_eq!(Ending::from_fields(ending.to_fields()), ending);
        }
        for wait in [Wait::Latch { cid: 1, holder: 2 }, Wait::Lock { lock_ts: 3 }] {
            assert_eq!(Wait::from_fields(wait.to_fields()), Some(wait));
        }
        assert_eq!(Wait::from_fields([9, 1, 1, 1]), None);
        assert_eq!(Ending::from_fields([250, 0, 0, 0]).outcome, Outcome::Unknown);
    }
}
