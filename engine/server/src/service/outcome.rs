//! The outcome of a command, derived from its reply.
use kvproto::{errorpb, kvrpcpb::*};
use tracepoints::Outcome;

/// The outcome of a reply, for the request's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyOutcome {
    pub outcome: Outcome,
    /// The transaction whose lock was in the way; 0: none.
    pub lock_ts: u64,
}

impl ReplyOutcome {
    pub fn without_lock(outcome: Outcome) -> Self {
        Self { outcome, lock_ts: 0 }
    }
}

/// A reply that can carry errors.
pub trait HasOutcome {
    /// Name of the message.
    const NAME: &'static str;

    fn reply_outcome(&self) -> ReplyOutcome;
}

pub fn from_region_error(error: &errorpb::Error) -> ReplyOutcome {
    let late = error.server_is_busy.as_ref().is_some_and(|busy| busy.reason == "deadline is exceeded");
    ReplyOutcome::without_lock(if late { Outcome::DeadlineExceeded } else { Outcome::RegionError })
}

pub fn from_key_errors<'a>(errors: impl IntoIterator<Item = &'a KeyError>) -> ReplyOutcome {
    let mut found = ReplyOutcome::without_lock(Outcome::Ok);
    for error in errors {
        found.outcome = Outcome::KeyError;
        if let Some(lock) = error.locked.as_ref().filter(|_| found.lock_ts == 0) {
            found.lock_ts = lock.lock_version;
        }
    }
    found
}

/// Returns the errors of single keys.
pub fn pair_errors(pairs: &[KvPair]) -> impl Iterator<Item = &KeyError> {
    pairs.iter().filter_map(|pair| pair.error.as_ref())
}

pub fn from_error_text(error: &str) -> ReplyOutcome {
    ReplyOutcome::without_lock(if error.is_empty() { Outcome::Ok } else { Outcome::Error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_outcomes() {
        let ok = GetResponse { not_found: true, ..Default::default() };
        assert_eq!(ok.reply_outcome(), ReplyOutcome::without_lock(Outcome::Ok));
        let locked = LockInfo { lock_version: 7, ..Default::default() };
        let error = KeyError { locked: Some(locked), ..Default::default() };
        let found = PrewriteResponse { errors: vec![error.clone()], ..Default::default() }.reply_outcome();
        assert_eq!(found, ReplyOutcome { outcome: Outcome::KeyError, lock_ts: 7 });
        let pair = KvPair { error: Some(error), ..Default::default() };
        assert_eq!(ScanResponse { pairs: vec![pair], ..Default::default() }.reply_outcome().lock_ts, 7);
        assert_eq!(
            RawPutResponse { error: "x".into(), ..Default::default() }.reply_outcome(),
            ReplyOutcome::without_lock(Outcome::Error)
        );
    }

    #[test]
    fn a_region_error_has_priority() {
        let busy = errorpb::ServerIsBusy { reason: "deadline is exceeded".into(), ..Default::default() };
        let region_error = Some(errorpb::Error { server_is_busy: Some(busy), ..Default::default() });
        let late = CommitResponse { region_error, ..Default::default() };
        assert_eq!(late.reply_outcome().outcome, Outcome::DeadlineExceeded);
        let region_error = Some(errorpb::Error::default());
        let other = RawGetResponse { region_error, error: "x".into(), ..Default::default() };
        assert_eq!(other.reply_outcome().outcome, Outcome::RegionError);
    }
}
