//! Range requests on a region that ends before the last key.
mod harness;

use harness::{Harness, context};
use kvproto::{kvrpcpb::*, metapb::Region, tikvpb::tikv_client::TikvClient};
use tonic::transport::Channel;

/// A raw key of the second region; the transactional keys sort before it.
const SPLIT: &[u8] = b"m";

/// A store whose data is in two regions: the context of the first, of the second, and a client.
fn split() -> (Harness, Context, Context, TikvClient<Channel>) {
    let h = Harness::start(1);
    for key in [b"a", b"b", b"x"] {
        h.raw_put(key, b"v");
    }
    let (ctx, mut client) = h.leader();
    let split = SplitRegionRequest {
        context: Some(ctx.clone()),
        split_keys: vec![SPLIT.to_vec()],
        is_raw_kv: true,
        ..Default::default()
    };
    let reply = h.block_on(client.split_region(split)).unwrap().into_inner();
    let [left, right] = reply.regions.as_slice() else { panic!("{reply:?}") };
    let ctx = |region: &Region| context(region, region.peers[0]);
    let (left, right) = (ctx(left), ctx(right));
    // The new region must elect a leader first.
    for ctx in [&left, &right] {
        h.until("the regions have leaders", async || {
            let key = if ctx.region_id == left.region_id { b"a" } else { b"x" };
            let get = RawGetRequest { context: Some(ctx.clone()), key: key.to_vec(), ..Default::default() };
            client.clone().raw_get(get).await.ok()?.into_inner().region_error.is_none().then_some(())
        });
    }
    (h, left, right, client)
}

fn keys(h: &Harness, client: &TikvClient<Channel>, ctx: &Context) -> Vec<Vec<u8>> {
    // Scans down from the region's end: an upward scan must begin with a key of the region.
    let scan = RawScanRequest { context: Some(ctx.clone()), reverse: true, limit: 10, ..Default::default() };
    let reply = h.block_on(client.clone().raw_scan(scan)).unwrap().into_inner();
    assert!(reply.region_error.is_none(), "{reply:?}");
    let mut keys: Vec<Vec<u8>> = reply.kvs.into_iter().map(|pair| pair.key).collect();
    keys.reverse();
    keys
}

#[test]
fn an_empty_end_is_the_end_of_the_region() {
    let (h, left, right, mut client) = split();
    let mut delete = |context: &Context, start: &[u8], end: &[u8]| {
        let request = RawDeleteRangeRequest {
            context: Some(context.clone()),
            start_key: start.to_vec(),
            end_key: end.to_vec(),
            ..Default::default()
        };
        h.block_on(client.raw_delete_range(request)).unwrap().into_inner()
    };
    let outside = delete(&left, b"a", b"n").region_error.expect("the end is outside");
    assert!(outside.key_not_in_region.is_some(), "{outside:?}");
    let outside = delete(&right, b"a", b"").region_error.expect("the start is outside");
    assert!(outside.key_not_in_region.is_some(), "{outside:?}");
    let reply = delete(&left, b"b", b"");
    assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
    let client = h.block_on(TikvClient::connect(format!("http://{}", h.store(0).addr()))).unwrap();
    assert_eq!(keys(&h, &client, &left), [b"a"], "keys before the start remain");
    assert_eq!(keys(&h, &client, &right), [b"x"], "keys of the next region remain");
}

#[test]
fn delete_range_removes_all_versions_up_to_the_end() {
    let (h, left, right, mut client) = split();
    h.block_on(async {
        let delete = DeleteRangeRequest { context: Some(left.clone()), ..Default::default() };
        let reply = client.kv_delete_range(delete).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
    });
    assert_eq!(keys(&h, &client, &right), [b"x"], "keys of the next region remain");
}

#[test]
fn a_scan_of_keys_outside_of_the_region_is_refused() {
    let (h, left, right, mut client) = split();
    h.block_on(async {
        let raw = |context: &Context, start: &[u8], end: &[u8], reverse| RawScanRequest {
            context: Some(context.clone()),
            start_key: start.to_vec(),
            end_key: end.to_vec(),
            reverse,
            limit: 10,
            ..Default::default()
        };
        for outside in
            [raw(&left, b"n", b"", false), raw(&right, b"a", b"", false), raw(&left, b"n", b"", true)]
        {
            let reply = client.raw_scan(outside).await.unwrap().into_inner();
            assert!(reply.region_error.is_some_and(|e| e.key_not_in_region.is_some()));
        }
        // An end outside of the region is cut, as in TiKV.
        let reply = client.raw_scan(raw(&left, b"a", b"z", false)).await.unwrap().into_inner();
        assert_eq!(reply.kvs.len(), 2, "{reply:?}");
        let ranges = vec![KeyRange { start_key: b"n".to_vec(), ..Default::default() }];
        let scan =
            RawBatchScanRequest { context: Some(left.clone()), ranges, each_limit: 1, ..Default::default() };
        let reply = client.raw_batch_scan(scan).await.unwrap().into_inner();
        assert!(reply.region_error.is_some_and(|e| e.key_not_in_region.is_some()));
        let scan = ScanRequest {
            context: Some(right.clone()),
            start_key: b"a".to_vec(),
            limit: 1,
            version: 10,
            ..Default::default()
        };
        let reply = client.kv_scan(scan).await.unwrap().into_inner();
        let error = reply.error.expect("the start is before the region").abort;
        assert!(error.contains("InvalidReqRange"), "{error}");
    });
}

#[test]
fn a_destroyed_store_has_no_keys_left() {
    let (h, left, right, mut client) = split();
    h.block_on(async {
        let all = UnsafeDestroyRangeRequest::default();
        let reply = client.unsafe_destroy_range(all).await.unwrap().into_inner();
        assert!(reply.error.is_empty() && reply.region_error.is_none(), "{reply:?}");
    });
    assert!(keys(&h, &client, &left).is_empty() && keys(&h, &client, &right).is_empty());
}
