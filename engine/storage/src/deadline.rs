//! Deadline of a request in engine time, which stands still while a request is held.
//!
//! Mirrors `components/tikv_util/src/deadline.rs`.
use std::time::Duration;

use kvproto::kvrpcpb::Context;
use tracepoints::{EngineClock, clock::EngineInstant};

use crate::errors::{ErrorInner, Result};

/// Limit of a request without its own limit.
const DEFAULT_EXECUTION_DURATION_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Deadline in engine time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: EngineInstant,
    /// Whether the client set a limit.
    limited: bool,
}

impl Deadline {
    /// Computes the deadline of a request that arrives now.
    pub fn from_context(ctx: &Context) -> Self {
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

    /// Waits until the deadline has passed. Engine time may be slower than real time: sleeps repeatedly.
    pub(crate) async fn passed(self) {
        while self.check().is_ok() {
            let left = self.at.saturating_since(EngineClock::now());
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }

    /// Checks the deadline.
    ///
    /// # Errors
    /// `DeadlineExceeded` after the deadline.
    pub fn check(self) -> Result<()> {
        if EngineClock::now() > self.at { Err(ErrorInner::DeadlineExceeded.into()) } else { Ok(()) }
    }
}
