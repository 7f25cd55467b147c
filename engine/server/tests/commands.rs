//! Commands through gRPC: raw and transactional, their errors, and the BatchCommands stream.
mod harness;

use harness::{Harness, put};
use kvproto::{
    kvrpcpb::*,
    tikvpb::{
        BatchCommandsRequest,
        batch_commands_request::{Request, request::Cmd},
        batch_commands_response::response::Cmd as Reply,
    },
};
use tonic::Code;
use tonic_prost::ProstCodec;

#[test]
fn raw_and_transactional_keys_are_written_and_read() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    assert_eq!(h.raw_get(b"k"), Some(b"v".to_vec()));
    assert_eq!(h.raw_get(b"absent"), None);

    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let prewrite = PrewriteRequest {
            context: Some(ctx.clone()),
            mutations: vec![put(b"a", b"1"), put(b"b", &[7; 300])],
            primary_lock: b"a".to_vec(),
            start_version: 10,
            lock_ttl: 3000,
            txn_size: 2,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        assert!(
            reply
                .exec_details_v2
                .and_then(|d| d.time_detail_v2)
                .is_some_and(|t| t.total_rpc_wall_time_ns > 0)
        );

        let get = |key: &[u8], version| GetRequest {
            context: Some(ctx.clone()),
            key: key.to_vec(),
            version,
            ..Default::default()
        };
        let locked = client.kv_get(get(b"a", 20)).await.unwrap().into_inner();
        assert_eq!(locked.error.and_then(|e| e.locked).map(|l| l.lock_version), Some(10));

        let commit = CommitRequest {
            context: Some(ctx.clone()),
            start_version: 10,
            keys: vec![b"a".to_vec(), b"b".to_vec()],
            commit_version: 15,
            ..Default::default()
        };
        let reply = client.kv_commit(commit).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
        assert_eq!(reply.commit_version, 15);

        let found = client.kv_get(get(b"a", 20)).await.unwrap().into_inner();
        assert_eq!((found.value.as_slice(), found.not_found), (&b"1"[..], false));
        let detail = found.exec_details_v2.unwrap().scan_detail_v2.unwrap();
        assert_eq!(detail.processed_versions, 1);
        let before = client.kv_get(get(b"a", 14)).await.unwrap().into_inner();
        assert!(before.not_found && before.error.is_none(), "{before:?}");

        let scan = ScanRequest { context: Some(ctx.clone()), limit: 10, version: 20, ..Default::default() };
        let pairs = client.kv_scan(scan).await.unwrap().into_inner().pairs;
        assert_eq!(pairs.iter().map(|p| p.key.as_slice()).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(pairs[1].value.len(), 300);
    });
}

#[test]
fn a_wrong_context_gets_a_region_error() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let mut get = async |ctx: Context| {
            let request = RawGetRequest { context: Some(ctx), key: b"k".to_vec(), ..Default::default() };
            client.raw_get(request).await.unwrap().into_inner().region_error.expect("a region error")
        };
        let absent = get(Context { region_id: 4711, ..ctx.clone() }).await;
        assert_eq!(absent.region_not_found.map(|e| e.region_id), Some(4711), "{}", absent.message);

        let mut stale = ctx.clone();
        if let Some(epoch) = stale.region_epoch.as_mut() {
            epoch.version += 1;
        }
        let stale = get(stale).await;
        let regions = stale.epoch_not_match.expect("the epoch differs").current_regions;
        assert_eq!(regions[0].id, ctx.region_id);

        let mut elsewhere = ctx.clone();
        if let Some(peer) = elsewhere.peer.as_mut() {
            peer.store_id += 7;
        }
        assert!(get(elsewhere).await.store_not_match.is_some());
        let mut other_peer = ctx.clone();
        if let Some(peer) = other_peer.peer.as_mut() {
            peer.id += 7;
        }
        assert!(get(other_peer).await.mismatch_peer_id.is_some());
    });
}

