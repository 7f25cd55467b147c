//! Errors of the storage layer and their form for clients.
//!
//! Mirrors `src/storage/errors.rs`.
use kvproto::{
    errorpb,
    kvrpcpb::{self, ApiVersion},
};
use txn_types::{KvPair, TimeStamp};

use crate::{command_kind::CommandKind, concurrency_manager::InvalidMaxTsUpdate, mvcc};

/// Formats a bound of a range like TiKV's errors.
fn format_bound(key: &Option<Vec<u8>>) -> String {
    key.as_ref().map_or_else(|| "(none)".into(), |key| keys::hex_upper(key))
}

/// Error of a command or read. TiKV: `storage::ErrorInner`, `txn::ErrorInner`.
#[derive(Debug, thiserror::Error)]
pub enum ErrorInner {
    /// Error of the engine: usually a region error.
    #[error(transparent)]
    Kv(tikv_kv::Error),
    /// Error of an MVCC operation.
    #[error(transparent)]
    Mvcc(mvcc::Error),
    /// The commit timestamp is not above the start timestamp.
    #[error("invalid transaction tso with start_ts: {start_ts}, commit_ts: {commit_ts}")]
    InvalidTxnTso {
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
    },
    /// The request cannot be decoded.
    #[error("invalid request: {0}")]
    InvalidRequest(txn_types::Error),
    /// Too many bytes of unfinished commands are in the scheduler.
    #[error("scheduler is too busy")]
    SchedTooBusy,
    /// The storage is shutting down.
    #[error("storage is closed")]
    Closed,
    /// The client's deadline has passed.
    #[error("deadline is exceeded")]
    DeadlineExceeded,
    /// A key is longer than the limit.
    #[error("max key size exceeded, size: {size}, limit: {limit}")]
    KeyTooLarge {
        /// Bytes of the key.
        size: usize,
        /// Maximum bytes of a key.
        limit: usize,
    },
    /// The request names a column family, which API V2 does not allow.
    #[error("cf is deprecated in API V2, cf name: {0}")]
    CfDeprecated(String),
    /// The request names a column family that users' data does not have.
    #[error("invalid cf name: {0}; expected default, lock or write")]
    InvalidCf(String),
    /// An earlier leader may have answered a later read; max_ts waits for PD's timestamp.
    #[error(
        "prewrite encounters a max_ts of region {region_id} that is not synchronized, start_ts: {start_ts}"
    )]
    MaxTimestampNotSynced {
        /// Id of the region.
        region_id: u64,
        /// Start timestamp of the transaction.
        start_ts: TimeStamp,
    },
    /// The flashback of this region was not prepared.
    #[error("region {0} is not prepared for the flashback")]
    FlashbackNotPrepared(u64),
    /// A put has a TTL, which API V1 cannot store.
    #[error("ttl is not enabled, but get put request with ttl")]
    TtlNotEnabled,
    /// Asks for a TTL, which API V1 does not store.
    #[error("get ttl on non-ttl store")]
    NoTtl,
    /// The numbers of TTLs and pairs differ.
    #[error("The length of ttls does not equal to the length of pairs")]
    TtlLenNotEqualsToPairs,
    /// The request's API version is not this store's.
    #[error(
        "Api version in request does not match with TiKV storage, cmd: {cmd:?}, storage: {storage_api_version:?}, \
         request: {req_api_version:?}"
    )]
    ApiVersionNotMatched {
        /// Kind of the command.
        cmd: CommandKind,
        /// API version of this store.
        storage_api_version: ApiVersion,
        /// API version of the request.
        req_api_version: ApiVersion,
    },
    /// A key has another mode than the command.
    #[error(
        "Key mode mismatched with the request mode, cmd: {cmd:?}, storage: {storage_api_version:?}, key: {key}"
    )]
    InvalidKeyMode {
        /// Kind of the command.
        cmd: CommandKind,
        /// API version of this store.
        storage_api_version: ApiVersion,
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// A range has another mode than the command.
    #[error(
        "Key mode mismatched with the request mode, cmd: {cmd:?}, storage: {storage_api_version:?}, range: {range:?}"
    )]
    InvalidKeyRangeMode {
        /// Kind of the command.
        cmd: CommandKind,
        /// API version of this store.
        storage_api_version: ApiVersion,
        /// Start and end, in hexadecimal digits.
        range: (Option<String>, Option<String>),
    },
    /// A new leader has not dropped its timestamps taken ahead yet.
    #[error("RawKV write fails due to potentially stale max timestamp, region_id: {region_id}")]
    RawKvMaxTimestampNotSynced {
        /// Id of the region.
        region_id: u64,
    },
    /// A raw key or value of the engine cannot be decoded.
    #[error(transparent)]
    RawEncoding(#[from] api_version::Error),
    /// The range of the request leaves its region.
    #[error(
        "Request range exceeds bound, request range:[{}, {}), physical bound:[{}, {})",
        format_bound(.start), format_bound(.end), format_bound(.lower_bound), format_bound(.upper_bound)
    )]
    InvalidReqRange {
        /// Start of the range; `None`: unbounded.
        start: Option<Vec<u8>>,
        /// End of the range; `None`: unbounded.
        end: Option<Vec<u8>>,
        /// Start of the region; `None`: unbounded.
        lower_bound: Option<Vec<u8>>,
        /// End of the region; `None`: unbounded.
        upper_bound: Option<Vec<u8>>,
    },
    /// The ranges of a batch scan overlap or are not in order.
    #[error("Invalid KeyRanges")]
    InvalidKeyRanges,
    /// Any other error, as text.
    #[error("{0}")]
    Other(String),
}

