//! Garbage collection below PD's safe point.
mod harness;

use std::time::Duration;

use engine_rocks::{CF_DEFAULT, CF_WRITE, IterOptions};
use harness::{Harness, context};
use kvproto::{kvrpcpb::*, tikvpb::tikv_client::TikvClient};
use tonic::transport::Channel;
use txn_types::Key;

fn start(stores: usize, filter: bool, v2: bool) -> Harness {
    Harness::start_with(stores, move |config| {
        config.gc.enable_compaction_filter = filter;
        config.gc.poll_safe_point_interval = Some(Duration::from_millis(100));
        if v2 {
            config.storage.api_version = 2;
            config.storage.enable_ttl = true;
        }
    })
}

async fn write(
    client: &mut TikvClient<Channel>,
    ctx: &Context,
    op: Op,
    key: &[u8],
    value: Vec<u8>,
    start: u64,
) {
    let prewrite = PrewriteRequest {
        context: Some(ctx.clone()),
        mutations: vec![Mutation { op: op.into(), key: key.to_vec(), value, ..Default::default() }],
        primary_lock: key.to_vec(),
        start_version: start,
        lock_ttl: 3000,
        ..Default::default()
    };
    let reply = client.kv_prewrite(prewrite).await.unwrap().into_inner();
    assert!(reply.errors.is_empty() && reply.region_error.is_none(), "{reply:?}");
    let commit = CommitRequest {
        context: Some(ctx.clone()),
        start_version: start,
        keys: vec![key.to_vec()],
        commit_version: start + 1,
        ..Default::default()
    };
    let reply = client.kv_commit(commit).await.unwrap().into_inner();
    assert!(reply.error.is_none() && reply.region_error.is_none(), "{reply:?}");
}

/// Number of rows of a column family on each store.
fn rows(h: &Harness, cf: &str) -> Vec<usize> {
    let count = |n: usize| {
        let kv = &h.store(n).engines().unwrap().kv;
        let mut iter = kv.iterator_cf(cf, IterOptions::range(b"z", b"{")).unwrap();
        let (mut rows, mut found) = (0, iter.seek(b"z").unwrap());
        while found {
            rows += 1;
            found = iter.next().unwrap();
        }
        rows
    };
    (0..h.stores.len()).map(count).collect()
}

fn compact(h: &Harness, cf: &str) {
    h.stores.iter().flatten().for_each(|s| s.engines().unwrap().kv.compact_range_cf(cf, None, None).unwrap());
}

/// Moves PD's safe point, and waits until all stores have it.
fn move_safe_point(h: &Harness, ts: u64) {
    h.block_on(h.client.update_gc_safe_point(ts)).unwrap();
    h.until("the stores have the safe point", async || {
        h.stores.iter().flatten().all(|s| s.gc_state().unwrap().0 == ts).then_some(())
    });
}

/// Writes three versions of a key, of which two have long values, and a deleted key.
fn write_versions(h: &Harness) {
    let (ctx, mut client) = h.leader();
    h.block_on(async {
        for (start, value) in [(10, vec![b'a'; 300]), (20, vec![b'b'; 300]), (30, b"c".to_vec())] {
            write(&mut client, &ctx, Op::Put, b"k", value, start).await;
        }
        write(&mut client, &ctx, Op::Put, b"gone", b"v".to_vec(), 10).await;
        write(&mut client, &ctx, Op::Del, b"gone", Vec::new(), 20).await;
    });
    let stores = h.stores.len();
    h.until("all stores have applied the writes", async || {
        (rows(h, CF_WRITE) == vec![5; stores] && rows(h, CF_DEFAULT) == vec![2; stores]).then_some(())
    });
}

fn read(h: &Harness, version: u64) -> Option<Vec<u8>> {
    let (region, leader) = h.region(h.stores.len());
    let store = h.find_store(leader.store_id).unwrap();
    let request = GetRequest {
        context: Some(context(&region, leader)),
        key: b"k".to_vec(),
        version,
        ..Default::default()
    };
    h.block_on(async {
        let mut client = TikvClient::connect(format!("http://{}", store.addr())).await.unwrap();
        let reply = client.kv_get(request).await.unwrap().into_inner();
        assert!(reply.error.is_none() && reply.region_error.is_none(), "{reply:?}");
        (!reply.not_found).then_some(reply.value)
    })
}

