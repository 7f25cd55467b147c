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