/// Boxed, because every result carries it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub Box<ErrorInner>);

impl Error {
    /// Creates an error from a text.
    pub fn other(what: impl Into<String>) -> Self {
        ErrorInner::Other(what.into()).into()
    }
}

impl From<ErrorInner> for Error {
    fn from(e: ErrorInner) -> Self {
        Error(Box::new(e))
    }
}

impl From<api_version::Error> for Error {
    fn from(e: api_version::Error) -> Self {
        ErrorInner::RawEncoding(e).into()
    }
}

impl From<tikv_kv::Error> for Error {
    fn from(e: tikv_kv::Error) -> Self {
        ErrorInner::Kv(e).into()
    }
}

impl From<mvcc::Error> for Error {
    fn from(e: mvcc::Error) -> Self {
        ErrorInner::Mvcc(e).into()
    }
}

impl From<InvalidMaxTsUpdate> for Error {
    fn from(e: InvalidMaxTsUpdate) -> Self {
        mvcc::Error::from(e).into()
    }
}

impl From<txn_types::Error> for Error {
    /// A conflict or an undecodable record; the decoders of requests return `InvalidRequest` themselves.
    fn from(e: txn_types::Error) -> Self {
        mvcc::Error::from(e).into()
    }
}

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns the region error that makes a client retry elsewhere or later; `None` for all other errors.
pub fn extract_region_error_from_error(e: &Error) -> Option<errorpb::Error> {
    let busy = |reason: &str, message: String| errorpb::Error {
        message,
        server_is_busy: Some(errorpb::ServerIsBusy { reason: reason.into(), ..Default::default() }),
        ..Default::default()
    };
    match &*e.0 {
        ErrorInner::Kv(e) => region_error_of_engine(e),
        ErrorInner::Mvcc(e) => match &*e.0 {
            mvcc::ErrorInner::Kv(e) => region_error_of_engine(e),
            mvcc::ErrorInner::InvalidMaxTsUpdate(e) => {
                Some(errorpb::Error { message: e.to_string(), ..Default::default() })
            }
            _ => None,
        },
        ErrorInner::MaxTimestampNotSynced { .. } | ErrorInner::RawKvMaxTimestampNotSynced { .. } => {
            Some(errorpb::Error {
                message: e.to_string(),
                max_timestamp_not_synced: Some(errorpb::MaxTimestampNotSynced {}),
                ..Default::default()
            })
        }
        ErrorInner::FlashbackNotPrepared(region_id) => Some(errorpb::Error {
            message: e.to_string(),
            flashback_not_prepared: Some(errorpb::FlashbackNotPrepared { region_id: *region_id }),
            ..Default::default()
        }),
        ErrorInner::SchedTooBusy => Some(busy("scheduler is busy", String::new())),
        ErrorInner::DeadlineExceeded => Some(busy("deadline is exceeded", e.to_string())),
        // Clients retry a region error that has only a message.
        ErrorInner::Closed => {
            Some(errorpb::Error { message: "TiKV is Closing".into(), ..Default::default() })
        }
        _ => None,
    }
}

