//! Request contexts, and batches that TiKV's clients do not send.
mod harness;

use std::collections::BTreeMap;

use harness::{Harness, context};
use kvproto::{
    coprocessor, errorpb,
    kvrpcpb::*,
    tikvpb::{
        BatchCommandsRequest, BatchCommandsResponse,
        batch_commands_request::{Request, request::Cmd},
        batch_commands_response::response::Cmd as Reply,
        tikv_client::TikvClient,
    },
};
use tonic::{Code, Status, Streaming, transport::Channel};

fn raw_get(context: &Context, key: &[u8]) -> RawGetRequest {
    RawGetRequest { context: Some(context.clone()), key: key.to_vec(), ..Default::default() }
}

fn get(context: &Context, key: &[u8]) -> GetRequest {
    GetRequest { context: Some(context.clone()), key: key.to_vec(), version: 100, ..Default::default() }
}

/// Sends commands with the ids 0, 1, ... in one batch.
async fn batch(client: &TikvClient<Channel>, cmds: Vec<Option<Cmd>>) -> Streaming<BatchCommandsResponse> {
    let request_ids = (0..cmds.len() as u64).collect();
    let requests = cmds.into_iter().map(|cmd| Request { cmd }).collect();
    let batch = BatchCommandsRequest { requests, request_ids, ..Default::default() };
    let stream = futures::StreamExt::chain(tokio_stream::once(batch), tokio_stream::pending());
    client.clone().batch_commands(stream).await.unwrap().into_inner()
}

/// Returns the answers to all of the commands.
async fn answers(client: &TikvClient<Channel>, cmds: Vec<Option<Cmd>>) -> BTreeMap<u64, Option<Reply>> {
    let wanted = cmds.len();
    let mut replies = batch(client, cmds).await;
    let mut found = BTreeMap::new();
    while found.len() < wanted {
        let batch = replies.message().await.unwrap().expect("the stream is open");
        found.extend(batch.request_ids.into_iter().zip(batch.responses.into_iter().map(|r| r.cmd)));
    }
    found
}

/// Returns the status that ends a batch with one command.
async fn end(client: &TikvClient<Channel>, cmd: Cmd) -> Status {
    let mut replies = batch(client, vec![Some(cmd)]).await;
    loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(status) => return status,
        }
    }
}

#[test]
fn unserved_commands_are_refused_in_a_batch_too() {
    let h = Harness::start(1);
    let (_, mut client) = h.leader();
    h.block_on(async {
        let alone = client.coprocessor(coprocessor::Request::default()).await.unwrap_err();
        assert_eq!(alone.code(), Code::Unimplemented);
        let cmds = vec![
            Some(Cmd::Coprocessor(Default::default())),
            Some(Cmd::RawCoprocessor(Default::default())),
            Some(Cmd::Gc(Default::default())),
            Some(Cmd::Import(Default::default())),
        ];
        let found = answers(&client, cmds).await;
        let error = |id: u64| match found[&id].as_ref().unwrap() {
            Reply::Coprocessor(r) => r.other_error.clone(),
            Reply::RawCoprocessor(r) => r.error.clone(),
            Reply::Gc(r) => r.error.clone().unwrap().abort,
            Reply::Import(r) => r.error.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error(0), alone.message());
        for (id, rpc) in [(0, "Coprocessor"), (2, "KvGC"), (3, "KvImport")] {
            assert_eq!(error(id), format!("this store does not serve {rpc}"));
        }
        // The command is served, but the store has no plugin with an empty name.
        assert_eq!(error(1), "No registered coprocessor with name ''");
    });
}

/// Each stream gets feedback with its first message, and whenever a command asks for it.
#[test]
fn a_batch_has_the_stores_health_feedback() {
    let h = Harness::start(1);
    let (ctx, client) = h.leader();
    h.block_on(async {
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        let mut replies = client.clone().batch_commands(requests).await.unwrap().into_inner();
        let mut ask = async |cmd| {
            let requests = vec![Request { cmd: Some(cmd) }];
            sender
                .send(BatchCommandsRequest { requests, request_ids: vec![1], ..Default::default() })
                .unwrap();
            replies.message().await.unwrap().unwrap()
        };
        let first = ask(Cmd::RawGet(raw_get(&ctx, b"k"))).await.health_feedback.expect("the first message");
        assert_eq!(first.store_id, h.store(0).store_id());
        assert!((1..=100).contains(&first.slow_score), "{first:?}");
        let asked = ask(Cmd::GetHealthFeedback(Default::default())).await;
        let feedback = asked.health_feedback.expect("on request");
        assert!(feedback.feedback_seq_no > first.feedback_seq_no);
        let Some(Reply::GetHealthFeedback(reply)) = &asked.responses[0].cmd else { panic!("{asked:?}") };
        assert_eq!(reply.health_feedback.as_ref(), Some(&feedback));
    });
}

