//! Stores of API V1TTL and V2.
mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use engine_rocks::{CF_DEFAULT, IterOptions};
use harness::Harness;
use kvproto::{
    debugpb::{ModifyTikvConfigRequest, debug_client::DebugClient},
    kvrpcpb::*,
    tikvpb::tikv_client::TikvClient,
};
use server::{StartOptions, TikvServer, config::ReadableDuration};
use tonic::transport::Channel;

/// Encodings of a store: the value of `api`.
const V1: u8 = 0;
const V1TTL: u8 = 1;
const V2: u8 = 2;

/// Starts one store, and returns the handle with which its configuration can be changed for the next start.
fn start(version: u8) -> (Harness, Arc<AtomicU8>) {
    let api = Arc::new(AtomicU8::new(version));
    let tuned = api.clone();
    let h = Harness::start_with(1, move |config| {
        let version = tuned.load(Ordering::Relaxed);
        config.storage.api_version = if version == V2 { 2 } else { 1 };
        config.storage.enable_ttl = version != V1;
        config.storage.ttl_check_poll_interval = ReadableDuration::millis(500);
    });
    (h, api)
}

fn put(context: &Context, key: &[u8], ttl: u64) -> RawPutRequest {
    let (context, key) = (Some(context.clone()), key.to_vec());
    RawPutRequest { context, key, value: b"v".to_vec(), ttl, ..Default::default() }
}

fn get(context: &Context, key: &[u8]) -> RawGetRequest {
    RawGetRequest { context: Some(context.clone()), key: key.to_vec(), ..Default::default() }
}

/// The value of a key, once the store that was started again leads.
fn value(h: &Harness, client: &TikvClient<Channel>, ctx: &Context, key: &[u8]) -> Vec<u8> {
    h.until("the store leads its region again", async || {
        let reply = client.clone().raw_get(get(ctx, key)).await.ok()?.into_inner();
        assert!(reply.error.is_empty(), "{reply:?}");
        reply.region_error.is_none().then_some(reply.value)
    })
}

/// The keys in CF default of the only store.
fn rows(h: &Harness) -> Vec<Vec<u8>> {
    let kv = &h.store(0).engines().unwrap().kv;
    let mut iter = kv.iterator_cf(CF_DEFAULT, IterOptions::range(b"z", b"{")).unwrap();
    let (mut rows, mut found) = (Vec::new(), iter.seek(b"z").unwrap());
    while found {
        rows.push(iter.key().to_vec());
        found = iter.next().unwrap();
    }
    rows
}

/// Starts the store again in another encoding; returns the reason for which it does not start.
fn restart(h: &mut Harness, api: &AtomicU8, version: u8) -> Option<String> {
    if let Some(store) = h.stores[0].take() {
        store.shutdown();
    }
    api.store(version, Ordering::Relaxed);
    match TikvServer::start(h.config(0), StartOptions::default()) {
        Ok(store) => {
            h.stores[0] = Some(store);
            None
        }
        Err(e) => Some(e.to_string()),
    }
}

#[test]
fn the_interval_of_the_ttl_checker_changes_online() {
    let h = Harness::start_with(1, |config| {
        config.storage.enable_ttl = true;
        config.storage.ttl_check_poll_interval = ReadableDuration::hours(12);
    });
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        for (key, ttl) in [(b"never", 0), (b"early", 1)] {
            let reply = client.raw_put(put(&ctx, key, ttl)).await.unwrap().into_inner();
            assert!(reply.error.is_empty() && reply.region_error.is_none(), "{reply:?}");
        }
    });
    let set = |value: &str| {
        let (host, client) = (h.store(0).addr(), DebugClient::connect);
        let request = ModifyTikvConfigRequest {
            config_name: "storage.ttl-check-poll-interval".to_owned(),
            config_value: value.to_owned(),
            ..Default::default()
        };
        h.block_on(async {
            client(format!("http://{host}")).await.unwrap().modify_tikv_config(request).await.map(drop)
        })
    };
    let error = set("soon").unwrap_err().to_string();
    assert!(error.contains("storage.ttl-check-poll-interval"), "{error}");
    assert_eq!(rows(&h).len(), 2);
    set("300ms").unwrap();
    h.until("the TTL checker compacts the expired row away", async || {
        (rows(&h) == [&b"znever"[..]]).then_some(())
    });
}

