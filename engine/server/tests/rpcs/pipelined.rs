//! Pipelined transactions, and the status of transactions that clients broadcast.
use kvproto::kvrpcpb::*;

use crate::{
    call,
    caller::Caller,
    fine, stale,
    txn::{committed, locked, value},
};

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
