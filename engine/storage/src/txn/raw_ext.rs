//! Timestamp of a raw write on API V2, with the memory lock that protects it.
//!
//! Mirrors `get_raw_ext` of `src/storage/txn/scheduler.rs`, and `get_raw_key_guard` of `src/storage/mod.rs`.
use api_version::{KvFormat, RAW_KEY_PREFIX};
use tracepoints::Req;
use txn_types::{Key, Lock, LockType, TimeStamp};

use crate::{
    causal_ts::CausalTsProvider,
    concurrency_manager::{ConcurrencyManager, KeyHandleGuard},
    errors::{ErrorInner, Result},
};

/// Timestamp of a raw write.
pub struct RawExt {
    /// Causal timestamp of all its versions.
    pub ts: TimeStamp,
    /// Lock at an older timestamp, until the write is applied: a reader of changes waits for it.
    pub key_guard: KeyHandleGuard,
}

/// Takes a timestamp.
///
/// # Errors
/// `RawKvMaxTimestampNotSynced` if the region's leader is new and has not dropped its old timestamps yet.
pub(crate) async fn get(
    provider: &dyn CausalTsProvider,
    manager: &ConcurrencyManager,
    max_ts_synced: bool,
    region_id: u64,
    req: Req,
) -> Result<RawExt> {
    if !max_ts_synced {
        return Err(ErrorInner::RawKvMaxTimestampNotSynced { region_id }.into());
    }
    // The timestamp of the lock must be below that of the data, so it is another one.
    let lock_ts = provider.async_get_ts().await?;
    let raw_key = vec![RAW_KEY_PREFIX];
    let key = KvFormat::V2.encode_raw_key(raw_key.clone(), Some(lock_ts.into_inner()));
    let key_guard = manager.lock_key(&Key::from_encoded(key));
    let zero = TimeStamp::zero();
    let lock = Lock::new(LockType::Put, raw_key, lock_ts, 0, None, zero, 1, lock_ts, false);
    key_guard.with_lock(|slot| *slot = Some(lock));
    let ts = provider.async_get_ts().await?;
    tracepoints::step!(CAUSAL_TS, req, ts = ts.into_inner());
    Ok(RawExt { ts, key_guard })
}