#[test]
fn an_empty_entry_of_a_batch_gets_an_empty_answer() {
    let h = Harness::start(1);
    let (ctx, client) = h.leader();
    h.block_on(async {
        let cmds = vec![None, Some(Cmd::RawGet(raw_get(&ctx, b"k")))];
        let found = answers(&client, cmds).await;
        assert!(found[&0].is_none(), "{found:?}");
        assert!(matches!(&found[&1], Some(Reply::RawGet(r)) if r.not_found), "{found:?}");
        // More requests than ids: those without an id are skipped, as in TiKV.
        let requests = vec![Request { cmd: Some(Cmd::RawGet(raw_get(&ctx, b"k"))) }; 3];
        let batch = BatchCommandsRequest { requests, request_ids: vec![9], ..Default::default() };
        let mut replies =
            client.clone().batch_commands(tokio_stream::once(batch)).await.unwrap().into_inner();
        let mut ids = Vec::new();
        while let Some(batch) = replies.message().await.unwrap() {
            ids.extend(batch.request_ids);
        }
        assert_eq!(ids, [9]);
    });
}

#[test]
fn a_request_of_another_cluster_is_refused() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let own = Context { cluster_id: h.pd.cluster_id(), ..ctx.clone() };
        assert_eq!(client.raw_get(raw_get(&own, b"k")).await.unwrap().into_inner().value, b"v");
        let foreign = Context { cluster_id: h.pd.cluster_id() ^ 1, ..ctx.clone() };
        for status in [
            client.raw_get(raw_get(&foreign, b"k")).await.map(drop).unwrap_err(),
            client.kv_get(get(&foreign, b"k")).await.map(drop).unwrap_err(),
            client
                .split_region(SplitRegionRequest { context: Some(foreign.clone()), ..Default::default() })
                .await
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.message(), "the cluster id of the request does not match the TiKV cluster");
        }
        let ended = end(&client, Cmd::RawGet(raw_get(&foreign, b"k"))).await;
        assert_eq!(ended.code(), Code::InvalidArgument);
        assert!(ended.message().contains("does not match TiKV cluster id"), "{}", ended.message());
    });
}

#[test]
fn another_api_version_is_refused() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    let build = |version: ApiVersion| Context { api_version: version as i32, ..ctx.clone() };
    h.block_on(async {
        for version in [ApiVersion::V1ttl, ApiVersion::V2] {
            for key in [&b"k"[..], b"r\0\0\0k", b"x\0\0\0k"] {
                let error = client.raw_get(raw_get(&build(version), key)).await.unwrap().into_inner().error;
                assert_eq!(
                    error,
                    format!(
                        "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1, \
                         request: {version:?}"
                    )
                );
                let error = client.kv_get(get(&build(version), key)).await.unwrap().into_inner().error;
                let error = error.expect("an error").abort;
                assert!(error.contains("ApiVersionNotMatched { cmd: get"), "{error}");
            }
        }
        let context = Some(build(ApiVersion::V2));
        let mutations = vec![Mutation { key: b"k".to_vec(), ..Default::default() }];
        let prewrite = PrewriteRequest {
            context: context.clone(),
            mutations: mutations.clone(),
            primary_lock: b"k".to_vec(),
            start_version: 10,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await.unwrap().into_inner();
        assert!(reply.errors[0].abort.contains("ApiVersionNotMatched"), "{reply:?}");
        let swap = RawCasRequest { context: context.clone(), ..Default::default() };
        let reply = client.raw_compare_and_swap(swap).await.unwrap().into_inner();
        assert!(reply.error.contains("cmd: raw_compare_and_swap"), "{reply:?}");
        let delete = DeleteRangeRequest { context: context.clone(), ..Default::default() };
        let reply = client.kv_delete_range(delete).await.unwrap().into_inner();
        assert!(reply.error.contains("cmd: delete_range"), "{reply:?}");
        // A client that resolves locks gets those of every version.
        let locks = ScanLockRequest { context, limit: 1, max_version: 10, ..Default::default() };
        let reply = client.kv_scan_lock(locks).await.unwrap().into_inner();
        assert!(reply.error.is_none() && reply.region_error.is_none(), "{reply:?}");
    });
}

fn not_ready(ctx: &Context, error: Option<errorpb::Error>) {
    let error = error.expect("a region error");
    let not_ready = error.data_is_not_ready.expect("the data is not ready");
    assert_eq!(
        (not_ready.region_id, not_ready.peer_id, not_ready.safe_ts),
        (ctx.region_id, ctx.peer.unwrap().id, 0)
    );
}