#[test]
fn batched_commands_are_answered_by_their_ids() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let get = |key: &[u8]| RawGetRequest {
            context: Some(ctx.clone()),
            key: key.to_vec(),
            ..Default::default()
        };
        let commands = [
            (7, Cmd::RawGet(get(b"k"))),
            (9, Cmd::RawGet(get(b"absent"))),
            (11, Cmd::Empty(Default::default())),
        ];
        let (request_ids, requests) =
            commands.into_iter().map(|(id, cmd)| (id, Request { cmd: Some(cmd) })).unzip();
        let batch = BatchCommandsRequest { requests, request_ids, ..Default::default() };
        // The stream must stay open for the answers.
        let stream = futures::StreamExt::chain(tokio_stream::once(batch), tokio_stream::pending());
        let mut replies = client.batch_commands(stream).await.unwrap().into_inner();
        let mut found = std::collections::BTreeMap::new();
        while found.len() < 3 {
            let batch = replies.message().await.unwrap().expect("the stream is open");
            found
                .extend(batch.request_ids.into_iter().zip(batch.responses.into_iter().filter_map(|r| r.cmd)));
        }
        assert!(matches!(&found[&7], Reply::RawGet(r) if r.value == b"v"), "{found:?}");
        assert!(matches!(&found[&9], Reply::RawGet(r) if r.not_found), "{found:?}");
        assert!(matches!(&found[&11], Reply::Empty(_)), "{found:?}");
    });
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let prewrite = |mutations, start_version| PrewriteRequest {
            context: Some(ctx.clone()),
            mutations,
            primary_lock: b"a".to_vec(),
            start_version,
            lock_ttl: 3000,
            ..Default::default()
        };
        let long = vec![b'k'; 8 * 1024 + 1];
        let unknown = Mutation { op: 99, ..put(b"b", b"v") };
        let constraint = prewrite_request::ForUpdateTsConstraint { index: 7, ..Default::default() };
        let bad = [
            (prewrite(vec![put(b"a", b"v"), put(&long, b"v")], 10), "KeyTooLarge"),
            (prewrite(vec![put(b"a", b"v"), unknown], 10), "unknown mutation operation 99"),
            (
                PrewriteRequest {
                    for_update_ts: 10,
                    for_update_ts_constraints: vec![constraint],
                    pessimistic_actions: vec![prewrite_request::PessimisticAction::DoPessimisticCheck as i32],
                    ..prewrite(vec![put(b"a", b"v")], 10)
                },
                "expected an index below 1",
            ),
        ];
        for (request, expected) in bad {
            let reply = client.kv_prewrite(request).await.unwrap().into_inner();
            assert!(reply.errors[0].abort.contains(expected), "expected {expected}, found {reply:?}");
        }
        let mut commit = async |keys: Vec<Vec<u8>>, start_version, commit_version| {
            let context = Some(ctx.clone());
            let request =
                CommitRequest { context, start_version, keys, commit_version, ..Default::default() };
            client.kv_commit(request).await.unwrap().into_inner().error.expect("an error")
        };
        let early = commit(vec![b"a".to_vec()], 10, 20).await;
        assert_eq!(early.txn_lock_not_found.map(|e| e.key), Some(b"a".to_vec()), "nothing was prewritten");
        for commit_version in [0, 9, 10] {
            let wrong = commit(vec![b"a".to_vec()], 10, commit_version).await;
            assert!(wrong.abort.contains("InvalidTxnTso"), "{wrong:?}");
        }
        let wrong = commit(vec![long.clone()], 10, 20).await;
        assert!(wrong.abort.contains("KeyTooLarge"), "{wrong:?}");
        let raw = RawPutRequest { context: Some(ctx.clone()), key: long, ..Default::default() };
        let error = client.raw_put(raw).await.unwrap().into_inner().error;
        assert!(error.contains("max key size exceeded"), "{error}");

        let rows = MvccGetByKeyRequest { context: Some(ctx.clone()), key: b"a".to_vec() };
        let rows = client.mvcc_get_by_key(rows).await.unwrap().into_inner();
        assert_eq!((rows.error.as_str(), rows.info), ("", Some(MvccInfo::default())), "a half-written key");
    });
}

/// TiKV accepts a transaction that begins at 0, too.
#[test]
fn timestamp_zero_is_a_timestamp() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        let get = {
            let (ctx, client) = (ctx.clone(), client.clone());
            async move |version| {
                let (context, key) = (Some(ctx.clone()), b"a".to_vec());
                let request = GetRequest { context, key, version, ..Default::default() };
                let reply = client.clone().kv_get(request).await.unwrap().into_inner();
                assert!(reply.region_error.is_none(), "{reply:?}");
                (reply.error.is_some(), reply.not_found, reply.value)
            }
        };
        assert_eq!(get(0).await, (false, true, vec![]));
        let prewrite = PrewriteRequest {
            context: Some(ctx.clone()),
            mutations: vec![put(b"a", b"v")],
            primary_lock: b"a".to_vec(),
            lock_ttl: 3000,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await.unwrap().into_inner();
        assert!(reply.errors.is_empty() && reply.region_error.is_none(), "{reply:?}");
        assert!(get(1).await.0, "the lock is in the way");
        let commit = |commit_version| CommitRequest {
            context: Some(ctx.clone()),
            keys: vec![b"a".to_vec()],
            commit_version,
            ..Default::default()
        };
        let wrong = client.kv_commit(commit(0)).await.unwrap().into_inner().error.unwrap();
        assert!(wrong.abort.contains("InvalidTxnTso"), "{wrong:?}");
        let reply = client.kv_commit(commit(1)).await.unwrap().into_inner();
        assert!(reply.error.is_none() && reply.region_error.is_none(), "{reply:?}");
        assert_eq!(get(0).await, (false, true, vec![]));
        assert_eq!(get(1).await, (false, false, b"v".to_vec()));
    });
}

#[test]
fn a_message_that_cannot_be_decoded_fails_alone() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (region, leader) = h.region(1);
    let address = format!("http://{}", h.find_store(leader.store_id).unwrap().addr());
    h.block_on(async {
        let channel = tonic::transport::Endpoint::new(address).unwrap().connect().await.unwrap();
        for method in ["KvGet", "KvPrewrite", "KvCommit", "RawPut", "KvFlush", "UnsafeDestroyRange"] {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.unwrap();
            let path = format!("/tikvpb.Tikv/{method}").parse().unwrap();
            // The first field of the requests is a message, and these bytes are none.
            let request = tonic::Request::new(KeyRange { start_key: vec![0xff; 3], ..Default::default() });
            let answer = grpc.unary(request, path, ProstCodec::<KeyRange, KeyRange>::default()).await;
            let status = answer.expect_err("the bytes are no request");
            assert_eq!(status.code(), Code::Internal, "{method}: {status}");
        }
        let mut client = kvproto::tikvpb::tikv_client::TikvClient::new(channel);
        let context = Some(harness::context(&region, leader));
        let get = RawGetRequest { context, key: b"k".to_vec(), ..Default::default() };
        assert_eq!(client.raw_get(get).await.unwrap().into_inner().value, b"v", "the connection lives");
    });
}
