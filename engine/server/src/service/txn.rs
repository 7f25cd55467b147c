//! Transactional commands: from the wire to the storage layer and back (TiKV `src/server/service/kv.rs`, `future_*`).
use std::collections::BTreeSet;

use kvproto::kvrpcpb::*;
use storage::{
    KvGetStatistics, ScanRange, SchedulerDetails, TxnStatus, extract_committed, extract_key_error,
    extract_key_errors, extract_kv_pairs, extract_region_error,
    txn::commands::{
        AcquirePessimisticLock, CheckSecondaryLocks, CheckTxnStatus, Cleanup, Commit, MvccByKey,
        MvccByStartTs, Rollback, TxnHeartBeat, TypedCommand, typed_flush, typed_pessimistic_rollback,
        typed_prewrite, typed_resolve_lock,
    },
    txn::store::EntryResult,
};
use txn_types::{Key, TimeStamp};

use super::{call::Call, reply::reply};
use crate::Storage;

/// Separates a read's result from its statistics; a failed read has none.
fn split<T>(result: storage::Result<(T, KvGetStatistics)>) -> (storage::Result<T>, KvGetStatistics) {
    match result {
        Ok((value, stats)) => (Ok(value), stats),
        Err(e) => (Err(e), KvGetStatistics::default()),
    }
}

pub async fn get(storage: Storage, request: GetRequest, call: Call) -> GetResponse {
    let (ctx, key) = (request.context.unwrap_or_default(), Key::from_raw(&request.key));
    let found = storage.get_entry(ctx, key, request.version.into(), request.need_commit_ts, call.req).await;
    let (result, stats) = split(found);
    let ru_v2 = Ruv2 { storage_processed_keys_get: u64::from(result.is_ok()), ..Ruv2::default() };
    let exec_details_v2 = call.read_details(&stats, Some(ru_v2));
    let mut reply = GetResponse { exec_details_v2, ..GetResponse::default() };
    reply!(reply, result, |entry| match entry {
        Some(entry) => {
            reply.value = entry.value;
            reply.commit_ts = entry.commit_ts.map_or(0, TimeStamp::into_inner);
        }
        None => reply.not_found = true,
    });
    reply
}

pub async fn batch_get(storage: Storage, request: BatchGetRequest, call: Call) -> BatchGetResponse {
    let ctx = request.context.unwrap_or_default();
    let keys = request.keys.iter().map(|k| Key::from_raw(k)).collect();
    let (version, load_commit_ts) = (request.version.into(), request.need_commit_ts);
    let (result, stats) = split(storage.batch_get_entry(ctx, keys, version, load_commit_ts, call.req).await);
    let exec_details_v2 = call.read_details(&stats, Some(processed_keys(&result, request.keys.len())));
    let mut reply = BatchGetResponse { exec_details_v2, ..BatchGetResponse::default() };
    reply!(reply, result, |entries| reply.pairs = entries.into_iter().map(to_pair).collect());
    // Old clients read only the pairs.
    reply.pairs.extend(reply.error.clone().map(|e| KvPair { error: Some(e), ..KvPair::default() }));
    reply
}

/// Counts the keys of a batch for request units, as TiKV does: all that the request names, if it succeeds.
fn processed_keys<T>(result: &storage::Result<T>, keys: usize) -> Ruv2 {
    let keys = if result.is_ok() { keys as u64 } else { 0 };
    Ruv2 { storage_processed_keys_batch_get: keys, ..Ruv2::default() }
}

fn to_pair(entry: EntryResult) -> KvPair {
    match entry {
        Ok((key, entry)) => {
            let commit_ts = entry.commit_ts.map_or(0, TimeStamp::into_inner);
            KvPair { key, value: entry.value, commit_ts, error: None }
        }
        Err(e) => KvPair { error: Some(extract_key_error(&e)), ..KvPair::default() },
    }
}

