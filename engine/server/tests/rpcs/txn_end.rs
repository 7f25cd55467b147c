//! Commands that end transactions, and commands that ask for their status.
use kvproto::kvrpcpb::*;

use crate::{
    Case, call,
    caller::Caller,
    fine, stale,
    txn::{committed, locked, refused_for_files, value, written},
};

/// The RPCs of this file.
pub const CASES: &[Case] = &[
    ("KvBatchRollback", batch_rollback),
    ("KvCleanup", cleanup),
    ("KvTxnHeartBeat", heart_beat),
    ("KvCheckTxnStatus", check_txn_status),
    ("KvCheckSecondaryLocks", check_secondary_locks),
    ("KvScanLock", scan_lock),
    ("KvResolveLock", resolve_lock),
    ("MvccGetByKey", mvcc_get_by_key),
    ("MvccGetByStartTs", mvcc_get_by_start_ts),
];

/// Builds a timestamp of this many milliseconds since the epoch.
fn at_ms(ms: u64) -> u64 {
    ms << 18
}

pub fn batch_rollback(c: &Caller) {
    locked(c, &["rollback-1", "rollback-2"], 10);
    let request = BatchRollbackRequest {
        start_version: 10,
        keys: c.keys(&["rollback-1", "rollback-2"]),
        ..Default::default()
    };
    let build = |context| BatchRollbackRequest { context, ..request.clone() };
    stale!(call!(c, kv_batch_rollback, BatchRollback, build(c.stale_context())));
    let in_files = BatchRollbackRequest { is_txn_file: true, ..build(c.context()) };
    refused_for_files(call!(c, kv_batch_rollback, BatchRollback, in_files).error);
    fine!(call!(c, kv_batch_rollback, BatchRollback, build(c.context())));
    assert_eq!(value(c, "rollback-1", 20), None);
    written(c, &["rollback-3"], 10, 11);
    let late = BatchRollbackRequest { keys: c.keys(&["rollback-3"]), ..build(c.context()) };
    let reply = call!(c, kv_batch_rollback, BatchRollback, late);
    assert!(reply.error.is_some_and(|e| e.abort.contains("Committed")), "it is committed");
}

pub fn cleanup(c: &Caller) {
    locked(c, &["cleanup-1"], 10);
    written(c, &["cleanup-2"], 10, 11);
    let build =
        |context, name| CleanupRequest { context, key: c.key(name), start_version: 10, current_ts: 0 };
    stale!(call!(c, kv_cleanup, Cleanup, build(c.stale_context(), "cleanup-1")));
    fine!(call!(c, kv_cleanup, Cleanup, build(c.context(), "cleanup-1")));
    assert_eq!(value(c, "cleanup-1", 20), None);
    let reply = call!(c, kv_cleanup, Cleanup, build(c.context(), "cleanup-2"));
    assert_eq!(reply.commit_version, 11, "it is committed");
}

pub fn heart_beat(c: &Caller) {
    locked(c, &["heart-beat"], 10);
    let build = |context, name| TxnHeartBeatRequest {
        context,
        primary_lock: c.key(name),
        start_version: 10,
        advise_lock_ttl: 20_000,
        ..Default::default()
    };
    let reply = fine!(call!(c, kv_txn_heart_beat, TxnHeartBeat, build(c.context(), "heart-beat")));
    assert_eq!(reply.lock_ttl, 20_000);
    let reply = call!(c, kv_txn_heart_beat, TxnHeartBeat, build(c.context(), "heart-beat-absent"));
    assert!(reply.error.is_some_and(|e| e.txn_not_found.is_some()), "there is no lock");
    stale!(call!(c, kv_txn_heart_beat, TxnHeartBeat, build(c.stale_context(), "heart-beat")));
    let in_files = TxnHeartBeatRequest { is_txn_file: true, ..build(c.context(), "heart-beat") };
    refused_for_files(call!(c, kv_txn_heart_beat, TxnHeartBeat, in_files).error);
}

pub fn check_txn_status(c: &Caller) {
    let start = at_ms(10);
    locked(c, &["status-1"], start);
    written(c, &["status-2"], start, start + 1);
    let build = |context, name, current_ts| CheckTxnStatusRequest {
        context,
        primary_key: c.key(name),
        lock_ts: start,
        caller_start_ts: current_ts,
        current_ts,
        ..Default::default()
    };
    let check = |context, name, ts| call!(c, kv_check_txn_status, CheckTxnStatus, build(context, name, ts));
    assert_eq!(fine!(check(c.context(), "status-1", at_ms(20))).lock_ttl, 3000, "it lives");
    assert_eq!(fine!(check(c.context(), "status-2", at_ms(20))).commit_version, start + 1);
    let late = fine!(check(c.context(), "status-1", at_ms(9000)));
    assert_eq!((late.lock_ttl, late.action()), (0, Action::TtlExpireRollback));
    let absent = check(c.context(), "status-absent", at_ms(20));
    assert!(absent.error.is_some_and(|e| e.txn_not_found.is_some()), "nothing is known of it");
    stale!(check(c.stale_context(), "status-1", at_ms(20)));
    let in_files = CheckTxnStatusRequest { is_txn_file: true, ..build(c.context(), "status-1", at_ms(20)) };
    refused_for_files(call!(c, kv_check_txn_status, CheckTxnStatus, in_files).error);
}

