//! Raw commands (TiKV `src/server/service/kv.rs`, `future_raw_*`).
use kvproto::{errorpb, kvrpcpb::*};
use storage::{KvGetStatistics, Swap, extract_kv_pairs, extract_region_error};

use super::{call::Call, reply::reply};
use crate::{Storage, coprocessor_v2::Endpoint};

/// Returns the region error or the pairs of a read of several keys; any other error becomes a pair.
fn pairs(result: storage::Result<(Vec<RawPair>, KvGetStatistics)>) -> (Option<errorpb::Error>, Vec<KvPair>) {
    match extract_region_error(&result) {
        Some(e) => (Some(e), Vec::new()),
        None => (None, extract_kv_pairs(result.map(|(pairs, _)| pairs.into_iter().map(Ok).collect()))),
    }
}

type RawPair = (Vec<u8>, Vec<u8>);

pub async fn get(storage: Storage, request: RawGetRequest, call: Call) -> RawGetResponse {
    let ctx = request.context.unwrap_or_default();
    let result = storage.raw_get(ctx, request.cf, request.key, call.req).await.map(|(value, _)| value);
    let mut reply = RawGetResponse::default();
    reply!(reply, result, |value| match value {
        Some(value) => reply.value = value,
        None => reply.not_found = true,
    });
    reply
}

pub async fn batch_get(storage: Storage, request: RawBatchGetRequest, call: Call) -> RawBatchGetResponse {
    let ctx = request.context.unwrap_or_default();
    let result = storage.raw_batch_get(ctx, request.cf, request.keys, call.req).await;
    let mut reply = RawBatchGetResponse::default();
    (reply.region_error, reply.pairs) = pairs(result);
    reply
}

pub async fn put(storage: Storage, request: RawPutRequest, call: Call) -> RawPutResponse {
    let RawPutRequest { context, key, value, cf, ttl, for_cas } = request;
    let ctx = context.unwrap_or_default();
    let result = match for_cas {
        true => storage.raw_batch_put_atomic(ctx, cf, vec![(key, value)], vec![ttl], call.req).await,
        false => storage.raw_put(ctx, cf, key, value, ttl, call.req).await,
    };
    let mut reply = RawPutResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn batch_put(storage: Storage, request: RawBatchPutRequest, call: Call) -> RawBatchPutResponse {
    #[allow(deprecated)] // the TTL of all pairs, of clients before `ttls`
    let RawBatchPutRequest { context, pairs, cf, ttl, mut ttls, for_cas } = request;
    if ttls.is_empty() {
        ttls.push(ttl);
    }
    let ctx = context.unwrap_or_default();
    let pairs = pairs.into_iter().map(|p| (p.key, p.value)).collect();
    let result = match for_cas {
        true => storage.raw_batch_put_atomic(ctx, cf, pairs, ttls, call.req).await,
        false => storage.raw_batch_put(ctx, cf, pairs, ttls, call.req).await,
    };
    let mut reply = RawBatchPutResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn delete(storage: Storage, request: RawDeleteRequest, call: Call) -> RawDeleteResponse {
    let RawDeleteRequest { context, key, cf, for_cas } = request;
    let ctx = context.unwrap_or_default();
    let result = match for_cas {
        true => storage.raw_batch_delete_atomic(ctx, cf, vec![key], call.req).await,
        false => storage.raw_delete(ctx, cf, key, call.req).await,
    };
    let mut reply = RawDeleteResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn batch_delete(
    storage: Storage,
    request: RawBatchDeleteRequest,
    call: Call,
) -> RawBatchDeleteResponse {
    let RawBatchDeleteRequest { context, keys, cf, for_cas } = request;
    let ctx = context.unwrap_or_default();
    let result = match for_cas {
        true => storage.raw_batch_delete_atomic(ctx, cf, keys, call.req).await,
        false => storage.raw_batch_delete(ctx, cf, keys, call.req).await,
    };
    let mut reply = RawBatchDeleteResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn scan(storage: Storage, request: RawScanRequest, call: Call) -> RawScanResponse {
    let (ctx, limit) = (request.context.unwrap_or_default(), request.limit as usize);
    let (start, end, key_only, reverse) =
        (request.start_key, request.end_key, request.key_only, request.reverse);
    let result = storage.raw_scan(ctx, request.cf, start, end, limit, key_only, reverse, call.req).await;
    let mut reply = RawScanResponse::default();
    (reply.region_error, reply.kvs) = pairs(result);
    reply
}

pub async fn delete_range(
    storage: Storage,
    request: RawDeleteRangeRequest,
    call: Call,
) -> RawDeleteRangeResponse {
    let ctx = request.context.unwrap_or_default();
    let result =
        storage.raw_delete_range(ctx, request.cf, request.start_key, request.end_key, call.req).await;
    let mut reply = RawDeleteRangeResponse::default();
    reply!(reply, result, |()| ());
    reply
}

pub async fn batch_scan(storage: Storage, request: RawBatchScanRequest, call: Call) -> RawBatchScanResponse {
    let RawBatchScanRequest { context, ranges, each_limit, key_only, cf, reverse } = request;
    let (ctx, limit) = (context.unwrap_or_default(), each_limit as usize);
    let result = storage.raw_batch_scan(ctx, cf, ranges, limit, key_only, reverse, call.req).await;
    let mut reply = RawBatchScanResponse::default();
    (reply.region_error, reply.kvs) = pairs(result);
    reply
}

pub async fn get_key_ttl(storage: Storage, request: RawGetKeyTtlRequest, call: Call) -> RawGetKeyTtlResponse {
    let ctx = request.context.unwrap_or_default();
    let result = storage.raw_get_key_ttl(ctx, request.cf, request.key, call.req).await;
    let mut reply = RawGetKeyTtlResponse::default();
    reply!(reply, result, |(ttl, _)| match ttl {
        Some(ttl) => reply.ttl = ttl,
        None => reply.not_found = true,
    });
    reply
}

pub async fn compare_and_swap(storage: Storage, request: RawCasRequest, call: Call) -> RawCasResponse {
    let RawCasRequest { context, key, value, previous_not_exist, previous_value, cf, ttl, delete } = request;
    let previous_value = (!previous_not_exist).then_some(previous_value);
    let swap = Swap { cf, key, previous_value, value, ttl, delete };
    let result = storage.raw_compare_and_swap_atomic(context.unwrap_or_default(), swap, call.req).await;
    let mut reply = RawCasResponse::default();
    reply!(reply, result, |(previous, succeed)| {
        reply.succeed = succeed;
        reply.previous_not_exist = previous.is_none();
        reply.previous_value = previous.unwrap_or_default();
    });
    reply
}

pub async fn checksum(storage: Storage, request: RawChecksumRequest, call: Call) -> RawChecksumResponse {
    let RawChecksumRequest { context, algorithm, ranges } = request;
    let result = storage.raw_checksum(context.unwrap_or_default(), algorithm, ranges, call.req).await;
    let mut reply = RawChecksumResponse::default();
    reply!(reply, result, |(sum, _)| {
        reply.checksum = sum.checksum;
        reply.total_kvs = sum.total_kvs;
        reply.total_bytes = sum.total_bytes;
    });
    reply
}

pub async fn coprocessor(
    (storage, endpoint): (Storage, Endpoint),
    request: RawCoprocessorRequest,
    call: Call,
) -> RawCoprocessorResponse {
    endpoint.handle_request(storage, request, call).await
}