pub async fn scan(storage: Storage, request: ScanRequest, call: Call) -> ScanResponse {
    let range = ScanRange {
        start_key: Key::from_raw_maybe_unbounded(&request.start_key),
        end_key: Key::from_raw_maybe_unbounded(&request.end_key),
        limit: request.limit as usize,
        sample_step: request.sample_step as usize,
        key_only: request.key_only,
        reverse: request.reverse,
    };
    let ctx = request.context.unwrap_or_default();
    let (result, _) = split(storage.scan(ctx, range, request.version.into(), call.req).await);
    let mut reply = ScanResponse::default();
    match extract_region_error(&result) {
        Some(e) => reply.region_error = Some(e),
        None => {
            reply.error = result.as_ref().err().map(extract_key_error);
            reply.pairs = extract_kv_pairs(result);
        }
    }
    reply
}

pub async fn scan_lock(storage: Storage, request: ScanLockRequest, call: Call) -> ScanLockResponse {
    let start = Key::from_raw_maybe_unbounded(&request.start_key);
    let end = Key::from_raw_maybe_unbounded(&request.end_key);
    let (ctx, limit) = (request.context.unwrap_or_default(), request.limit as usize);
    let found = storage.scan_lock(ctx, request.max_version.into(), start, end, limit, call.req).await;
    let (result, stats) = split(found);
    let mut reply =
        ScanLockResponse { exec_details_v2: call.read_details(&stats, None), ..ScanLockResponse::default() };
    reply!(reply, result, |locks| reply.locks = locks);
    reply
}

async fn run<T: storage::CommandOutput>(
    storage: &Storage,
    command: TypedCommand<T>,
    call: Call,
) -> (storage::Result<T>, SchedulerDetails) {
    storage.sched_txn_command(command, call.req).await
}

/// Runs a command whose request may be malformed.
async fn run_checked<T: storage::CommandOutput>(
    storage: &Storage,
    command: storage::Result<TypedCommand<T>>,
    call: Call,
) -> (storage::Result<T>, SchedulerDetails) {
    match command {
        Ok(command) => run(storage, command, call).await,
        Err(e) => (Err(e), SchedulerDetails::default()),
    }
}

/// Refuses a transaction whose writes are in files, which this store does not have. TiKV ignores the fields, so that
/// the client would lose the writes.
fn check_txn_file(is_txn_file: bool) -> storage::Result<()> {
    if !is_txn_file {
        return Ok(());
    }
    Err(storage::Error::other(
        "expected a transaction with its writes in requests, found one in files (is_txn_file, txn_file_chunks): \
         send its mutations",
    ))
}

pub async fn prewrite(storage: Storage, request: PrewriteRequest, call: Call) -> PrewriteResponse {
    let in_files = check_txn_file(!request.txn_file_chunks.is_empty());
    let (result, details) =
        run_checked(&storage, in_files.and_then(|()| typed_prewrite(request)), call).await;
    let mut reply =
        PrewriteResponse { exec_details_v2: call.write_details(&details), ..PrewriteResponse::default() };
    if let Some(e) = extract_region_error(&result) {
        reply.region_error = Some(e);
        return reply;
    }
    let result = result.map(|prewritten| {
        reply.min_commit_ts = prewritten.min_commit_ts.into_inner();
        reply.one_pc_commit_ts = prewritten.one_pc_commit_ts.into_inner();
        prewritten.locks
    });
    reply.errors = extract_key_errors(result);
    reply
}

pub async fn flush(storage: Storage, request: FlushRequest, call: Call) -> FlushResponse {
    let (result, details) = run_checked(&storage, typed_flush(request), call).await;
    let mut reply =
        FlushResponse { exec_details_v2: call.write_details(&details), ..FlushResponse::default() };
    match extract_region_error(&result) {
        Some(e) => reply.region_error = Some(e),
        None => reply.errors = extract_key_errors(result),
    }
    reply
}

pub async fn buffer_batch_get(
    storage: Storage,
    request: BufferBatchGetRequest,
    call: Call,
) -> BufferBatchGetResponse {
    let ctx = request.context.unwrap_or_default();
    let keys = request.keys.iter().map(|k| Key::from_raw(k)).collect();
    let (result, stats) = split(storage.buffer_batch_get(ctx, keys, request.version.into(), call.req).await);
    // A repeated key counts once.
    let distinct = request.keys.iter().collect::<BTreeSet<_>>().len();
    let exec_details_v2 = call.read_details(&stats, Some(processed_keys(&result, distinct)));
    let mut reply = BufferBatchGetResponse { exec_details_v2, ..BufferBatchGetResponse::default() };
    reply!(reply, result, |pairs| reply.pairs = extract_kv_pairs(Ok(pairs)));
    reply
}

