//! The RPCs of `tikvpb.Tikv`: one line for each. The service's methods, the commands in batches, and the outcome of
//! a reply, which a stepped request shows, come from these lines. [`tracepoints::RequestKind`] has the kinds.

/// Calls the macro `$generate` with the RPCs that a store answers by itself. A line has:
/// method: request => reply, kind, batch(variant in BatchCommands, if any), |request| first key, |reply| outcome
/// unless there is a region error, function that answers it.
macro_rules! for_each_rpc {
    ($generate:ident) => { $generate! {
        kv_get: GetRequest => GetResponse, KvGet, batch(Get),
            |r| &r.key, |a| from_key_errors(&a.error), txn::get;
        kv_batch_get: BatchGetRequest => BatchGetResponse, KvBatchGet, batch(BatchGet),
            |r| first(&r.keys), |a| from_key_errors(a.error.iter().chain(pair_errors(&a.pairs))), txn::batch_get;
        kv_scan: ScanRequest => ScanResponse, KvScan, batch(Scan),
            |r| &r.start_key, |a| from_key_errors(a.error.iter().chain(pair_errors(&a.pairs))), txn::scan;
        kv_prewrite: PrewriteRequest => PrewriteResponse, KvPrewrite, batch(Prewrite),
            |r| first_mutation(&r.mutations), |a| from_key_errors(&a.errors), txn::prewrite;
        kv_commit: CommitRequest => CommitResponse, KvCommit, batch(Commit),
            |r| first(&r.keys), |a| from_key_errors(&a.error), txn::commit;
        kv_batch_rollback: BatchRollbackRequest => BatchRollbackResponse, KvBatchRollback, batch(BatchRollback),
            |r| first(&r.keys), |a| from_key_errors(&a.error), txn::batch_rollback;
        kv_cleanup: CleanupRequest => CleanupResponse, KvCleanup, batch(Cleanup),
            |r| &r.key, |a| from_key_errors(&a.error), txn::cleanup;
        kv_check_txn_status: CheckTxnStatusRequest => CheckTxnStatusResponse, KvCheckTxnStatus, batch(CheckTxnStatus),
            |r| &r.primary_key, |a| from_key_errors(&a.error), txn::check_txn_status;
        kv_check_secondary_locks: CheckSecondaryLocksRequest => CheckSecondaryLocksResponse, KvCheckSecondaryLocks,
            batch(CheckSecondaryLocks), |r| first(&r.keys), |a| from_key_errors(&a.error), txn::check_secondary_locks;
        kv_txn_heart_beat: TxnHeartBeatRequest => TxnHeartBeatResponse, KvTxnHeartBeat, batch(TxnHeartBeat),
            |r| &r.primary_lock, |a| from_key_errors(&a.error), txn::txn_heart_beat;
        kv_resolve_lock: ResolveLockRequest => ResolveLockResponse, KvResolveLock, batch(ResolveLock),
            |r| first(&r.keys), |a| from_key_errors(&a.error), txn::resolve_lock;
        kv_scan_lock: ScanLockRequest => ScanLockResponse, KvScanLock, batch(ScanLock),
            |r| &r.start_key, |a| from_key_errors(&a.error), txn::scan_lock;
        kv_pessimistic_lock: PessimisticLockRequest => PessimisticLockResponse, KvPessimisticLock, batch(PessimisticLock),
            |r| first_mutation(&r.mutations), |a| from_key_errors(&a.errors), txn::pessimistic_lock;
        kv_pessimistic_rollback: PessimisticRollbackRequest => PessimisticRollbackResponse, KvPessimisticRollback,
            batch(PessimisticRollback), |r| first(&r.keys), |a| from_key_errors(&a.errors), txn::pessimistic_rollback;
        kv_flush: FlushRequest => FlushResponse, KvFlush, batch(Flush),
            |r| first_mutation(&r.mutations), |a| from_key_errors(&a.errors), txn::flush;
        kv_buffer_batch_get: BufferBatchGetRequest => BufferBatchGetResponse, KvBufferBatchGet, batch(BufferBatchGet),
            |r| first(&r.keys), |a| from_key_errors(a.error.iter().chain(pair_errors(&a.pairs))), txn::buffer_batch_get;
        kv_delete_range: DeleteRangeRequest => DeleteRangeResponse, KvDeleteRange, batch(DeleteRange),
            |r| &r.start_key, |a| from_error_text(&a.error), txn::delete_range;
        kv_prepare_flashback_to_version: PrepareFlashbackToVersionRequest => PrepareFlashbackToVersionResponse,
            KvPrepareFlashbackToVersion, batch(PrepareFlashbackToVersion),
            |r| &r.start_key, |a| from_error_text(&a.error), flashback::kv_prepare;
        kv_flashback_to_version: FlashbackToVersionRequest => FlashbackToVersionResponse, KvFlashbackToVersion,
            batch(FlashbackToVersion), |r| &r.start_key, |a| from_error_text(&a.error), flashback::kv_finish;
        get_lock_wait_info: GetLockWaitInfoRequest => GetLockWaitInfoResponse, GetLockWaitInfo, batch(),
            |_r| &[], |a| from_error_text(&a.error), txn::get_lock_wait_info;
        broadcast_txn_status: BroadcastTxnStatusRequest => BroadcastTxnStatusResponse, BroadcastTxnStatus,
            batch(BroadcastTxnStatus), |_r| &[], |_a| ReplyOutcome::without_lock(Outcome::Ok), txn::broadcast_txn_status;
        get_health_feedback: GetHealthFeedbackRequest => GetHealthFeedbackResponse, GetHealthFeedback,
            batch(GetHealthFeedback), |_r| &[], |_a| ReplyOutcome::without_lock(Outcome::Ok),
            health_feedback::get_health_feedback;
        mvcc_get_by_key: MvccGetByKeyRequest => MvccGetByKeyResponse, MvccGetByKey, batch(),
            |r| &r.key, |a| from_error_text(&a.error), txn::mvcc_get_by_key;
        mvcc_get_by_start_ts: MvccGetByStartTsRequest => MvccGetByStartTsResponse, MvccGetByStartTs, batch(),
            |_r| &[], |a| from_error_text(&a.error), txn::mvcc_get_by_start_ts;
        raw_get: RawGetRequest => RawGetResponse, RawGet, batch(RawGet),
            |r| &r.key, |a| from_error_text(&a.error), raw::get;
        raw_batch_get: RawBatchGetRequest => RawBatchGetResponse, RawBatchGet, batch(RawBatchGet),
            |r| first(&r.keys), |a| from_key_errors(pair_errors(&a.pairs)), raw::batch_get;
        raw_put: RawPutRequest => RawPutResponse, RawPut, batch(RawPut),
            |r| &r.key, |a| from_error_text(&a.error), raw::put;
        raw_batch_put: RawBatchPutRequest => RawBatchPutResponse, RawBatchPut, batch(RawBatchPut),
            |r| first_pair(&r.pairs), |a| from_error_text(&a.error), raw::batch_put;
        raw_delete: RawDeleteRequest => RawDeleteResponse, RawDelete, batch(RawDelete),
            |r| &r.key, |a| from_error_text(&a.error), raw::delete;
        raw_batch_delete: RawBatchDeleteRequest => RawBatchDeleteResponse, RawBatchDelete, batch(RawBatchDelete),
            |r| first(&r.keys), |a| from_error_text(&a.error), raw::batch_delete;
        raw_scan: RawScanRequest => RawScanResponse, RawScan, batch(RawScan),
            |r| &r.start_key, |a| from_key_errors(pair_errors(&a.kvs)), raw::scan;
        raw_delete_range: RawDeleteRangeRequest => RawDeleteRangeResponse, RawDeleteRange, batch(RawDeleteRange),
            |r| &r.start_key, |a| from_error_text(&a.error), raw::delete_range;
        raw_batch_scan: RawBatchScanRequest => RawBatchScanResponse, RawBatchScan, batch(RawBatchScan),
            |r| first_range(&r.ranges), |a| from_key_errors(pair_errors(&a.kvs)), raw::batch_scan;
        raw_get_key_ttl: RawGetKeyTtlRequest => RawGetKeyTtlResponse, RawGetKeyTtl, batch(),
            |r| &r.key, |a| from_error_text(&a.error), raw::get_key_ttl;
        raw_compare_and_swap: RawCasRequest => RawCasResponse, RawCompareAndSwap, batch(),
            |r| &r.key, |a| from_error_text(&a.error), raw::compare_and_swap;
        raw_checksum: RawChecksumRequest => RawChecksumResponse, RawChecksum, batch(),
            |r| first_range(&r.ranges), |a| from_error_text(&a.error), raw::checksum;
        raw_coprocessor: RawCoprocessorRequest => RawCoprocessorResponse, RawCoprocessor, batch(RawCoprocessor),
            |r| first_range(&r.ranges), |a| from_error_text(&a.error), raw::coprocessor;
        unsafe_destroy_range: UnsafeDestroyRangeRequest => UnsafeDestroyRangeResponse, UnsafeDestroyRange, batch(),
            |r| &r.start_key, |a| from_error_text(&a.error), destroy::unsafe_destroy_range;
        split_region: SplitRegionRequest => SplitRegionResponse, SplitRegion, batch(),
            |r| split::first_key(r), |_a| ReplyOutcome::without_lock(Outcome::Ok), split::split_region;
    }};
}

/// Calls the macro `$generate` with the RPCs that can be in a batch and that this store does not serve. A line has:
/// method: request => reply, name on the wire, batch(variant, |request| context), |text| reply in a batch with that
/// error.
macro_rules! for_each_unserved_rpc {
    ($generate:ident) => {
        $generate! {
            kv_gc: GcRequest => GcResponse, "KvGC", batch(Gc, |r| r.context.as_ref()),
                |text| GcResponse { error: Some(key_error(text)), ..Default::default() };
            kv_import: ImportRequest => ImportResponse, "KvImport", batch(Import, |_r| None),
                |text| ImportResponse { error: text, ..Default::default() };
            coprocessor: coprocessor::Request => coprocessor::Response, "Coprocessor",
                batch(Coprocessor, |r| r.context.as_ref()),
                |text| coprocessor::Response { other_error: text, ..Default::default() };
        }
    };
}

pub(super) use for_each_rpc;
pub(super) use for_each_unserved_rpc;