fn region_error_of_engine(e: &tikv_kv::Error) -> Option<errorpb::Error> {
    match &*e.0 {
        tikv_kv::ErrorInner::Request(e) => Some(e.clone()),
        closed @ tikv_kv::ErrorInner::Closed => {
            Some(errorpb::Error { message: closed.to_string(), ..Default::default() })
        }
        _ => None,
    }
}

/// Like [`extract_region_error_from_error`], for a result.
pub fn extract_region_error<T>(res: &Result<T>) -> Option<errorpb::Error> {
    res.as_ref().err().and_then(extract_region_error_from_error)
}

/// Returns the commit_ts if a rollback found a committed transaction.
pub fn extract_committed(e: &Error) -> Option<TimeStamp> {
    match &*e.0 {
        ErrorInner::Mvcc(e) => match &*e.0 {
            mvcc::ErrorInner::Committed { commit_ts, .. } => Some(*commit_ts),
            _ => None,
        },
        _ => None,
    }
}

/// Converts an error that is no region error for the client.
pub fn extract_key_error(e: &Error) -> kvrpcpb::KeyError {
    let known = match &*e.0 {
        ErrorInner::Mvcc(mvcc) => mvcc_key_error(&mvcc.0, e),
        ErrorInner::Kv(kv) => match &*kv.0 {
            tikv_kv::ErrorInner::KeyIsLocked(info) => {
                Some(kvrpcpb::KeyError { locked: Some((**info).clone()), ..Default::default() })
            }
            _ => None,
        },
        _ => None,
    };
    known.unwrap_or_else(|| {
        log::warn!("txn aborts: {e:?}");
        kvrpcpb::KeyError { abort: format!("{e:?}"), ..Default::default() }
    })
}

fn mvcc_key_error(inner: &mvcc::ErrorInner, whole: &Error) -> Option<kvrpcpb::KeyError> {
    use mvcc::ErrorInner as E;
    let mut out = kvrpcpb::KeyError::default();
    match inner {
        E::KeyIsLocked(info) => out.locked = Some((**info).clone()),
        E::WriteConflict(e) => {
            out.conflict = Some(write_conflict(e));
            // Old clients read only this field.
            out.retryable = format!("{whole:?}");
        }
        E::AlreadyExist { key, .. } => out.already_exist = Some(kvrpcpb::AlreadyExist { key: key.clone() }),
        E::TxnLockNotFound { start_ts, commit_ts, key, mvcc_info } => {
            log::warn!("txn conflicts: {whole}");
            let (start_ts, commit_ts, key) = (*start_ts, *commit_ts, key.clone());
            out.debug_info = debug_info(&key, mvcc_info.as_deref());
            out.txn_lock_not_found = Some(kvrpcpb::TxnLockNotFound { key: key.clone() });
            // The records have a field of their own.
            let short = E::TxnLockNotFound { start_ts, commit_ts, key, mvcc_info: None };
            out.retryable = format!("{:?}", Error::from(mvcc::Error::from(short)));
        }
        E::TxnNotFound { start_ts, key } => {
            let (start_ts, primary_key) = (start_ts.into_inner(), key.clone());
            out.txn_not_found = Some(kvrpcpb::TxnNotFound { start_ts, primary_key });
        }
        E::Deadlock { lock_ts, lock_key, deadlock_key_hash, wait_chain, .. } => {
            log::warn!("txn deadlocks: {whole}");
            // Like TiKV, leaves `deadlock_key` empty: the chain has the key of each wait.
            out.deadlock = Some(kvrpcpb::Deadlock {
                lock_ts: lock_ts.into_inner(),
                lock_key: lock_key.clone(),
                deadlock_key_hash: *deadlock_key_hash,
                wait_chain: wait_chain.clone(),
                ..Default::default()
            });
        }
        E::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts, mvcc_info } => {
            out.debug_info = debug_info(key, mvcc_info.as_deref());
            out.commit_ts_expired = Some(kvrpcpb::CommitTsExpired {
                start_ts: start_ts.into_inner(),
                attempted_commit_ts: commit_ts.into_inner(),
                key: key.clone(),
                min_commit_ts: min_commit_ts.into_inner(),
            });
        }
        E::CommitTsTooLarge { min_commit_ts, .. } => {
            let commit_ts = min_commit_ts.into_inner();
            out.commit_ts_too_large = Some(kvrpcpb::CommitTsTooLarge { commit_ts });
        }
        E::AssertionFailed { start_ts, key, assertion, existing_start_ts, existing_commit_ts } => {
            out.assertion_failed = Some(kvrpcpb::AssertionFailed {
                start_ts: start_ts.into_inner(),
                key: key.clone(),
                assertion: (*assertion).into(),
                existing_start_ts: existing_start_ts.into_inner(),
                existing_commit_ts: existing_commit_ts.into_inner(),
            });
        }
        E::PrimaryMismatch(info) => {
            out.primary_mismatch = Some(kvrpcpb::PrimaryMismatch { lock_info: Some((**info).clone()) });
        }
        _ => return None,
    }
    Some(out)
}