pub async fn pessimistic_lock(
    storage: Storage,
    request: PessimisticLockRequest,
    call: Call,
) -> PessimisticLockResponse {
    let by_key = request.wake_up_mode() == PessimisticLockWakeUpMode::WakeUpModeForceLock;
    let command = AcquirePessimisticLock::try_from(request).map(Into::into);
    let (result, details) = run_checked(&storage, command, call).await;
    let exec_details_v2 = call.write_details(&details);
    let mut reply = PessimisticLockResponse { exec_details_v2, ..PessimisticLockResponse::default() };
    if let Some(e) = extract_region_error(&result) {
        reply.region_error = Some(e);
        return reply;
    }
    match result {
        Ok(results) if by_key => (reply.results, reply.errors) = results.into_results_and_errors(),
        Ok(results) => (reply.values, reply.not_founds) = results.into_legacy_values_and_not_founds(),
        Err(e) => reply.errors = vec![extract_key_error(&e)],
    }
    reply
}

/// Adds the status of transactions to the store's cache. The reply has no field for an error, as in TiKV.
pub async fn broadcast_txn_status(
    storage: Storage,
    request: BroadcastTxnStatusRequest,
    call: Call,
) -> BroadcastTxnStatusResponse {
    if let Err(e) = storage.update_txn_status_cache(request.txn_status, call.req).await {
        log::warn!("the status of transactions is not kept: {e}");
    }
    BroadcastTxnStatusResponse {}
}

/// Returns the waits for locks of this store, of all regions. TiKV: `get_lock_wait_info`.
pub async fn get_lock_wait_info(
    storage: Storage,
    _: GetLockWaitInfoRequest,
    _: Call,
) -> GetLockWaitInfoResponse {
    let entries = storage.dump_wait_for_entries().await;
    GetLockWaitInfoResponse { entries, ..GetLockWaitInfoResponse::default() }
}

pub async fn pessimistic_rollback(
    storage: Storage,
    request: PessimisticRollbackRequest,
    call: Call,
) -> PessimisticRollbackResponse {
    let (result, details) = run(&storage, typed_pessimistic_rollback(request), call).await;
    let exec_details_v2 = call.write_details(&details);
    let mut reply = PessimisticRollbackResponse { exec_details_v2, ..PessimisticRollbackResponse::default() };
    match extract_region_error(&result) {
        Some(e) => reply.region_error = Some(e),
        None => reply.errors = extract_key_errors(result),
    }
    reply
}

pub async fn commit(storage: Storage, request: CommitRequest, call: Call) -> CommitResponse {
    let command = check_txn_file(request.is_txn_file).map(|()| Commit::from(request).into());
    let (result, details) = run_checked(&storage, command, call).await;
    let mut reply =
        CommitResponse { exec_details_v2: call.write_details(&details), ..CommitResponse::default() };
    reply!(reply, result, |status| if let TxnStatus::Committed { commit_ts } = status {
        reply.commit_version = commit_ts.into_inner();
    });
    reply
}

pub async fn batch_rollback(
    storage: Storage,
    request: BatchRollbackRequest,
    call: Call,
) -> BatchRollbackResponse {
    let command = check_txn_file(request.is_txn_file).map(|()| Rollback::from(request).into());
    let (result, details) = run_checked(&storage, command, call).await;
    let exec_details_v2 = call.write_details(&details);
    let mut reply = BatchRollbackResponse { exec_details_v2, ..BatchRollbackResponse::default() };
    reply!(reply, result, |()| ());
    reply
}

pub async fn cleanup(storage: Storage, request: CleanupRequest, call: Call) -> CleanupResponse {
    let (result, _) = run(&storage, Cleanup::from(request).into(), call).await;
    let mut reply = CleanupResponse::default();
    // That a transaction is committed is an answer to a cleanup, not an error.
    match result.as_ref().err().and_then(extract_committed) {
        Some(commit_ts) => reply.commit_version = TimeStamp::into_inner(commit_ts),
        None => reply!(reply, result, |()| ()),
    }
    reply
}

