//! Reads and the first half of transactions.
use kvproto::kvrpcpb::*;

use crate::{Case, call, caller::Caller, fine, stale};

/// The RPCs of this file.
pub const CASES: &[Case] = &[
    ("KvGet", get),
    ("KvBatchGet", batch_get),
    ("KvScan", scan),
    ("KvPrewrite", prewrite),
    ("KvCommit", commit),
    ("KvPessimisticLock", pessimistic_lock),
    ("KVPessimisticRollback", pessimistic_rollback),
    ("GetLockWaitInfo", get_lock_wait_info),
];

/// Prewrites keys; the first is the primary.
pub fn prewritten(c: &Caller, names: &[&str], start_version: u64) -> PrewriteResponse {
    let mutations = names.iter().map(|name| c.mutation(Op::Put, name)).collect();
    let request = PrewriteRequest {
        context: c.context(),
        mutations,
        primary_lock: c.key(names[0]),
        start_version,
        lock_ttl: 3000,
        ..Default::default()
    };
    call!(c, kv_prewrite, Prewrite, request)
}

/// Checks that a request is refused because its transaction has its writes in files.
pub fn refused_for_files(error: Option<KeyError>) {
    let error = error.expect("the store has no files of transactions");
    assert!(error.abort.contains("is_txn_file"), "{error:?}");
}

/// Locks keys.
pub fn locked(c: &Caller, names: &[&str], start_version: u64) {
    let reply = prewritten(c, names, start_version);
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
}

pub fn committed(c: &Caller, names: &[&str], start_version: u64, commit_version: u64) -> CommitResponse {
    let request = CommitRequest {
        context: c.context(),
        start_version,
        keys: c.keys(names),
        commit_version,
        ..Default::default()
    };
    call!(c, kv_commit, Commit, request)
}

/// Writes keys.
pub fn written(c: &Caller, names: &[&str], start_version: u64, commit_version: u64) {
    locked(c, names, start_version);
    fine!(committed(c, names, start_version, commit_version));
}

/// The value of a key, or none.
pub fn value(c: &Caller, name: &str, version: u64) -> Option<Vec<u8>> {
    let request = GetRequest { context: c.context(), key: c.key(name), version, ..Default::default() };
    let reply = fine!(call!(c, kv_get, Get, request));
    (!reply.not_found).then_some(reply.value)
}

pub fn get(c: &Caller) {
    written(c, &["get"], 10, 11);
    assert_eq!(value(c, "get", 12).as_deref(), Some(&b"v"[..]));
    assert_eq!(value(c, "get", 10), None);
    locked(c, &["get-locked"], 20);
    let request = GetRequest { key: c.key("get-locked"), version: 30, ..Default::default() };
    let build = |context| GetRequest { context, ..request.clone() };
    let error = call!(c, kv_get, Get, build(c.context())).error.expect("the lock is in the way");
    assert_eq!(error.locked.map(|lock| lock.lock_version), Some(20));
    stale!(call!(c, kv_get, Get, build(c.stale_context())));
}

pub fn batch_get(c: &Caller) {
    written(c, &["batch-get-1", "batch-get-3"], 10, 11);
    locked(c, &["batch-get-4"], 20);
    let keys = c.keys(&["batch-get-3", "batch-get-2", "batch-get-1", "batch-get-4"]);
    let request = BatchGetRequest { keys: keys.clone(), version: 30, ..Default::default() };
    let build = |context| BatchGetRequest { context, ..request.clone() };
    let reply = fine!(call!(c, kv_batch_get, BatchGet, build(c.context())));
    assert_eq!(reply.pairs.len(), 3, "{reply:?}");
    assert_eq!((&reply.pairs[0].key, &reply.pairs[1].key), (&keys[0], &keys[2]));
    let error = reply.pairs[2].error.as_ref().expect("the lock is in the way");
    assert_eq!(error.locked.as_ref().map(|lock| lock.lock_version), Some(20));
    stale!(call!(c, kv_batch_get, BatchGet, build(c.stale_context())));
}

pub fn scan(c: &Caller) {
    written(c, &["scan-1", "scan-2", "scan-3"], 10, 11);
    let request = ScanRequest {
        start_key: c.key("scan-1"),
        end_key: c.key("scan-3"),
        limit: 10,
        version: 12,
        ..Default::default()
    };
    let build = |context| ScanRequest { context, ..request.clone() };
    let reply = fine!(call!(c, kv_scan, Scan, build(c.context())));
    assert_eq!(reply.pairs.iter().map(|p| p.key.clone()).collect::<Vec<_>>(), c.keys(&["scan-1", "scan-2"]));
    let open = ScanRequest { end_key: Vec::new(), limit: 3, ..build(c.context()) };
    let reply = fine!(call!(c, kv_scan, Scan, open));
    assert_eq!(reply.pairs[2].key, c.key("scan-3"), "an empty end is the region's own");
    stale!(call!(c, kv_scan, Scan, build(c.stale_context())));
}