/// Returns the records of a key for the people who examine the error; without values in CF default, as in TiKV.
fn debug_info(key: &[u8], mvcc: Option<&kvrpcpb::MvccInfo>) -> Option<kvrpcpb::DebugInfo> {
    let mvcc = kvrpcpb::MvccInfo { values: Vec::new(), ..mvcc?.clone() };
    let info = kvrpcpb::MvccDebugInfo { key: key.to_vec(), mvcc: Some(mvcc) };
    Some(kvrpcpb::DebugInfo { mvcc_info: vec![info] })
}

fn write_conflict(e: &txn_types::WriteConflict) -> kvrpcpb::WriteConflict {
    kvrpcpb::WriteConflict {
        start_ts: e.start_ts.into_inner(),
        conflict_ts: e.conflict_start_ts.into_inner(),
        conflict_commit_ts: e.conflict_commit_ts.into_inner(),
        key: e.key.clone(),
        primary: e.primary.clone(),
        reason: e.reason.into(),
    }
}

/// Converts the errors among a command's results.
pub fn extract_key_errors(res: Result<Vec<Result<()>>>) -> Vec<kvrpcpb::KeyError> {
    match res {
        Ok(results) => results.iter().filter_map(|r| r.as_ref().err()).map(extract_key_error).collect(),
        Err(e) => vec![extract_key_error(&e)],
    }
}

/// Converts the pairs of a batch get or scan for the wire; an error of the whole read becomes one pair.
pub fn extract_kv_pairs(res: Result<Vec<Result<KvPair>>>) -> Vec<kvrpcpb::KvPair> {
    let pair = |r: Result<KvPair>| match r {
        Ok((key, value)) => kvrpcpb::KvPair { key, value, ..Default::default() },
        Err(e) => kvrpcpb::KvPair { error: Some(extract_key_error(&e)), ..Default::default() },
    };
    match res {
        Ok(pairs) => pairs.into_iter().map(pair).collect(),
        Err(e) => vec![pair(Err(e))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_error_comes_through_every_layer() {
        let region = errorpb::Error { message: "m".into(), ..Default::default() };
        let kv = || tikv_kv::Error::from(tikv_kv::ErrorInner::Request(region.clone()));
        for e in [Error::from(kv()), Error::from(mvcc::Error::from(kv()))] {
            assert_eq!(extract_region_error::<()>(&Err(e)), Some(region.clone()));
        }
        let busy = extract_region_error_from_error(&ErrorInner::SchedTooBusy.into());
        assert_eq!(busy.and_then(|e| e.server_is_busy).map(|b| b.reason), Some("scheduler is busy".into()));
    }

    #[test]
    fn a_conflict_is_retryable_and_an_unknown_error_aborts() {
        let conflict = txn_types::WriteConflict {
            start_ts: 110.into(),
            conflict_start_ts: 108.into(),
            conflict_commit_ts: 111.into(),
            key: b"k".to_vec(),
            primary: b"p".to_vec(),
            reason: kvrpcpb::write_conflict::Reason::Optimistic,
        };
        let error = extract_key_error(&mvcc::Error::from(conflict).into());
        let wire = error.conflict.unwrap();
        assert_eq!((wire.start_ts, wire.conflict_ts, wire.conflict_commit_ts), (110, 108, 111));
        assert!(
            error.retryable.contains("Error(WriteConflict { start_ts: TimeStamp(110), "),
            "{}",
            error.retryable
        );
        let aborted = extract_key_error(&Error::other("broken"));
        assert!(aborted.abort.contains("broken"));
        assert_eq!(extract_region_error_from_error(&Error::other("broken")), None);
    }

    #[test]
    fn a_rollback_of_a_commit_returns_its_commit_ts() {
        let committed =
            mvcc::ErrorInner::Committed { start_ts: 1.into(), commit_ts: 2.into(), key: b"k".to_vec() };
        assert_eq!(extract_committed(&mvcc::Error::from(committed).into()), Some(2.into()));
    }
}
