//! Limits how far a caller's timestamp may raise max_ts: up to PD's clock plus an allowed drift.
//!
//! Mirrors `MaxTsLimit` and its checks in `components/concurrency_manager`.
use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use tracepoints::{EngineClock, clock::EngineInstant};
use txn_types::TimeStamp;

/// Time within which PD must confirm that a timestamp is out of bounds.
const TSO_TIMEOUT: Duration = Duration::from_secs(5);
/// Number of PD synchronisation intervals for which the limit is trusted; later it advances with the clock.
const LIMIT_VALID_TIME_MULTIPLIER: u32 = 3;

/// Source of fresh timestamps.
pub trait TsoProvider: Send + Sync + 'static {
    /// Allocates a timestamp at PD; `None` if PD does not answer within `timeout`. Blocks the thread.
    fn get_tso(&self, timeout: Duration) -> Option<TimeStamp>;
}

/// Reaction to a timestamp out of bounds (`storage.max-ts.action-on-invalid-update`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionOnInvalidMaxTs {
    /// Abort the process.
    Panic,
    /// Refuse the request.
    Error,
    /// Serve the request and log an error.
    Log,
}

impl FromStr for ActionOnInvalidMaxTs {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.to_ascii_lowercase().as_str() {
            "panic" => Ok(Self::Panic),
            "error" => Ok(Self::Error),
            "log" => Ok(Self::Log),
            _ => Err(format!("expected panic, error or log, found {s:?}")),
        }
    }
}

/// Timestamp beyond the limit, which no correct caller can have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid max_ts update: {attempted_ts} exceeds the limit {limit}")]
pub struct InvalidMaxTsUpdate {
    /// Timestamp that the request carries.
    pub attempted_ts: TimeStamp,
    /// Greatest timestamp that can come from PD now.
    pub limit: TimeStamp,
}

/// Limit of max_ts and the reaction to a timestamp beyond it. Reading the limit takes no lock.
#[derive(Default)]
pub struct MaxTsBound {
    /// Greatest timestamp that PD has reported; 0: none yet.
    exact: AtomicU64,
    /// `exact` plus the allowed drift.
    drifted: AtomicU64,
    /// Time of the last increase of the limit, as an [`EngineInstant`].
    updated_at: AtomicU64,
    drift_ms: AtomicU64,
    valid_for: Duration,
    action: AtomicU8,
    tso: Option<Arc<dyn TsoProvider>>,
}

impl MaxTsBound {
    /// `max_drift`: allowed lead over PD's timestamps. `sync_interval`: interval between calls of
    /// [`MaxTsBound::set_limit`].
    pub fn new(
        max_drift: Duration,
        sync_interval: Duration,
        action: ActionOnInvalidMaxTs,
        tso: Arc<dyn TsoProvider>,
    ) -> Self {
        let bound = Self {
            valid_for: sync_interval * LIMIT_VALID_TIME_MULTIPLIER,
            tso: Some(tso),
            ..Self::default()
        };
        bound.configure(max_drift, action);
        bound
    }

    /// Changes the configuration: `action` for the next check, `max_drift` with PD's next timestamp.
    pub fn configure(&self, max_drift: Duration, action: ActionOnInvalidMaxTs) {
        self.drift_ms.store(max_drift.as_millis() as u64, Relaxed);
        self.action.store(action as u8, Relaxed);
    }

    fn action(&self) -> ActionOnInvalidMaxTs {
        const PANIC: u8 = ActionOnInvalidMaxTs::Panic as u8;
        const LOG: u8 = ActionOnInvalidMaxTs::Log as u8;
        match self.action.load(Relaxed) {
            PANIC => ActionOnInvalidMaxTs::Panic,
            LOG => ActionOnInvalidMaxTs::Log,
            _ => ActionOnInvalidMaxTs::Error,
        }
    }

    /// Raises the limit after PD allocated `tso`. The limit never decreases. TiKV: `set_max_ts_limit`.
    pub fn set_limit(&self, tso: TimeStamp) {
        if tso.is_max() {
            return log::error!(
                "expected a timestamp from PD, found the maximum, which stands for no timestamp: check PD's clock"
            );
        }
        let physical = tso.physical().saturating_add(self.drift_ms.load(Relaxed));
        let drifted = TimeStamp::compose(physical, tso.logical());
        self.exact.fetch_max(tso.into_inner(), SeqCst);
        self.drifted.fetch_max(drifted.into_inner(), SeqCst);
        self.updated_at.store(EngineClock::now().0, SeqCst);
    }

    fn limit(&self, exact: bool) -> TimeStamp {
        let limit = if exact { &self.exact } else { &self.drifted };
        limit.load(SeqCst).into()
    }

    /// Checks whether `ts` may raise max_ts. `exact`: no drift. Asks PD if the known limit is below `ts`.
    ///
    /// # Errors
    /// [`InvalidMaxTsUpdate`] if PD confirms that `ts` is out of bounds.
    pub(super) fn check(&self, ts: TimeStamp, exact: bool, source: &str) -> Result<(), InvalidMaxTsUpdate> {
        let limit = self.limit(exact);
        // The maximum timestamp means "the latest version" and raises nothing.
        if ts.is_max() || self.tso.is_none() || (ts <= limit && !limit.is_zero()) {
            return Ok(());
        }
        if !exact && (limit.is_zero() || ts <= self.approximate_limit()) {
            return Ok(());
        }
        self.double_check(ts, exact, source)
    }

