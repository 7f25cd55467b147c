//! Regions that grow are split automatically.
mod harness;

use std::collections::BTreeMap;

use harness::{Harness, context};
use kvproto::{
    kvrpcpb::*,
    metapb::Region,
    pdpb::{self, pd_client::PdClient as PdGrpc},
    tikvpb::tikv_client::TikvClient,
};
use server::config::{ReadableDuration, ReadableSize};

/// Returns all regions of PD in key order; none if they do not cover the keys without gaps now.
async fn regions(h: &Harness) -> Option<Vec<Region>> {
    let (mut found, mut next) = (Vec::new(), Vec::new());
    loop {
        let region = h.client.get_region(&next).await.ok()?.region;
        if region.start_key != next {
            return None;
        }
        next = region.end_key.clone();
        found.push(region);
        if next.is_empty() {
            return Some(found);
        }
    }
}

#[test]
fn a_region_with_too_many_keys_is_split() {
    let h = Harness::start_with(1, |config| {
        config.coprocessor.region_max_keys = Some(10);
        config.coprocessor.region_split_keys = Some(7);
        config.coprocessor.batch_split_limit = 100;
        config.raft_store.split_region_check_tick_interval = ReadableDuration::millis(200);
    });
    let (ctx, mut client) = h.leader();
    let key = |n: u32| n.to_be_bytes().to_vec();
    h.block_on(async {
        let mutations =
            (0..100).map(|n| Mutation { key: key(n), value: b"v".to_vec(), ..Default::default() }).collect();
        let prewrite = PrewriteRequest {
            context: Some(ctx.clone()),
            mutations,
            primary_lock: key(0),
            start_version: 10,
            lock_ttl: 3000,
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        let keys = (0..100).map(key).collect();
        let commit = CommitRequest {
            context: Some(ctx.clone()),
            start_version: 10,
            keys,
            commit_version: 11,
            ..Default::default()
        };
        let reply = client.kv_commit(commit).await.unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
    });
    let regions = h.until("the region is split into parts of about seven keys", async || {
        regions(&h).await.filter(|regions| regions.len() >= 13)
    });
    let mut keys: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (n, region) in regions.iter().enumerate() {
        let ctx = context(region, region.peers[0]);
        let pairs = h.until("the region's leader answers", async || {
            let mut client = TikvClient::connect(format!("http://{}", h.store(0).addr())).await.ok()?;
            let scan =
                ScanRequest { context: Some(ctx.clone()), limit: 100, version: 20, ..Default::default() };
            let reply = client.kv_scan(scan).await.ok()?.into_inner();
            reply.region_error.is_none().then_some(reply.pairs)
        });
        assert!(pairs.len() < 10, "region {n} has {} keys", pairs.len());
        for pair in pairs {
            keys.insert(keys.len(), pair.key);
        }
    }
    assert_eq!(keys.into_values().collect::<Vec<_>>(), (0..100).map(key).collect::<Vec<_>>());
}

#[test]
fn a_region_that_is_too_large_is_split() {
    let h = Harness::start_with(1, |config| {
        config.coprocessor.region_split_size = Some(ReadableSize::kb(64));
        config.coprocessor.region_max_size = Some(ReadableSize::kb(96));
        config.raft_store.split_region_check_tick_interval = ReadableDuration::millis(200);
    });
    let (ctx, mut client) = h.leader();
    let pair =
        |n: u32| KvPair { key: n.to_be_bytes().to_vec(), value: vec![b'v'; 8 << 10], ..Default::default() };
    let put =
        RawBatchPutRequest { context: Some(ctx), pairs: (0..40).map(pair).collect(), ..Default::default() };
    let reply = h.block_on(client.raw_batch_put(put)).unwrap().into_inner();
    assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
    let regions = h.until("the region is split into parts of about 64 KiB", async || {
        regions(&h).await.filter(|regions| regions.len() >= 3)
    });
    assert!(regions.windows(2).all(|pair| pair[0].end_key == pair[1].start_key));
}

#[test]
fn regions_are_split_at_the_keys_that_a_client_gives_to_pd() {
    let h = Harness::start(1);
    let _ = h.leader();
    let keys: Vec<Vec<u8>> = [&b"c"[..], b"m", b"q"].map(<[u8]>::to_vec).into();
    let header = Some(pdpb::RequestHeader { cluster_id: h.client.cluster_id(), ..Default::default() });
    let mut pd = h.block_on(PdGrpc::connect(format!("http://{}", h.pd.addr()))).unwrap();
    let request =
        pdpb::SplitRegionsRequest { header: header.clone(), split_keys: keys[..2].to_vec(), retry_limit: 3 };
    let reply = h.block_on(pd.split_regions(request)).unwrap().into_inner();
    assert_eq!((reply.finished_percentage, reply.regions_id.len()), (100, 2), "{reply:?}");
    let request = pdpb::SplitAndScatterRegionsRequest {
        header,
        split_keys: keys[2..].to_vec(),
        group: "g".to_owned(),
        retry_limit: 3,
    };
    let again = pdpb::SplitAndScatterRegionsRequest { retry_limit: 0, ..request.clone() };
    let reply = h.block_on(pd.split_and_scatter_regions(request)).unwrap().into_inner();
    assert_eq!((reply.split_finished_percentage, reply.regions_id.len()), (100, 1), "{reply:?}");
    let refused = h.block_on(pd.split_and_scatter_regions(again)).unwrap_err();
    let expected = (tonic::Code::Unknown, "[PD:scatter:ErrEmptyRegion]empty region");
    assert_eq!((refused.code(), refused.message()), expected);
    let regions = h.until("PD has all regions", async || regions(&h).await.filter(|found| found.len() == 4));
    assert_eq!(regions[1..].iter().map(|region| region.start_key.clone()).collect::<Vec<_>>(), keys);
}
