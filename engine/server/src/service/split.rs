//! `SplitRegion`: splits a region at given keys (TiKV `src/server/service/kv.rs`, `split_region`).
use kvproto::{
    errorpb,
    kvrpcpb::{SplitRegionRequest, SplitRegionResponse},
};
use raftstore::{
    Error, RaftRouter,
    store::{Callback, CasualMessage},
};
use txn_types::Key;

/// Asks the region's leader here, which asks PD for ids, and waits until the split is applied.
pub async fn split_region(router: &RaftRouter, request: SplitRegionRequest) -> SplitRegionResponse {
    let region_id = request.context.map_or(0, |c| c.region_id);
    #[allow(deprecated)] // old clients know the single key only
    let single = (!request.split_key.is_empty()).then_some(request.split_key);
    let keys = if request.split_keys.is_empty() { single.into_iter().collect() } else { request.split_keys };
    let encode = |key: Vec<u8>| if request.is_raw_kv { key } else { Key::from_raw(&key).into_encoded() };
    let split_keys: Vec<Vec<u8>> = keys.into_iter().map(encode).collect();
    let (callback, answer) = Callback::paired_write();
    let sent = router.send_casual_msg(region_id, CasualMessage::SplitRegion { split_keys, callback });
    let response = match sent {
        Ok(()) => answer.await.map_err(|_| Error::StaleCommand),
        Err(e) => Err(e),
    };
    let mut reply = SplitRegionResponse::default();
    match response.map_err(errorpb::Error::from) {
        Err(e) => reply.region_error = Some(e),
        Ok(response) => match response.error() {
            Some(e) => reply.region_error = Some(e.clone()),
            None => {
                let splits = response.response.admin_response.and_then(|a| a.splits);
                reply.regions = splits.map(|s| s.regions).unwrap_or_default();
            }
        },
    }
    #[allow(deprecated)]
    {
        (reply.left, reply.right) = (reply.regions.first().cloned(), reply.regions.last().cloned());
    }
    reply
}