    /// Returns the drifted limit, advanced by the clock if PD was not synchronised recently.
    fn approximate_limit(&self) -> TimeStamp {
        let limit = self.limit(false);
        let age = EngineInstant(self.updated_at.load(SeqCst)).elapsed();
        if age < self.valid_for {
            return limit;
        }
        TimeStamp::compose(limit.physical().saturating_add(age.as_millis() as u64), limit.logical())
    }

    /// TiKV: `double_check` and `report_error`. Accepts the timestamp if PD does not answer.
    fn double_check(&self, ts: TimeStamp, exact: bool, source: &str) -> Result<(), InvalidMaxTsUpdate> {
        let fresh = self.tso.as_ref().and_then(|tso| tso.get_tso(TSO_TIMEOUT));
        if let Some(fresh) = fresh {
            self.set_limit(fresh);
        }
        let limit = self.limit(exact);
        if ts <= limit {
            return Ok(());
        }
        let error = InvalidMaxTsUpdate { attempted_ts: ts, limit };
        if fresh.is_none() {
            log::warn!("{source}: {error}, but PD does not answer to confirm it; accepting the request");
            return Ok(());
        }
        log::error!("{source}: {error}; the caller's timestamp is not from this cluster's PD");
        match self.action() {
            ActionOnInvalidMaxTs::Log => Ok(()),
            ActionOnInvalidMaxTs::Error => Err(error),
            // Abort instead of panic: a panic ends only one thread, the operator wants to end the process.
            ActionOnInvalidMaxTs::Panic => std::process::abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pd(AtomicU64);

    impl TsoProvider for Pd {
        fn get_tso(&self, _: Duration) -> Option<TimeStamp> {
            Some(self.0.load(SeqCst).into()).filter(|ts: &TimeStamp| !ts.is_zero())
        }
    }

    fn at(ms: u64) -> TimeStamp {
        TimeStamp::compose(ms, 0)
    }

    fn bound(pd: &Arc<Pd>, action: ActionOnInvalidMaxTs) -> MaxTsBound {
        let bound = MaxTsBound::new(Duration::from_secs(60), Duration::from_secs(15), action, pd.clone());
        bound.set_limit(at(1_000_000));
        bound
    }

    #[test]
    fn a_timestamp_beyond_the_drift_is_refused_once_pd_confirms_it() {
        let pd = Arc::new(Pd(AtomicU64::new(at(1_000_000).into_inner())));
        let bound = bound(&pd, ActionOnInvalidMaxTs::Error);
        assert_eq!(bound.check(at(1_060_000), false, "t"), Ok(()));
        assert_eq!(bound.check(TimeStamp::max(), false, "t"), Ok(()));
        let refused = bound.check(at(1_060_001), false, "t").unwrap_err();
        assert_eq!((refused.attempted_ts, refused.limit), (at(1_060_001), at(1_060_000)));
        for ts in [u64::MAX - 1, u64::MAX / 2] {
            assert!(bound.check(ts.into(), false, "t").is_err(), "{ts}");
        }
        // PD's clock has advanced since.
        pd.0.store(at(1_000_001).into_inner(), SeqCst);
        assert_eq!(bound.check(at(1_060_001), false, "t"), Ok(()));
    }

    #[test]
    fn an_exact_check_allows_no_drift() {
        let pd = Arc::new(Pd(AtomicU64::new(at(1_000_000).into_inner())));
        let bound = bound(&pd, ActionOnInvalidMaxTs::Error);
        assert_eq!(bound.check(at(1_000_000), true, "t"), Ok(()));
        assert!(bound.check(at(1_000_000).next(), true, "t").is_err());
    }

    #[test]
    fn a_timestamp_passes_without_pds_answer_or_by_configuration() {
        let pd = Arc::new(Pd(AtomicU64::new(0)));
        assert_eq!(bound(&pd, ActionOnInvalidMaxTs::Error).check(at(9_000_000), false, "t"), Ok(()));
        pd.0.store(at(1_000_000).into_inner(), SeqCst);
        let logs = bound(&pd, ActionOnInvalidMaxTs::Log);
        assert_eq!(logs.check(at(9_000_000), false, "t"), Ok(()));
        logs.configure(Duration::from_secs(60), ActionOnInvalidMaxTs::Error);
        assert!(logs.check(at(9_000_000), false, "t").is_err());
    }

    #[test]
    fn the_limit_never_falls_and_ignores_the_maximum() {
        let pd = Arc::new(Pd(AtomicU64::new(at(10).into_inner())));
        let bound = bound(&pd, ActionOnInvalidMaxTs::Error);
        bound.set_limit(at(20));
        bound.set_limit(TimeStamp::max());
        assert_eq!(bound.limit(true), at(1_000_000));
    }

    #[test]
    fn actions_have_tikvs_names() {
        assert_eq!("Error".parse(), Ok(ActionOnInvalidMaxTs::Error));
        assert!("ignore".parse::<ActionOnInvalidMaxTs>().unwrap_err().contains("ignore"));
    }
}
