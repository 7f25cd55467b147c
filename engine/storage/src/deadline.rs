//! When a request has taken too long, by engine time: a held request never does.
//!
//! Mirrors `components/tikv_util/src/deadline.rs`.
use std::time::Duration;

use kvproto::kvrpcpb::Context;
use tracepoints::{EngineClock, clock::EngineInstant};

use crate::errors::{ErrorInner, Result};

/// For requests that do not say.
const DEFAULT_EXECUTION_DURATION_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A point in engine time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: EngineInstant,
    /// Whether the client said so.
    limited: bool,
}

impl Deadline {
    /// That of a request that has just arrived.
    pub fn of(ctx: &Context) -> Self {
        let limit = match ctx.max_execution_duration_ms {
            0 => DEFAULT_EXECUTION_DURATION_LIMIT,
            ms => Duration::from_millis(ms),
        };
        Self { at: EngineClock::now() + limit, limited: ctx.max_execution_duration_ms != 0 }
    }

    pub(crate) fn at(self) -> EngineInstant {
        self.at
    }

    pub(crate) fn is_limited(self) -> bool {
        self.limited
    }

    /// Real time may run ahead of engine time: looks again until engine time is there.
    pub(crate) async fn passed(self) {
        while self.check().is_ok() {
            let left = self.at.saturating_since(EngineClock::now());
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }

    /// # Errors
    /// `DeadlineExceeded` once it is over.
    pub fn check(self) -> Result<()> {
        if EngineClock::now() > self.at { Err(ErrorInner::DeadlineExceeded.into()) } else { Ok(()) }
    }
}
