//! A store that has too much to do refuses commands with `ServerIsBusy`, over gRPC.
mod harness;

use harness::Harness;
use kvproto::{errorpb, kvrpcpb::*};
use server::config::ReadableSize;

fn prewrite(context: &Context, key: &[u8], ts: u64) -> PrewriteRequest {
    harness::prewrite(context, key, &[7; 4096], ts)
}

fn reason(error: Option<errorpb::Error>) -> Option<String> {
    error?.server_is_busy.map(|busy| busy.reason)
}

#[test]
fn a_scheduler_above_its_pending_bytes_refuses_normal_commands() {
    let h = Harness::start_with(1, |config| {
        config.storage.scheduler_pending_write_threshold = ReadableSize(0);
    });
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let refused = client.kv_prewrite(prewrite(&ctx, b"k", 10)).await.unwrap().into_inner();
        assert_eq!(reason(refused.region_error).as_deref(), Some("scheduler is busy"));
        // TiKV accepts commands of high priority, and those that resolve locks.
        let mut high = ctx.clone();
        high.set_priority(CommandPri::High);
        let accepted = client.kv_prewrite(prewrite(&high, b"k", 10)).await.unwrap().into_inner();
        assert!(accepted.region_error.is_none() && accepted.errors.is_empty(), "{accepted:?}");
        let resolve =
            ResolveLockRequest { context: Some(ctx.clone()), start_version: 10, ..Default::default() };
        let resolved = client.kv_resolve_lock(resolve).await.unwrap().into_inner();
        assert!(resolved.region_error.is_none() && resolved.error.is_none(), "{resolved:?}");
    });
}

#[test]
fn a_scheduler_above_its_memory_quota_refuses_every_command() {
    let h = Harness::start_with(1, |config| {
        config.storage.scheduler_pending_write_threshold = ReadableSize(3000);
        config.storage.memory_quota = ReadableSize(3000);
    });
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let mut high = ctx.clone();
        high.set_priority(CommandPri::High);
        for context in [&ctx, &high] {
            let refused = client.kv_prewrite(prewrite(context, b"k", 10)).await.unwrap().into_inner();
            assert_eq!(reason(refused.region_error).as_deref(), Some("scheduler is busy"));
        }
        let small = TxnHeartBeatRequest {
            context: Some(ctx.clone()),
            primary_lock: b"k".to_vec(),
            start_version: 10,
            advise_lock_ttl: 1000,
            ..Default::default()
        };
        let accepted = client.kv_txn_heart_beat(small).await.unwrap().into_inner();
        assert!(accepted.region_error.is_none(), "a command within the quota runs: {accepted:?}");
        assert!(
            accepted.error.and_then(|e| e.txn_not_found).is_some(),
            "the refused prewrites wrote nothing"
        );
    });
}

#[test]
fn a_read_that_would_wait_too_long_is_refused() {
    let h = Harness::start_with(1, |config| {
        config.read_pool.unified.min_thread_count = 1;
        config.read_pool.unified.max_thread_count = 1;
    });
    h.raw_put(b"k", b"v");
    let (ctx, client) = h.leader();
    let keys: Vec<Vec<u8>> = (0..20_000).map(|n| format!("absent{n:06}").into_bytes()).collect();
    let slow = BatchGetRequest { context: Some(ctx.clone()), keys, version: 5, ..Default::default() };
    let get = GetRequest {
        context: Some(Context { busy_threshold_ms: 1, ..ctx }),
        key: b"k".to_vec(),
        version: 5,
        ..Default::default()
    };
    // The first slow reads teach the pool how long a task takes; later ones wait while the get arrives.
    let busy = h.until("a get is refused while slow reads wait", async || {
        let reads: Vec<_> = (0..6)
            .map(|_| {
                let (mut client, slow) = (client.clone(), slow.clone());
                tokio::spawn(async move { client.kv_batch_get(slow).await })
            })
            .collect();
        let mut refused = None;
        while refused.is_none() && reads.iter().any(|read| !read.is_finished()) {
            let reply = client.clone().kv_get(get.clone()).await.ok()?.into_inner();
            refused = reply.region_error.and_then(|e| e.server_is_busy);
        }
        for read in reads {
            let reply = read.await.unwrap().unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.error.is_none(), "no threshold: never refused");
        }
        refused
    });
    assert_eq!(busy.reason, "estimated wait time exceeds threshold");
    assert!(busy.estimated_wait_ms >= 1, "{busy:?}");
}

#[test]
fn flow_control_refuses_writes_that_compactions_cannot_follow() {
    let h = Harness::start_with(1, |config| {
        let flow = &mut config.storage.flow_control;
        flow.soft_pending_compaction_bytes_limit = ReadableSize(2);
        flow.hard_pending_compaction_bytes_limit = ReadableSize(4);
        config.rocksdb.defaultcf.write_buffer_size = ReadableSize::kb(64);
        config.rocksdb.defaultcf.tuning.disable_auto_compactions = Some(true);
        config.rocksdb.defaultcf.tuning.level0_file_num_compaction_trigger = Some(2);
    });
    let (ctx, client) = h.leader();
    let mut ts = 10;
    let refused = h.until("flow control refuses a prewrite", async || {
        // Raw puts pass no flow control, as in TiKV: they fill level 0.
        for n in 0..30 {
            let put = RawPutRequest {
                context: Some(ctx.clone()),
                key: format!("raw{n}").into_bytes(),
                value: vec![7; 8 << 10],
                ..Default::default()
            };
            client.clone().raw_put(put).await.ok()?;
        }
        ts += 1;
        let reply = client.clone().kv_prewrite(prewrite(&ctx, format!("k{ts}").as_bytes(), ts)).await.ok()?;
        reason(reply.into_inner().region_error)
    });
    assert_eq!(refused, "scheduler is busy");
}
