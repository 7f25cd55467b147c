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
pub struct Deadline(EngineInstant);

impl Deadline {
    /// That of a request that has just arrived.
    pub fn of(ctx: &Context) -> Self {
        let limit = match ctx.max_execution_duration_ms {
            0 => DEFAULT_EXECUTION_DURATION_LIMIT,
            ms => Duration::from_millis(ms),
        };
        Self(EngineClock::now() + limit)
    }

    /// # Errors
    /// `DeadlineExceeded` once it is over.
    pub fn check(self) -> Result<()> {
        if EngineClock::now() > self.0 { Err(ErrorInner::DeadlineExceeded.into()) } else { Ok(()) }
    }
}