pub async fn check_txn_status(
    storage: Storage,
    request: CheckTxnStatusRequest,
    call: Call,
) -> CheckTxnStatusResponse {
    let primary = request.primary_key.clone();
    let command = check_txn_file(request.is_txn_file).map(|()| CheckTxnStatus::from(request).into());
    let (result, details) = run_checked(&storage, command, call).await;
    let mut reply = CheckTxnStatusResponse::default();
    reply!(reply, result, |status| reply = TxnStatus::into_check_response(status, primary));
    reply.exec_details_v2 = call.write_details(&details);
    reply
}

pub async fn check_secondary_locks(
    storage: Storage,
    request: CheckSecondaryLocksRequest,
    call: Call,
) -> CheckSecondaryLocksResponse {
    let (result, details) = run(&storage, CheckSecondaryLocks::from(request).into(), call).await;
    let mut reply = CheckSecondaryLocksResponse::default();
    reply!(reply, result, |status| reply = status.into_response());
    reply.exec_details_v2 = call.write_details(&details);
    reply
}

pub async fn txn_heart_beat(
    storage: Storage,
    request: TxnHeartBeatRequest,
    call: Call,
) -> TxnHeartBeatResponse {
    let command = check_txn_file(request.is_txn_file).map(|()| TxnHeartBeat::from(request).into());
    let (result, details) = run_checked(&storage, command, call).await;
    let exec_details_v2 = call.write_details(&details);
    let mut reply = TxnHeartBeatResponse { exec_details_v2, ..TxnHeartBeatResponse::default() };
    reply!(reply, result, |status| if let TxnStatus::Uncommitted { lock, .. } = status {
        reply.lock_ttl = lock.ttl;
    });
    reply
}

pub async fn resolve_lock(storage: Storage, request: ResolveLockRequest, call: Call) -> ResolveLockResponse {
    let in_files = request.is_txn_file || request.txn_infos.iter().any(|txn| txn.is_txn_file);
    let command = check_txn_file(in_files).map(|()| typed_resolve_lock(request));
    let (result, details) = run_checked(&storage, command, call).await;
    let exec_details_v2 = call.write_details(&details);
    let mut reply = ResolveLockResponse { exec_details_v2, ..ResolveLockResponse::default() };
    reply!(reply, result, |()| ());
    reply
}

pub async fn delete_range(storage: Storage, request: DeleteRangeRequest, call: Call) -> DeleteRangeResponse {
    let DeleteRangeRequest { context, start_key, end_key, notify_only } = request;
    let (ctx, start) = (context.unwrap_or_default(), Key::from_raw(&start_key));
    let end = Key::from_raw_maybe_unbounded(&end_key).unwrap_or_else(|| Key::from_encoded(Vec::new()));
    let result = storage.delete_range(ctx, start, end, notify_only, call.req).await;
    let mut reply = DeleteRangeResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn mvcc_get_by_key(
    storage: Storage,
    request: MvccGetByKeyRequest,
    call: Call,
) -> MvccGetByKeyResponse {
    let (result, _) = run(&storage, MvccByKey::from(request).into(), call).await;
    let mut reply = MvccGetByKeyResponse::default();
    reply!(reply, result, |info| reply.info = Some(info));
    reply
}

pub async fn mvcc_get_by_start_ts(
    storage: Storage,
    request: MvccGetByStartTsRequest,
    call: Call,
) -> MvccGetByStartTsResponse {
    let (result, _) = run(&storage, MvccByStartTs::from(request).into(), call).await;
    if let Some(e) = extract_region_error(&result) {
        return MvccGetByStartTsResponse { region_error: Some(e), ..Default::default() };
    }
    let found = result.and_then(|found| match found {
        Some((key, info)) => Ok((key.into_raw()?, info)),
        None => Ok(Default::default()),
    });
    match found {
        Ok((key, info)) => MvccGetByStartTsResponse { key, info: Some(info), ..Default::default() },
        Err(e) => MvccGetByStartTsResponse { error: e.to_string(), ..Default::default() },
    }
}
