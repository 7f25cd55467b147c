//! `exec_details_v2` of replies: the parts add up to the server's time, which is within the client's.
mod harness;

use std::time::Instant;

use harness::Harness;
use kvproto::{
    kvrpcpb::*,
    tikvpb::{
        BatchCommandsRequest,
        batch_commands_request::{Request, request::Cmd},
        batch_commands_response::response::Cmd as Reply,
        tikv_client::TikvClient,
    },
};
use tonic::transport::Channel;

/// Times in a row that are parts of a reply's whole time, in nanoseconds.
struct Parts<'a>(Vec<(&'a str, u64)>);

impl Parts<'_> {
    /// Checks the parts against the server's and the client's time.
    fn check(&self, details: &ExecDetailsV2, client_ns: u64) {
        let sum: u64 = self.0.iter().map(|(_, ns)| ns).sum();
        let time = details.time_detail_v2.as_ref().unwrap();
        let total = time.total_rpc_wall_time_ns;
        assert!(sum <= total, "the parts exceed {total} ns: {:?}", self.0);
        assert!(total <= client_ns, "the server needed {total} ns, the client {client_ns} ns");
        assert_eq!(details.time_detail.as_ref().unwrap().total_rpc_wall_time_ns, total, "the old field, too");
        let zero: Vec<_> = self.0.iter().filter(|(_, ns)| *ns == 0).collect();
        assert!(zero.is_empty(), "no part is free: {zero:?}");
    }
}

fn read_parts(details: &ExecDetailsV2) -> Parts<'static> {
    let (time, scan) = (details.time_detail_v2.as_ref().unwrap(), details.scan_detail_v2.as_ref().unwrap());
    assert_eq!(time.kv_read_wall_time_ns, time.wait_wall_time_ns + time.process_wall_time_ns);
    let waits = scan.read_pool_schedule_wait_nanos + scan.get_snapshot_nanos;
    assert_eq!(time.wait_wall_time_ns, waits, "queue and snapshot are the whole wait");
    assert!(details.write_detail.is_none(), "a read writes nothing");
    Parts(vec![
        ("kv_grpc_process", time.kv_grpc_process_time_ns),
        ("read_pool_schedule_wait", scan.read_pool_schedule_wait_nanos),
        ("get_snapshot", scan.get_snapshot_nanos),
        ("process", time.process_wall_time_ns),
    ])
}

/// Checks what a write of Raft contains, and returns the parts in a row.
fn write_parts(details: &ExecDetailsV2) -> Parts<'static> {
    let (time, scan) = (details.time_detail_v2.as_ref().unwrap(), details.scan_detail_v2.as_ref().unwrap());
    let write = details.write_detail.as_ref().unwrap();
    let raft_db = write.raft_db_write_leader_wait_nanos
        + write.raft_db_sync_log_nanos
        + write.raft_db_write_memtable_nanos;
    assert!(write.raft_db_sync_log_nanos > 0, "the log was synced: {write:?}");
    assert!(write.raft_db_write_memtable_nanos > 0, "raft-engine's index was updated: {write:?}");
    assert!(raft_db <= write.persist_log_nanos, "raft-engine's times are inside of persist_log: {write:?}");
    assert!(
        write.persist_log_nanos <= write.commit_log_nanos,
        "one store commits after its fsync: {write:?}"
    );
    let apply = write.apply_mutex_lock_nanos
        + write.apply_write_leader_wait_nanos
        + write.apply_write_wal_nanos
        + write.apply_write_memtable_nanos;
    assert!(write.apply_write_wal_nanos > 0 && write.apply_write_memtable_nanos > 0, "{write:?}");
    assert!(apply <= write.apply_log_nanos, "RocksDB's times are inside of apply_log: {write:?}");
    assert_eq!(write.throttle_nanos, 0, "flow control did not wait");
    Parts(vec![
        ("kv_grpc_process", time.kv_grpc_process_time_ns),
        ("latch_wait", write.latch_wait_nanos),
        ("get_snapshot", scan.get_snapshot_nanos),
        ("process", write.process_nanos),
        ("store_batch_wait", write.store_batch_wait_nanos),
        ("commit_log", write.commit_log_nanos),
        ("apply_batch_wait", write.apply_batch_wait_nanos),
        ("apply_log", write.apply_log_nanos),
    ])
}

/// Runs a call and returns its answer and the client's nanoseconds.
async fn timed<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> (T, u64) {
    let begin = Instant::now();
    let reply = call.await.unwrap().into_inner();
    (reply, begin.elapsed().as_nanos() as u64)
}

fn prewrite(context: &Context, key: &[u8], ts: u64) -> PrewriteRequest {
    harness::prewrite(context, key, b"v", ts)
}

fn commit(context: &Context, key: &[u8], ts: u64) -> CommitRequest {
    CommitRequest {
        context: Some(context.clone()),
        start_version: ts,
        keys: vec![key.to_vec()],
        commit_version: ts + 1,
        ..Default::default()
    }
}

/// Prewrites the key `k` at timestamp 10, and checks the parts of the reply's time.
async fn check_prewrite(client: &mut TikvClient<Channel>, context: &Context) {
    let (reply, ns) = timed(client.kv_prewrite(prewrite(context, b"k", 10))).await;
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    let details = reply.exec_details_v2.unwrap();
    write_parts(&details).check(&details, ns);
    let bytes = details.ru_v2.unwrap().raftstore_store_write_trigger_wb_bytes;
    assert_eq!(bytes, 9 + 1, "the encoded key and the value");
}

