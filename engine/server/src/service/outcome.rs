//! How a command ended, as its reply tells.
use kvproto::{errorpb, kvrpcpb::*};
use tracepoints::Outcome;

/// What of a reply matters to whoever follows the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The transaction whose lock was in the way; 0: none was.
    pub lock_ts: u64,
}

impl Verdict {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, lock_ts: 0 }
    }
}

/// A reply that can carry errors.
pub trait Judge {
    fn verdict(&self) -> Verdict;
}

fn of_region(error: &errorpb::Error) -> Verdict {
    let late = error.server_is_busy.as_ref().is_some_and(|busy| busy.reason == "deadline is exceeded");
    Verdict::of(if late { Outcome::DeadlineExceeded } else { Outcome::RegionError })
}

fn of_keys<'a>(errors: impl IntoIterator<Item = &'a KeyError>) -> Verdict {
    let mut verdict = Verdict::of(Outcome::Ok);
    for error in errors {
        verdict.outcome = Outcome::KeyError;
        if let Some(lock) = error.locked.as_ref().filter(|_| verdict.lock_ts == 0) {
            verdict.lock_ts = lock.lock_version;
        }
    }
    verdict
}

fn of_text(error: &str) -> Verdict {
    Verdict::of(if error.is_empty() { Outcome::Ok } else { Outcome::Error })
}

/// `Reply: |reply| verdict where there is no region error;`
macro_rules! judge {
    ($($reply:ident: |$r:ident| $rest:expr;)*) => {$(
        impl Judge for $reply {
            fn verdict(&self) -> Verdict {
                let $r = self;
                self.region_error.as_ref().map_or_else(|| $rest, of_region)
            }
        }
    )*};
}

judge! {
    GetResponse: |r| of_keys(&r.error);
    BatchGetResponse: |r| of_keys(r.error.iter().chain(r.pairs.iter().filter_map(|p| p.error.as_ref())));
    ScanResponse: |r| of_keys(r.error.iter().chain(r.pairs.iter().filter_map(|p| p.error.as_ref())));
    PrewriteResponse: |r| of_keys(&r.errors);
    CommitResponse: |r| of_keys(&r.error);
    BatchRollbackResponse: |r| of_keys(&r.error);
    CleanupResponse: |r| of_keys(&r.error);
    CheckTxnStatusResponse: |r| of_keys(&r.error);
    CheckSecondaryLocksResponse: |r| of_keys(&r.error);
    TxnHeartBeatResponse: |r| of_keys(&r.error);
    ResolveLockResponse: |r| of_keys(&r.error);
    ScanLockResponse: |r| of_keys(&r.error);
    PessimisticLockResponse: |r| of_keys(&r.errors);
    PessimisticRollbackResponse: |r| of_keys(&r.errors);
    RawGetResponse: |r| of_text(&r.error);
    RawBatchGetResponse: |r| of_keys(r.pairs.iter().filter_map(|p| p.error.as_ref()));
    RawPutResponse: |r| of_text(&r.error);
    RawBatchPutResponse: |r| of_text(&r.error);
    RawDeleteResponse: |r| of_text(&r.error);
    RawBatchDeleteResponse: |r| of_text(&r.error);
    RawScanResponse: |r| of_keys(r.kvs.iter().filter_map(|p| p.error.as_ref()));
    RawDeleteRangeResponse: |r| of_text(&r.error);
    RawBatchScanResponse: |r| of_keys(r.kvs.iter().filter_map(|p| p.error.as_ref()));
    RawGetKeyTtlResponse: |r| of_text(&r.error);
    RawCasResponse: |r| of_text(&r.error);
    DeleteRangeResponse: |r| of_text(&r.error);
    PrepareFlashbackToVersionResponse: |r| of_text(&r.error);
    FlashbackToVersionResponse: |r| of_text(&r.error);
    UnsafeDestroyRangeResponse: |r| of_text(&r.error);
    SplitRegionResponse: |_r| Verdict::of(Outcome::Ok);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_tell_how_they_ended() {
        let ok = GetResponse { not_found: true, ..Default::default() };
        assert_eq!(ok.verdict(), Verdict::of(Outcome::Ok));
        let locked = LockInfo { lock_version: 7, ..Default::default() };
        let error = KeyError { locked: Some(locked), ..Default::default() };
        let verdict = PrewriteResponse { errors: vec![error.clone()], ..Default::default() }.verdict();
        assert_eq!(verdict, Verdict { outcome: Outcome::KeyError, lock_ts: 7 });
        let pair = KvPair { error: Some(error), ..Default::default() };
        assert_eq!(ScanResponse { pairs: vec![pair], ..Default::default() }.verdict().lock_ts, 7);
        assert_eq!(
            RawPutResponse { error: "x".into(), ..Default::default() }.verdict(),
            Verdict::of(Outcome::Error)
        );
    }

    #[test]
    fn a_region_error_wins_and_a_late_one_is_told_apart() {
        let busy = errorpb::ServerIsBusy { reason: "deadline is exceeded".into(), ..Default::default() };
        let region_error = Some(errorpb::Error { server_is_busy: Some(busy), ..Default::default() });
        let late = CommitResponse { region_error, ..Default::default() };
        assert_eq!(late.verdict().outcome, Outcome::DeadlineExceeded);
        let region_error = Some(errorpb::Error::default());
        let other = RawGetResponse { region_error, error: "x".into(), ..Default::default() };
        assert_eq!(other.verdict().outcome, Outcome::RegionError);
    }
}
