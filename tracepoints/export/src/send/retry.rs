//! Classifies a failed attempt and computes the wait before the next one.
use std::time::Duration;

use super::SendConfig;

/// The result of a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub what: String,
    /// Whether a later attempt with the same message may succeed.
    pub retry: bool,
    /// Wait that the collector asks for.
    pub after: Option<Duration>,
}

impl Failure {
    pub fn final_one(what: impl Into<String>) -> Self {
        Self { what: what.into(), retry: false, after: None }
    }

    pub fn passing(what: impl Into<String>) -> Self {
        Self { what: what.into(), retry: true, after: None }
    }
}

/// Returns the wait before retry `n` (from 0): doubled each time, at least the collector's wish, at most the
/// bound, with a little jitter so that many senders do not retry at once.
pub(super) fn wait(config: &SendConfig, n: u32, failure: &Failure, spread: u64) -> Duration {
    let doubled = config.backoff.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX));
    let wait = doubled.max(failure.after.unwrap_or_default()).min(config.max_backoff);
    wait.mul_f64(0.8 + (spread % 1000) as f64 / 5000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let config = SendConfig::new("grpc://a".parse().unwrap());
        let failure = Failure::passing("down");
        let waits: Vec<u128> = (0..7).map(|n| wait(&config, n, &failure, 999).as_millis()).collect();
        assert_eq!(waits, [199, 399, 799, 1599, 3199, 4999, 4999]);
        let asked = Failure { after: Some(Duration::from_secs(3)), ..failure };
        assert_eq!(wait(&config, 0, &asked, 0).as_millis(), 2400);
    }
}