#[test]
fn compactions_drop_old_versions_on_every_store() {
    let h = start(3, true, false);
    write_versions(&h);
    compact(&h, CF_WRITE);
    assert_eq!(rows(&h, CF_WRITE), [5; 3], "without a safe point everything stays");
    move_safe_point(&h, 25);
    // The first compaction leaves the delete, the second finds it alone.
    h.until("the worker has deleted the rest", async || {
        compact(&h, CF_WRITE);
        (rows(&h, CF_WRITE) == [2; 3] && rows(&h, CF_DEFAULT) == [1; 3]).then_some(())
    });
    assert_eq!((read(&h, 25), read(&h, 40)), (Some(vec![b'b'; 300]), Some(b"c".to_vec())));
    move_safe_point(&h, 50);
    h.until("only the newest version is left", async || {
        compact(&h, CF_WRITE);
        (rows(&h, CF_WRITE) == [1; 3] && rows(&h, CF_DEFAULT) == [0; 3]).then_some(())
    });
    assert_eq!(read(&h, 60), Some(b"c".to_vec()));
}

#[test]
fn a_deleted_key_leaves_the_disk_without_a_full_compaction() {
    let h = start(1, true, false);
    let (ctx, mut client) = h.leader();
    h.block_on(write(&mut client, &ctx, Op::Put, b"other", b"v".to_vec(), 10));
    // Its file is outside of the compactions below, so none of them is full.
    compact(&h, CF_WRITE);
    h.block_on(async {
        write(&mut client, &ctx, Op::Put, b"gone", b"v".to_vec(), 10).await;
        write(&mut client, &ctx, Op::Del, b"gone", Vec::new(), 20).await;
    });
    move_safe_point(&h, 50);
    let [start, end] = [&b"gone"[..], b"gonf"].map(|key| keys::data_key(Key::from_raw(key).as_encoded()));
    h.until("only the other key is left", async || {
        let kv = &h.store(0).engines().unwrap().kv;
        kv.compact_range_cf(CF_WRITE, Some(&start), Some(&end)).unwrap();
        (rows(&h, CF_WRITE) == [1]).then_some(())
    });
}

#[test]
fn a_store_compacts_garbage_without_a_request() {
    let h = Harness::start_with(1, |config| {
        config.gc.poll_safe_point_interval = Some(Duration::from_millis(100));
        config.gc.auto_compaction.check_interval.0 = Duration::from_millis(100);
    });
    write_versions(&h);
    move_safe_point(&h, 25);
    h.until("the old version and the deleted key are gone", async || {
        (rows(&h, CF_WRITE) == [2] && rows(&h, CF_DEFAULT) == [1]).then_some(())
    });
    assert_eq!((read(&h, 25), read(&h, 40)), (Some(vec![b'b'; 300]), Some(b"c".to_vec())));
}

#[test]
fn the_worker_deletes_old_versions_without_a_filter() {
    let h = start(1, false, false);
    write_versions(&h);
    move_safe_point(&h, 25);
    h.until("the worker has deleted all garbage", async || {
        (rows(&h, CF_WRITE) == [2] && rows(&h, CF_DEFAULT) == [1]).then_some(())
    });
    assert_eq!((read(&h, 25), read(&h, 40)), (Some(vec![b'b'; 300]), Some(b"c".to_vec())));
    assert_eq!(h.store(0).gc_state().map(|(ts, _)| ts), Some(25));
}

#[test]
fn compactions_drop_old_raw_versions() {
    let h = start(1, true, true);
    let (ctx, client) = h.leader();
    let ctx = Context { api_version: ApiVersion::V2.into(), ..ctx };
    let put = |key: &[u8]| RawPutRequest {
        context: Some(ctx.clone()),
        key: key.to_vec(),
        value: b"v".to_vec(),
        ..Default::default()
    };
    for key in [&b"r\0\0\0k"[..], b"r\0\0\0k", b"r\0\0\0k", b"r\0\0\0gone"] {
        h.until("a raw put succeeds", async || {
            let reply = client.clone().raw_put(put(key)).await.unwrap().into_inner();
            assert!(reply.error.is_empty(), "{reply:?}");
            reply.region_error.is_none().then_some(())
        });
    }
    let key = b"r\0\0\0gone".to_vec();
    let delete = RawDeleteRequest { context: Some(ctx.clone()), key, ..Default::default() };
    h.block_on(client.clone().raw_delete(delete)).unwrap();
    assert_eq!(rows(&h, CF_DEFAULT), [5]);
    let now = h.block_on(h.client.get_tso(1)).unwrap();
    move_safe_point(&h, ((now.physical as u64) << 18) + now.logical as u64);
    h.until("one version is left", async || {
        compact(&h, CF_DEFAULT);
        (rows(&h, CF_DEFAULT) == [1]).then_some(())
    });
    let get = RawGetRequest { context: Some(ctx.clone()), key: b"r\0\0\0k".to_vec(), ..Default::default() };
    assert_eq!(h.block_on(client.clone().raw_get(get)).unwrap().into_inner().value, b"v");
}
