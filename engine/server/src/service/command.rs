//! The unary commands of the key-value API: how each is named, and which key and context it carries.
use std::future::Future;

use kvproto::kvrpcpb::*;
use prost::Message;
use tracepoints::RequestKind;

use super::{call::Call, destroy, flashback, outcome::Judge, raw, split, txn};
use crate::Storage;

/// A request of `tikvpb.Tikv` that one store answers by itself.
pub trait Command: Message + Sized + Send + 'static {
    type Reply: Message + Default + Judge + Send + 'static;
    const KIND: RequestKind;

    fn context(&self) -> Option<&Context>;

    /// The first key as the client wrote it; empty if it has none.
    fn first_key(&self) -> &[u8];

    /// Answers it; region and key errors go into the reply.
    fn execute(self, storage: Storage, call: Call) -> impl Future<Output = Self::Reply> + Send;
}

/// `Request => Reply, Kind, |request| first key, function that answers it;`
macro_rules! commands {
    ($($request:ident => $reply:ident, $kind:ident, |$r:ident| $key:expr, $run:path;)*) => {$(
        impl Command for $request {
            type Reply = $reply;
            const KIND: RequestKind = RequestKind::$kind;

            fn context(&self) -> Option<&Context> {
                self.context.as_ref()
            }

            fn first_key(&self) -> &[u8] {
                let $r = self;
                $key
            }

            fn execute(self, storage: Storage, call: Call) -> impl Future<Output = $reply> + Send {
                $run(storage, self, call)
            }
        }
    )*};
}

fn first(keys: &[Vec<u8>]) -> &[u8] {
    keys.first().map_or(&[], Vec::as_slice)
}

fn first_mutation(mutations: &[Mutation]) -> &[u8] {
    mutations.first().map_or(&[], |m| m.key.as_slice())
}

fn first_pair(pairs: &[KvPair]) -> &[u8] {
    pairs.first().map_or(&[], |p| p.key.as_slice())
}

fn first_range(ranges: &[KeyRange]) -> &[u8] {
    ranges.first().map_or(&[], |r| r.start_key.as_slice())
}

commands! {
    GetRequest => GetResponse, KvGet, |r| &r.key, txn::get;
    BatchGetRequest => BatchGetResponse, KvBatchGet, |r| first(&r.keys), txn::batch_get;
    ScanRequest => ScanResponse, KvScan, |r| &r.start_key, txn::scan;
    PrewriteRequest => PrewriteResponse, KvPrewrite, |r| first_mutation(&r.mutations), txn::prewrite;
    CommitRequest => CommitResponse, KvCommit, |r| first(&r.keys), txn::commit;
    BatchRollbackRequest => BatchRollbackResponse, KvBatchRollback, |r| first(&r.keys), txn::batch_rollback;
    CleanupRequest => CleanupResponse, KvCleanup, |r| &r.key, txn::cleanup;
    CheckTxnStatusRequest => CheckTxnStatusResponse, KvCheckTxnStatus, |r| &r.primary_key, txn::check_txn_status;
    CheckSecondaryLocksRequest => CheckSecondaryLocksResponse, KvCheckSecondaryLocks, |r| first(&r.keys), txn::check_secondary_locks;
    TxnHeartBeatRequest => TxnHeartBeatResponse, KvTxnHeartBeat, |r| &r.primary_lock, txn::txn_heart_beat;
    ResolveLockRequest => ResolveLockResponse, KvResolveLock, |r| first(&r.keys), txn::resolve_lock;
    ScanLockRequest => ScanLockResponse, KvScanLock, |r| &r.start_key, txn::scan_lock;
    PessimisticLockRequest => PessimisticLockResponse, KvPessimisticLock, |r| first_mutation(&r.mutations), txn::pessimistic_lock;
    PessimisticRollbackRequest => PessimisticRollbackResponse, KvPessimisticRollback, |r| first(&r.keys), txn::pessimistic_rollback;
    RawGetRequest => RawGetResponse, RawGet, |r| &r.key, raw::get;
    RawBatchGetRequest => RawBatchGetResponse, RawBatchGet, |r| first(&r.keys), raw::batch_get;
    RawPutRequest => RawPutResponse, RawPut, |r| &r.key, raw::put;
    RawBatchPutRequest => RawBatchPutResponse, RawBatchPut, |r| first_pair(&r.pairs), raw::batch_put;
    RawDeleteRequest => RawDeleteResponse, RawDelete, |r| &r.key, raw::delete;
    RawBatchDeleteRequest => RawBatchDeleteResponse, RawBatchDelete, |r| first(&r.keys), raw::batch_delete;
    RawScanRequest => RawScanResponse, RawScan, |r| &r.start_key, raw::scan;
    RawDeleteRangeRequest => RawDeleteRangeResponse, RawDeleteRange, |r| &r.start_key, raw::delete_range;
    RawBatchScanRequest => RawBatchScanResponse, RawBatchScan, |r| first_range(&r.ranges), raw::batch_scan;
    RawGetKeyTtlRequest => RawGetKeyTtlResponse, RawGetKeyTtl, |r| &r.key, raw::get_key_ttl;
    RawCasRequest => RawCasResponse, RawCompareAndSwap, |r| &r.key, raw::compare_and_swap;
    DeleteRangeRequest => DeleteRangeResponse, KvDeleteRange, |r| &r.start_key, txn::delete_range;
    PrepareFlashbackToVersionRequest => PrepareFlashbackToVersionResponse, KvPrepareFlashbackToVersion, |r| &r.start_key, flashback::kv_prepare;
    FlashbackToVersionRequest => FlashbackToVersionResponse, KvFlashbackToVersion, |r| &r.start_key, flashback::kv_finish;
    UnsafeDestroyRangeRequest => UnsafeDestroyRangeResponse, UnsafeDestroyRange, |r| &r.start_key, destroy::unsafe_destroy_range;
    SplitRegionRequest => SplitRegionResponse, SplitRegion, |r| split::first_key(r), split::split_region;
}
