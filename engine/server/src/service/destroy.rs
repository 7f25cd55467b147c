//! `UnsafeDestroyRange`: deletes a range on this store alone, past Raft (TiKV `src/server/gc_worker/gc_worker.rs`).
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE, DeleteStrategy, RocksEngine};
use kvproto::kvrpcpb::{UnsafeDestroyRangeRequest, UnsafeDestroyRangeResponse};
use tracepoints::Req;
use txn_types::Key;

use super::call::Call;
use crate::Storage;

/// Deletes all keys and versions from `start_key` (included) to `end_key` (excluded) on this store. An empty
/// key is the end of all keys on its side, where TiKV ends its process. The client calls every store, and no
/// client may use the range.
pub async fn unsafe_destroy_range(
    storage: Storage,
    request: UnsafeDestroyRangeRequest,
    call: Call,
) -> UnsafeDestroyRangeResponse {
    let encode =
        |key: &[u8]| Key::from_raw_maybe_unbounded(key).map_or_else(Vec::new, |key| key.as_encoded().clone());
    let start = keys::data_key(&encode(&request.start_key));
    let end = keys::data_end_key(&encode(&request.end_key));
    let kv = storage.get_engine().kv_engine().clone();
    let destroyed = tokio::task::spawn_blocking(move || destroy(&kv, &start, &end, call.req)).await;
    let error = match destroyed {
        Ok(Ok(())) => String::new(),
        Ok(Err(e)) => e.to_string(),
        Err(e) => e.to_string(),
    };
    UnsafeDestroyRangeResponse { error, ..Default::default() }
}

/// Files of CF lock are not dropped whole: a deleted lock could reappear from a lower level.
fn destroy(kv: &RocksEngine, start: &[u8], end: &[u8], req: Req) -> engine_rocks::Result<()> {
    log::info!("unsafe destroy range [{}, {}) started", keys::hex_upper(start), keys::hex_upper(end));
    let ranges = [(start, end)];
    tracepoints::step_thread!(DESTROY_RANGE_FILES, req);
    for cf in [CF_DEFAULT, CF_WRITE] {
        kv.delete_ranges_cf(cf, DeleteStrategy::DeleteFiles, &ranges, false)?;
    }
    tracepoints::step_thread!(DESTROY_RANGE_KEYS, req);
    for cf in [CF_LOCK, CF_DEFAULT, CF_WRITE] {
        kv.delete_ranges_cf(cf, DeleteStrategy::DeleteByKey, &ranges, true)?;
    }
    log::info!("unsafe destroy range [{}, {}) finished", keys::hex_upper(start), keys::hex_upper(end));
    Ok(())
}
