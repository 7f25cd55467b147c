//! Pipelined transactions, the status of transactions that clients broadcast, and the health of the store.
use kvproto::kvrpcpb::*;

use crate::{
    Case, call,
    caller::Caller,
    fine, stale,
    txn::{committed, locked, value},
};

/// The RPCs of this file.
pub const CASES: &[Case] = &[
    ("KvFlush", flush),
    ("KvBufferBatchGet", buffer_batch_get),
    ("GetHealthFeedback", get_health_feedback),
    ("BroadcastTxnStatus", broadcast_txn_status),
];

fn flushed(c: &Caller, context: Option<Context>, names: &[&str], generation: u64) -> FlushResponse {
    let request = FlushRequest {
        context,
        mutations: names.iter().map(|name| c.mutation(Op::Put, name)).collect(),
        primary_key: c.key(names[0]),
        start_ts: 10,
        generation,
        lock_ttl: 3000,
        ..Default::default()
    };
    call!(c, kv_flush, Flush, request)
}

pub fn flush(c: &Caller) {
    let reply = flushed(c, c.context(), &["flush-1", "flush-2"], 1);
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    assert!(reply.exec_details_v2.is_some_and(|d| d.write_detail.is_some()), "a flush is a write");
    fine!(committed(c, &["flush-1", "flush-2"], 10, 20));
    assert_eq!(value(c, "flush-2", 30).as_deref(), Some(&b"v"[..]));
    locked(c, &["flush-3"], 40);
    let reply = flushed(c, c.context(), &["flush-3"], 1);
    assert_eq!(reply.errors[0].locked.as_ref().map(|lock| lock.lock_version), Some(40), "{reply:?}");
    let reply = flushed(c, c.context(), &["flush-4"], 0);
    assert!(reply.errors[0].abort.contains("greater than 0"), "{reply:?}");
    stale!(flushed(c, c.stale_context(), &["flush-1"], 1));
}

pub fn buffer_batch_get(c: &Caller) {
    let reply = flushed(c, c.context(), &["buffer-1", "buffer-2"], 1);
    assert!(reply.errors.is_empty(), "{reply:?}");
    let build = |context, version| {
        let keys = c.keys(&["buffer-2", "buffer-1", "buffer-3"]);
        BufferBatchGetRequest { context, keys, version }
    };
    let reply = fine!(call!(c, kv_buffer_batch_get, BufferBatchGet, build(c.context(), 10)));
    let found: Vec<_> = reply.pairs.into_iter().map(|p| (p.key, p.value)).collect();
    assert_eq!(found, [(c.key("buffer-1"), b"v".to_vec()), (c.key("buffer-2"), b"v".to_vec())]);
    let reply = fine!(call!(c, kv_buffer_batch_get, BufferBatchGet, build(c.context(), 11)));
    assert_eq!(reply.pairs, [], "another transaction");
    stale!(call!(c, kv_buffer_batch_get, BufferBatchGet, build(c.stale_context(), 10)));
}

/// The reply is empty; the store's cache is visible by what it changes.
pub fn broadcast_txn_status(c: &Caller) {
    let prewrite = |start_version| {
        let request = PrewriteRequest {
            context: c.context(),
            mutations: vec![c.mutation(Op::Put, "broadcast")],
            primary_lock: c.key("broadcast"),
            start_version,
            for_update_ts: start_version,
            lock_ttl: 3000,
            pessimistic_actions: vec![0],
            ..Default::default()
        };
        call!(c, kv_prewrite, Prewrite, request)
    };
    let statuses = [
        // Ignored: a completed transaction must be committed or rolled back.
        TxnStatus { start_ts: 60, is_completed: true, ..Default::default() },
        // The last status replaces this one.
        TxnStatus { start_ts: 50, min_commit_ts: 55, ..Default::default() },
        TxnStatus { start_ts: 40, commit_ts: 45, is_completed: true, ..Default::default() },
        TxnStatus { start_ts: 50, rolled_back: true, ..Default::default() },
    ];
    let request = BroadcastTxnStatusRequest { context: c.context(), txn_status: statuses.to_vec() };
    assert_eq!(call!(c, broadcast_txn_status, BroadcastTxnStatus, request), BroadcastTxnStatusResponse {});
    // A pessimistic prewrite skips the check for newer versions, unless its transaction is known to be committed.
    crate::txn::written(c, &["broadcast"], 70, 71);
    let late = prewrite(40);
    assert_eq!(late.errors.len(), 1, "{late:?}");
    let other = prewrite(50);
    assert!(other.errors.is_empty() && other.region_error.is_none(), "{other:?}");
}

/// A store answers for itself, so the context does not matter.
pub fn get_health_feedback(c: &Caller) {
    let ask = |context| {
        let reply = call!(c, get_health_feedback, GetHealthFeedback, GetHealthFeedbackRequest { context });
        assert!(reply.region_error.is_none(), "{reply:?}");
        reply.health_feedback.expect("feedback")
    };
    let (first, second) = (ask(c.context()), ask(c.stale_context()));
    assert_eq!(first.store_id, c.h.store(0).store_id());
    assert!(second.feedback_seq_no > first.feedback_seq_no, "{first:?} {second:?}");
}