#[test]
fn the_parts_of_a_reply_add_up_to_the_servers_time() {
    // A lock that is answered before Raft has it has no parts of Raft.
    let h = Harness::start_with(1, |config| config.pessimistic_txn.pipelined = false);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        check_prewrite(&mut client, &ctx).await;

        let (reply, ns) = timed(client.kv_commit(commit(&ctx, b"k", 10))).await;
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        write_parts(&details).check(&details, ns);

        let lock = PessimisticLockRequest {
            context: Some(ctx.clone()),
            mutations: vec![Mutation { op: Op::PessimisticLock as i32, ..harness::put(b"p", b"v") }],
            primary_lock: b"p".to_vec(),
            start_version: 20,
            for_update_ts: 20,
            lock_ttl: 3000,
            ..Default::default()
        };
        let (reply, ns) = timed(client.kv_pessimistic_lock(lock)).await;
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        write_parts(&details).check(&details, ns);
        assert_eq!(details.write_detail.unwrap().pessimistic_lock_wait_nanos, 0);

        let get =
            GetRequest { context: Some(ctx.clone()), key: b"k".to_vec(), version: 100, ..Default::default() };
        let (reply, ns) = timed(client.kv_get(get)).await;
        assert_eq!(reply.value, b"v");
        let details = reply.exec_details_v2.unwrap();
        read_parts(&details).check(&details, ns);
        assert_eq!(details.ru_v2.unwrap().storage_processed_keys_get, 1);
        let scan = details.scan_detail_v2.unwrap();
        assert_eq!((scan.processed_versions, scan.read_index_propose_wait_nanos), (1, 0), "a local read");

        let keys = vec![b"k".to_vec(), b"absent".to_vec()];
        let batch = BatchGetRequest { context: Some(ctx.clone()), keys, version: 15, ..Default::default() };
        let (reply, ns) = timed(client.kv_batch_get(batch)).await;
        assert_eq!(reply.pairs.len(), 1, "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        read_parts(&details).check(&details, ns);
        assert_eq!(details.ru_v2.unwrap().storage_processed_keys_batch_get, 2, "the absent key, too");

        let locks =
            ScanLockRequest { context: Some(ctx.clone()), max_version: 50, limit: 10, ..Default::default() };
        let (reply, ns) = timed(client.kv_scan_lock(locks)).await;
        assert_eq!(reply.locks.len(), 1, "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        read_parts(&details).check(&details, ns);
    });
}

/// Sends one command in a batch; returns its reply and the client's nanoseconds.
async fn batched(client: &TikvClient<Channel>, cmd: Cmd) -> (Reply, u64) {
    let begin = Instant::now();
    let batch = BatchCommandsRequest {
        requests: vec![Request { cmd: Some(cmd) }],
        request_ids: vec![7],
        ..Default::default()
    };
    let stream = futures::StreamExt::chain(tokio_stream::once(batch), tokio_stream::pending());
    let mut replies = client.clone().batch_commands(stream).await.unwrap().into_inner();
    let reply = loop {
        let message = replies.message().await.unwrap().expect("the stream is open");
        if let Some(reply) = message.responses.into_iter().find_map(|r| r.cmd) {
            break reply;
        }
    };
    (reply, begin.elapsed().as_nanos() as u64)
}

#[test]
fn a_batched_reply_has_its_wait_for_the_stream() {
    let h = Harness::start(1);
    let (ctx, client) = h.leader();
    h.block_on(async {
        let (reply, ns) = batched(&client, Cmd::Prewrite(prewrite(&ctx, b"k", 10))).await;
        let Reply::Prewrite(reply) = reply else { panic!("{reply:?}") };
        let details = reply.exec_details_v2.unwrap();
        let mut parts = write_parts(&details);
        parts.0.push(("kv_grpc_wait", details.time_detail_v2.unwrap().kv_grpc_wait_time_ns));
        parts.check(&details, ns);
        let get = GetRequest {
            context: Some(ctx.clone()),
            key: b"absent".to_vec(),
            version: 5,
            ..Default::default()
        };
        let (reply, ns) = batched(&client, Cmd::Get(get)).await;
        let Reply::Get(reply) = reply else { panic!("{reply:?}") };
        assert!(reply.not_found, "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        let mut parts = read_parts(&details);
        parts.0.push(("kv_grpc_wait", details.time_detail_v2.unwrap().kv_grpc_wait_time_ns));
        parts.check(&details, ns);
    });
}

#[test]
fn a_write_on_three_stores_has_raft_parts() {
    let h = Harness::start(3);
    let (ctx, mut client) = h.leader();
    h.block_on(check_prewrite(&mut client, &ctx));
}

#[test]
fn a_follower_read_has_the_waits_of_its_read_index() {
    let h = Harness::start(3);
    h.raw_put(b"k", b"v");
    let (region, leader) = h.region(3);
    let follower = *region.peers.iter().find(|p| p.id != leader.id).unwrap();
    let store = h.find_store(follower.store_id).unwrap();
    let address = format!("http://{}", store.addr());
    h.block_on(async {
        let mut client = TikvClient::connect(address).await.unwrap();
        let context = Context { replica_read: true, ..harness::context(&region, follower) };
        let get =
            GetRequest { context: Some(context), key: b"absent".to_vec(), version: 5, ..Default::default() };
        let (reply, ns) = timed(client.kv_get(get)).await;
        assert!(reply.not_found && reply.region_error.is_none(), "{reply:?}");
        let details = reply.exec_details_v2.unwrap();
        read_parts(&details).check(&details, ns);
        let scan = details.scan_detail_v2.unwrap();
        let read_index = scan.read_index_propose_wait_nanos + scan.read_index_confirm_wait_nanos;
        assert!(scan.read_index_propose_wait_nanos > 0 && scan.read_index_confirm_wait_nanos > 0, "{scan:?}");
        assert!(read_index <= scan.get_snapshot_nanos, "the round is inside of the snapshot: {scan:?}");
    });
}
