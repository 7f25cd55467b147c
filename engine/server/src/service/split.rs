//! `SplitRegion`: splits a region at given keys (TiKV `src/server/service/kv.rs`, `split_region`).
use kvproto::{
    errorpb,
    kvrpcpb::{SplitRegionRequest, SplitRegionResponse},
    metapb::Region,
};
use raftstore::{
    Error,
    store::{Callback, CasualMessage},
};
use txn_types::Key;

use super::call::Call;
use crate::Storage;

/// Returns the first key of the request, for its trace.
pub fn first_key(request: &SplitRegionRequest) -> &[u8] {
    #[allow(deprecated)] // old clients know the single key only
    let single = &request.split_key;
    if single.is_empty() { request.split_keys.first().map_or(&[], Vec::as_slice) } else { single }
}

/// Asks the region's leader on this store, which gets ids from PD, and waits until the split is applied.
pub async fn split_region(storage: Storage, request: SplitRegionRequest, _: Call) -> SplitRegionResponse {
    let mut reply = SplitRegionResponse::default();
    match split(&storage, request).await {
        Ok(regions) => {
            #[allow(deprecated)] // of a single key
            if let [left, right] = regions.as_slice() {
                (reply.left, reply.right) = (Some(left.clone()), Some(right.clone()));
            }
            reply.regions = regions;
        }
        Err(e) => reply.region_error = Some(e),
    }
    reply
}

async fn split(storage: &Storage, request: SplitRegionRequest) -> Result<Vec<Region>, errorpb::Error> {
    #[allow(deprecated)]
    let SplitRegionRequest { context, split_key, split_keys, is_raw_kv } = request;
    let ctx = context.unwrap_or_default();
    let keys = if split_key.is_empty() { split_keys } else { vec![split_key] };
    let format = storage.api_version();
    let encode = |key: Vec<u8>| match is_raw_kv {
        true => format.encode_raw_key(key, None),
        false => Key::from_raw(&key).into_encoded(),
    };
    let mut split_keys: Vec<Vec<u8>> = keys.into_iter().map(encode).collect();
    split_keys.sort();
    let (callback, answer) = Callback::paired_write();
    let (region_epoch, peer) = (ctx.region_epoch.unwrap_or_default(), ctx.peer);
    let message = CasualMessage::SplitRegion { region_epoch, peer, split_keys, callback };
    storage.get_engine().router().send_casual_msg(ctx.region_id, message)?;
    let response = answer.await.map_err(|_| Error::StaleCommand)?;
    if let Some(e) = response.error() {
        return Err(e.clone());
    }
    let splits = response.response.admin_response.and_then(|a| a.splits);
    let regions = splits.map(|s| s.regions).unwrap_or_default();
    if regions.len() < 2 {
        let message = format!("Internal Error: invalid response: {regions:?}");
        return Err(errorpb::Error { message, ..Default::default() });
    }
    Ok(regions)
}