#[test]
fn a_stale_read_is_not_served() {
    let h = Harness::start(3);
    h.raw_put(b"k", b"v");
    let (ctx, _) = h.leader();
    let (region, leader) = h.region(3);
    let follower = *region.peers.iter().find(|p| p.id != leader.id).unwrap();
    for peer in [leader, follower] {
        let store = h.find_store(peer.store_id).unwrap();
        let stale = Context { stale_read: true, ..context(&region, peer) };
        h.block_on(async {
            let mut client = TikvClient::connect(format!("http://{}", store.addr())).await.unwrap();
            not_ready(&stale, client.raw_get(raw_get(&stale, b"k")).await.unwrap().into_inner().region_error);
            let reply = client.kv_get(get(&stale, b"k")).await.unwrap().into_inner();
            assert!(reply.error.is_none(), "{reply:?}");
            not_ready(&stale, reply.region_error);
            let keys = BatchGetRequest {
                context: Some(stale.clone()),
                keys: vec![b"k".to_vec()],
                version: 100,
                ..Default::default()
            };
            let reply = client.kv_batch_get(keys.clone()).await.unwrap().into_inner();
            assert!(reply.pairs.is_empty(), "{reply:?}");
            not_ready(&stale, reply.region_error);
            let scan = RawScanRequest { context: Some(stale.clone()), limit: 1, ..Default::default() };
            not_ready(&stale, client.raw_scan(scan).await.unwrap().into_inner().region_error);
            let cmds = vec![Some(Cmd::BatchGet(keys)), Some(Cmd::RawGet(raw_get(&stale, b"k")))];
            for reply in answers(&client, cmds).await.into_values().flatten() {
                let error = match reply {
                    Reply::BatchGet(r) => r.region_error,
                    Reply::RawGet(r) => r.region_error,
                    other => panic!("{other:?}"),
                };
                not_ready(&stale, error);
            }
            // The client must learn of a stale epoch first.
            let mut old = stale.clone();
            old.region_epoch.as_mut().unwrap().version += 7;
            let error = client.raw_get(raw_get(&old, b"k")).await.unwrap().into_inner().region_error;
            assert!(error.is_some_and(|e| e.epoch_not_match.is_some()));
        });
    }
    // A write is never a stale read.
    let (_, mut client) = h.leader();
    h.block_on(async {
        let put = RawPutRequest {
            context: Some(Context { stale_read: true, ..ctx }),
            key: b"k".to_vec(),
            value: b"w".to_vec(),
            ..Default::default()
        };
        let reply = client.raw_put(put).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
    });
    assert_eq!(h.raw_get(b"k"), Some(b"w".to_vec()));
}

#[test]
fn a_term_that_the_peer_has_not_reached_is_stale() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        for term in [1 << 40, u64::MAX] {
            let future = Context { term, ..ctx.clone() };
            let error = client.raw_get(raw_get(&future, b"k")).await.unwrap().into_inner().region_error;
            assert!(error.is_some_and(|e| e.stale_command.is_some()), "term {term}");
            let put = RawPutRequest { context: Some(future), key: b"k".to_vec(), ..Default::default() };
            let error = client.raw_put(put).await.unwrap().into_inner().region_error;
            assert!(error.is_some_and(|e| e.stale_command.is_some()), "term {term}");
        }
    });
}

#[test]
fn followers_answer_replica_reads() {
    let h = Harness::start(3);
    h.raw_put(b"k", b"v");
    let (region, leader) = h.region(3);
    let follower = *region.peers.iter().find(|p| p.id != leader.id).unwrap();
    let store = h.find_store(follower.store_id).unwrap();
    let ctx = context(&region, follower);
    let mut client = h.block_on(TikvClient::connect(format!("http://{}", store.addr()))).unwrap();
    let replica = Context { replica_read: true, ..ctx.clone() };
    let found = h.until("a follower reads", async || {
        let reply = client.raw_get(raw_get(&replica, b"k")).await.ok()?.into_inner();
        reply.region_error.is_none().then_some(reply.value)
    });
    assert_eq!(found, b"v");
    h.block_on(async {
        let error = client.raw_get(raw_get(&ctx, b"k")).await.unwrap().into_inner().region_error;
        assert!(error.is_some_and(|e| e.not_leader.is_some()), "without replica_read only the leader reads");
        let put = RawPutRequest { context: Some(replica.clone()), key: b"k".to_vec(), ..Default::default() };
        let error = client.raw_put(put).await.unwrap().into_inner().region_error;
        assert!(error.is_some_and(|e| e.not_leader.is_some()), "only the leader writes");
        // As in TiKV, only the leader lists locks.
        let locks = ScanLockRequest { context: Some(replica), limit: 1, ..Default::default() };
        let error = client.kv_scan_lock(locks).await.unwrap().into_inner().region_error;
        assert!(error.is_some_and(|e| e.not_leader.is_some()), "only the leader lists locks");
    });
}