pub fn prewrite(c: &Caller) {
    written(c, &["prewrite"], 10, 15);
    let reply = prewritten(c, &["prewrite"], 12);
    let conflict = reply.errors[0].conflict.as_ref().expect("the key was written later");
    assert_eq!((conflict.start_ts, conflict.conflict_commit_ts), (12, 15));
    let request = PrewriteRequest { context: c.stale_context(), ..Default::default() };
    stale!(call!(c, kv_prewrite, Prewrite, request));
    let in_files = PrewriteRequest { context: c.context(), txn_file_chunks: vec![1], ..Default::default() };
    refused_for_files(call!(c, kv_prewrite, Prewrite, in_files).errors.pop());
}

pub fn commit(c: &Caller) {
    locked(c, &["commit"], 10);
    let reply = fine!(committed(c, &["commit"], 10, 15));
    assert_eq!(reply.commit_version, 15);
    let error = committed(c, &["commit-absent"], 10, 15).error.expect("there is no lock");
    assert!(error.txn_lock_not_found.is_some(), "{error:?}");
    let in_files = CommitRequest { context: c.context(), is_txn_file: true, ..Default::default() };
    refused_for_files(call!(c, kv_commit, Commit, in_files).error);
    let request = CommitRequest {
        context: c.stale_context(),
        start_version: 10,
        commit_version: 15,
        keys: c.keys(&["commit"]),
        ..Default::default()
    };
    stale!(call!(c, kv_commit, Commit, request));
}

/// Takes a pessimistic lock.
fn pessimistic(c: &Caller, context: Option<Context>, name: &str, start: u64) -> PessimisticLockResponse {
    let request = PessimisticLockRequest {
        context,
        mutations: vec![Mutation { value: Vec::new(), ..c.mutation(Op::PessimisticLock, name) }],
        primary_lock: c.key(name),
        start_version: start,
        for_update_ts: start,
        lock_ttl: 3000,
        // No waiting.
        wait_timeout: -1,
        return_values: true,
        ..Default::default()
    };
    call!(c, kv_pessimistic_lock, PessimisticLock, request)
}

pub fn pessimistic_lock(c: &Caller) {
    written(c, &["pessimistic"], 10, 11);
    let reply = pessimistic(c, c.context(), "pessimistic", 20);
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    assert_eq!(reply.values, [b"v"]);
    let reply = pessimistic(c, c.context(), "pessimistic", 21);
    assert_eq!(reply.errors[0].locked.as_ref().map(|lock| lock.lock_version), Some(20), "{reply:?}");
    stale!(pessimistic(c, c.stale_context(), "pessimistic", 20));
    written(c, &["forced"], 10, 11);
    let forced = PessimisticLockRequest {
        context: c.context(),
        mutations: vec![Mutation { value: Vec::new(), ..c.mutation(Op::PessimisticLock, "forced") }],
        primary_lock: c.key("forced"),
        start_version: 20,
        for_update_ts: 20,
        lock_ttl: 3000,
        return_values: true,
        wake_up_mode: PessimisticLockWakeUpMode::WakeUpModeForceLock as i32,
        ..Default::default()
    };
    let reply = call!(c, kv_pessimistic_lock, PessimisticLock, forced);
    assert!(reply.errors.is_empty() && reply.values.is_empty(), "{reply:?}");
    assert_eq!((reply.results[0].value.as_slice(), reply.results[0].existence), (&b"v"[..], true));
}

/// The RPC has no error of its own: TiKV reads no field of the request.
pub fn get_lock_wait_info(c: &Caller) {
    let build = |context| GetLockWaitInfoRequest { context };
    let reply = fine!(call!(c, get_lock_wait_info, build(c.context())));
    assert!(reply.entries.is_empty(), "{reply:?}");
    let reply = call!(c, get_lock_wait_info, build(c.stale_context()));
    assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
}

pub fn pessimistic_rollback(c: &Caller) {
    let locked = pessimistic(c, c.context(), "unlocked", 20);
    assert!(locked.errors.is_empty(), "{locked:?}");
    let request = PessimisticRollbackRequest {
        start_version: 20,
        for_update_ts: 20,
        keys: c.keys(&["unlocked"]),
        ..Default::default()
    };
    let build = |context| PessimisticRollbackRequest { context, ..request.clone() };
    stale!(call!(c, kv_pessimistic_rollback, PessimisticRollback, build(c.stale_context())));
    let reply = call!(c, kv_pessimistic_rollback, PessimisticRollback, build(c.context()));
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    let again = pessimistic(c, c.context(), "unlocked", 21);
    assert!(again.errors.is_empty(), "the lock is gone: {again:?}");
}