pub fn check_secondary_locks(c: &Caller) {
    locked(c, &["secondary-1", "secondary-2"], 10);
    written(c, &["secondary-3"], 10, 11);
    let build = |context, names: &[&str]| CheckSecondaryLocksRequest {
        context,
        keys: c.keys(names),
        start_version: 10,
    };
    let check =
        |context, names| call!(c, kv_check_secondary_locks, CheckSecondaryLocks, build(context, names));
    let both = fine!(check(c.context(), &["secondary-1", "secondary-2"]));
    assert_eq!((both.locks.len(), both.commit_ts), (2, 0));
    assert_eq!(fine!(check(c.context(), &["secondary-3"])).commit_ts, 11);
    let rolled_back = fine!(check(c.context(), &["secondary-absent"]));
    assert_eq!((rolled_back.locks.len(), rolled_back.commit_ts), (0, 0));
    stale!(check(c.stale_context(), &["secondary-1"]));
}

pub fn scan_lock(c: &Caller) {
    locked(c, &["scan-lock-1"], 10);
    locked(c, &["scan-lock-2"], 40);
    let request = ScanLockRequest {
        max_version: 30,
        start_key: c.key("scan-lock-1"),
        limit: 10,
        end_key: c.key("scan-lock-9"),
        ..Default::default()
    };
    let build = |context| ScanLockRequest { context, ..request.clone() };
    let reply = fine!(call!(c, kv_scan_lock, ScanLock, build(c.context())));
    assert_eq!(reply.locks.iter().map(|lock| lock.key.clone()).collect::<Vec<_>>(), c.keys(&["scan-lock-1"]));
    let open = ScanLockRequest { end_key: Vec::new(), max_version: 50, limit: 2, ..build(c.context()) };
    assert_eq!(fine!(call!(c, kv_scan_lock, ScanLock, open)).locks.len(), 2);
    stale!(call!(c, kv_scan_lock, ScanLock, build(c.stale_context())));
}

pub fn resolve_lock(c: &Caller) {
    locked(c, &["resolve-1", "resolve-2"], 10);
    let request = ResolveLockRequest {
        start_version: 10,
        commit_version: 15,
        keys: c.keys(&["resolve-1"]),
        ..Default::default()
    };
    let build = |context| ResolveLockRequest { context, ..request.clone() };
    stale!(call!(c, kv_resolve_lock, ResolveLock, build(c.stale_context())));
    let in_files = ResolveLockRequest { is_txn_file: true, ..build(c.context()) };
    refused_for_files(call!(c, kv_resolve_lock, ResolveLock, in_files).error);
    let txn_infos = vec![TxnInfo { txn: 10, status: 15, is_txn_file: true }];
    let in_files = ResolveLockRequest { context: c.context(), txn_infos, ..Default::default() };
    refused_for_files(call!(c, kv_resolve_lock, ResolveLock, in_files).error);
    fine!(call!(c, kv_resolve_lock, ResolveLock, build(c.context())));
    assert_eq!(value(c, "resolve-1", 20).as_deref(), Some(&b"v"[..]));
    let rest = ResolveLockRequest { keys: c.keys(&["resolve-2"]), commit_version: 0, ..build(c.context()) };
    fine!(call!(c, kv_resolve_lock, ResolveLock, rest));
    assert_eq!(value(c, "resolve-2", 20), None, "rolled back");
}

pub fn mvcc_get_by_key(c: &Caller) {
    let long = PrewriteRequest {
        context: c.context(),
        mutations: vec![Mutation { value: vec![b'l'; 300], ..c.mutation(Op::Put, "rows") }],
        primary_lock: c.key("rows"),
        start_version: 10,
        lock_ttl: 3000,
        ..Default::default()
    };
    assert!(call!(c, kv_prewrite, Prewrite, long).errors.is_empty());
    fine!(committed(c, &["rows"], 10, 11));
    written(c, &["rows"], 20, 21);
    locked(c, &["rows"], 30);
    let build = |context, name| MvccGetByKeyRequest { context, key: c.key(name) };
    let info = fine!(call!(c, mvcc_get_by_key, build(c.context(), "rows"))).info.unwrap();
    let lock = info.lock.unwrap();
    assert_eq!((lock.r#type(), lock.start_ts, lock.primary), (Op::Put, 30, c.key("rows")));
    let writes: Vec<_> = info.writes.iter().map(|w| (w.r#type(), w.start_ts, w.commit_ts)).collect();
    assert_eq!(writes, [(Op::Put, 20, 21), (Op::Put, 10, 11)]);
    assert!(info.writes[1].short_value.is_empty(), "a long value is in CF default");
    let values: Vec<_> = info.values.iter().map(|v| (v.start_ts, v.value.len())).collect();
    assert_eq!(values, [(10, 300)]);
    let absent = fine!(call!(c, mvcc_get_by_key, build(c.context(), "rows-absent")));
    assert_eq!(absent.info, Some(MvccInfo::default()));
    stale!(call!(c, mvcc_get_by_key, build(c.stale_context(), "rows")));
}

pub fn mvcc_get_by_start_ts(c: &Caller) {
    // Other cases use smaller timestamps, and both ways share the region.
    let start = 1_000_000 + 10 * c.way as u64;
    written(c, &["rows-of-1", "rows-of-2"], start, start + 1);
    let build = |context, start_ts| MvccGetByStartTsRequest { context, start_ts };
    let found = fine!(call!(c, mvcc_get_by_start_ts, build(c.context(), start)));
    assert_eq!(found.key, c.key("rows-of-1"), "the first key");
    assert_eq!(found.info.unwrap().writes[0].commit_ts, start + 1);
    let absent = fine!(call!(c, mvcc_get_by_start_ts, build(c.context(), start + 5)));
    assert_eq!((absent.key, absent.info), (Vec::new(), Some(MvccInfo::default())));
    stale!(call!(c, mvcc_get_by_start_ts, build(c.stale_context(), start)));
}