#[test]
fn expired_values_leave_a_store_with_ttl() {
    let (mut h, api) = start(V1TTL);
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        for (key, ttl) in [(b"never", 0), (b"later", 1000), (b"early", 1)] {
            let reply = client.raw_put(put(&ctx, key, ttl)).await.unwrap().into_inner();
            assert!(reply.error.is_empty() && reply.region_error.is_none(), "{reply:?}");
        }
        let ttl = |key: &[u8]| RawGetKeyTtlRequest {
            context: Some(ctx.clone()),
            key: key.to_vec(),
            ..Default::default()
        };
        let reply = client.raw_get_key_ttl(ttl(b"later")).await.unwrap().into_inner();
        assert!((900..=1000).contains(&reply.ttl) && !reply.not_found, "{reply:?}");
        let reply = client.raw_get_key_ttl(ttl(b"never")).await.unwrap().into_inner();
        assert!(reply.ttl == 0 && !reply.not_found, "{reply:?}");
        let reply = client.raw_get_key_ttl(ttl(b"absent")).await.unwrap().into_inner();
        assert!(reply.not_found, "{reply:?}");
        let txn =
            GetRequest { context: Some(ctx.clone()), key: b"k".to_vec(), version: 9, ..Default::default() };
        let error = client.kv_get(txn).await.unwrap().into_inner().error.unwrap().abort;
        assert!(
            error.contains("storage: V1ttl, request: V1") || error.contains("ApiVersionNotMatched"),
            "{error}"
        );
    });
    h.until("the TTL checker compacts the expired row away", async || {
        let expired = client.clone().raw_get(get(&ctx, b"early")).await.unwrap().into_inner().not_found;
        (expired && rows(&h) == [&b"zlater"[..], b"znever"]).then_some(())
    });
    assert_eq!(restart(&mut h, &api, V1).unwrap(), "can't disable ttl on a ttl instance");
    let error = restart(&mut h, &api, V2).unwrap();
    assert!(error.contains("unable to switch `storage.api_version` from V1ttl to V2"), "{error}");
    let error = restart(&mut h, &api, V1).unwrap();
    assert_eq!(error, "can't disable ttl on a ttl instance", "the refused start has left the file as it was");
    assert_eq!(restart(&mut h, &api, V1TTL), None);
    let (ctx, client) = h.leader();
    assert_eq!(value(&h, &client, &ctx, b"never"), b"v");
}

#[test]
fn a_store_of_v2_serves_raw_and_transactional_keys() {
    let (mut h, api) = start(V2);
    let (v1, mut client) = h.leader();
    let ctx = Context { api_version: ApiVersion::V2.into(), ..v1.clone() };
    let (raw_key, txn_key) = (b"r\0\0\0k", b"x\0\0\0k");
    h.until("the leader has dropped its old timestamps", async || {
        let reply = client.clone().raw_put(put(&ctx, raw_key, 0)).await.unwrap().into_inner();
        assert!(reply.error.is_empty(), "{reply:?}");
        reply.region_error.is_none().then_some(())
    });
    let before = rows(&h).len();
    h.block_on(async {
        client.raw_put(put(&ctx, raw_key, 1000)).await.unwrap();
        assert_eq!(client.raw_get(get(&ctx, raw_key)).await.unwrap().into_inner().value, b"v");
        let delete =
            RawDeleteRequest { context: Some(ctx.clone()), key: raw_key.to_vec(), ..Default::default() };
        client.raw_delete(delete).await.unwrap();
        assert!(client.raw_get(get(&ctx, raw_key)).await.unwrap().into_inner().not_found);
        let swap = RawCasRequest {
            context: Some(ctx.clone()),
            key: raw_key.to_vec(),
            value: b"w".to_vec(),
            previous_not_exist: true,
            ..Default::default()
        };
        let reply = client.raw_compare_and_swap(swap).await.unwrap().into_inner();
        assert!(reply.succeed && reply.previous_not_exist, "{reply:?}");
        assert_eq!(client.raw_get(get(&ctx, raw_key)).await.unwrap().into_inner().value, b"w");
        // Requests of other versions, and keys of the other kind.
        let error = client.raw_get(get(&v1, raw_key)).await.unwrap().into_inner().error;
        assert!(error.contains("storage: V2, request: V1"), "{error}");
        let error = client.raw_get(get(&ctx, txn_key)).await.unwrap().into_inner().error;
        assert!(error.contains("Key mode mismatched with the request mode, cmd: raw_get"), "{error}");
        let prewrite = |context: &Context, key: &[u8]| PrewriteRequest {
            context: Some(context.clone()),
            mutations: vec![Mutation { key: key.to_vec(), value: b"v".to_vec(), ..Default::default() }],
            primary_lock: key.to_vec(),
            start_version: 10,
            lock_ttl: 3000,
            ..Default::default()
        };
        for (context, key, accepted) in [
            (&ctx, &txn_key[..], true),
            (&ctx, raw_key, false),
            (&v1, b"t\x80row", true),
            (&v1, txn_key, false),
        ] {
            let reply = client.kv_prewrite(prewrite(context, key)).await.unwrap().into_inner();
            assert_eq!(reply.errors.is_empty(), accepted, "{key:?}: {reply:?}");
        }
    });
    assert_eq!(rows(&h).len(), before + 3, "each write is a version");
    let error = restart(&mut h, &api, V1).unwrap();
    assert!(error.contains("unable to switch `storage.api_version` from V2 to V1"), "{error}");
    assert_eq!(restart(&mut h, &api, V2), None);
    let (v1, client) = h.leader();
    let ctx = Context { api_version: ApiVersion::V2.into(), ..v1 };
    assert_eq!(value(&h, &client, &ctx, raw_key), b"w");
}

#[test]
fn a_new_leader_of_v2_writes_above_the_old_one() {
    let h = Harness::start_with(3, |config| {
        config.storage.api_version = 2;
        config.storage.enable_ttl = true;
    });
    let key = b"r\0\0\0k";
    for round in 0_u8..6 {
        let value = vec![round];
        h.until("a put succeeds at the current leader", async || {
            let found = h.client.get_region(b"").await.ok()?;
            let leader = found.leader?;
            let store = h.find_store(leader.store_id)?;
            let mut client = TikvClient::connect(format!("http://{}", store.addr())).await.ok()?;
            let context = harness::context(&found.region, leader);
            let context = Context { api_version: ApiVersion::V2.into(), ..context };
            let request = RawPutRequest { value: value.clone(), ..put(&context, key, 0) };
            let reply =
                tokio::time::timeout(Duration::from_secs(5), client.raw_put(request)).await.ok()?.ok()?;
            reply.into_inner().region_error.is_none().then_some(())?;
            let reply = client.raw_get(get(&context, key)).await.ok()?.into_inner();
            reply.region_error.is_none().then_some(())?;
            assert_eq!(reply.value, value, "the newest write has the newest version");
            // Another store leads next.
            let next = found.region.peers.iter().find(|p| p.store_id != leader.store_id)?;
            let router = store.router();
            transfer(router, &found.region, leader, *next).await;
            Some(())
        });
    }
}

async fn transfer(
    router: &raftstore::RaftRouter,
    region: &kvproto::metapb::Region,
    leader: kvproto::metapb::Peer,
    next: kvproto::metapb::Peer,
) {
    use kvproto::raft_cmdpb::*;
    let header = RaftRequestHeader {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(leader),
        ..Default::default()
    };
    let admin = AdminRequest {
        cmd_type: AdminCmdType::TransferLeader as i32,
        transfer_leader: Some(TransferLeaderRequest { peer: Some(next), ..Default::default() }),
        ..Default::default()
    };
    let command = RaftCmdRequest { header: Some(header), admin_request: Some(admin), ..Default::default() };
    let (callback, answer) = raftstore::store::Callback::paired_write();
    // A failed transfer leaves the leader, and the next round writes there.
    let _ = router.send_command(command, callback, tracepoints::Req::NONE);
    let _ = answer.await;
}
