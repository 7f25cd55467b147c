//! Tests every served RPC of `tikvpb.Tikv` with a success and an error, called alone and in a batch.
#[path = "../harness/mod.rs"]
mod harness;

mod caller;
mod pipelined;
mod ranges;
mod raw;
mod txn;
mod txn_end;

use std::collections::BTreeSet;

use caller::{Caller, Way};
use harness::Harness;
use tonic::{Code, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

type Case = fn(&Caller);

/// RPCs of one request, by their names in `tikvpb.proto`.
const TABLE: &[(&str, Case)] = &[
    ("KvGet", txn::get),
    ("KvBatchGet", txn::batch_get),
    ("KvScan", txn::scan),
    ("KvPrewrite", txn::prewrite),
    ("KvCommit", txn::commit),
    ("KvPessimisticLock", txn::pessimistic_lock),
    ("KVPessimisticRollback", txn::pessimistic_rollback),
    ("KvFlush", pipelined::flush),
    ("KvBufferBatchGet", pipelined::buffer_batch_get),
    ("GetHealthFeedback", pipelined::get_health_feedback),
    ("BroadcastTxnStatus", pipelined::broadcast_txn_status),
    ("GetLockWaitInfo", txn::get_lock_wait_info),
    ("KvBatchRollback", txn_end::batch_rollback),
    ("KvCleanup", txn_end::cleanup),
    ("KvTxnHeartBeat", txn_end::heart_beat),
    ("KvCheckTxnStatus", txn_end::check_txn_status),
    ("KvCheckSecondaryLocks", txn_end::check_secondary_locks),
    ("KvScanLock", txn_end::scan_lock),
    ("KvResolveLock", txn_end::resolve_lock),
    ("MvccGetByKey", txn_end::mvcc_get_by_key),
    ("MvccGetByStartTs", txn_end::mvcc_get_by_start_ts),
    ("RawGet", raw::get),
    ("RawBatchGet", raw::batch_get),
    ("RawPut", raw::put),
    ("RawBatchPut", raw::batch_put),
    ("RawDelete", raw::delete),
    ("RawBatchDelete", raw::batch_delete),
    ("RawScan", raw::scan),
    ("RawBatchScan", raw::batch_scan),
    ("RawGetKeyTTL", raw::get_key_ttl),
    ("RawCompareAndSwap", raw::compare_and_swap),
    ("RawChecksum", raw::checksum),
    ("RawCoprocessor", raw::coprocessor),
    ("RawDeleteRange", ranges::raw_delete_range),
    ("KvDeleteRange", ranges::delete_range),
    ("UnsafeDestroyRange", ranges::unsafe_destroy_range),
    ("KvPrepareFlashbackToVersion", ranges::flashback),
    ("KvFlashbackToVersion", ranges::flashback),
    // Last, since it changes the region.
    ("SplitRegion", ranges::split_region),
];

/// RPCs with streams: BatchCommands carries the table's, and only clusters of several stores use the others.
const STREAMS: [&str; 4] = ["BatchCommands", "Raft", "BatchRaft", "Snapshot"];

#[test]
fn each_rpc_succeeds_and_fails_alone_and_in_a_batch() {
    let h = Harness::start(1);
    let mut done = BTreeSet::new();
    // Once, after all others: PD learns of the new regions later than the store.
    let (split, others) = TABLE.split_last().unwrap();
    for way in [Way::Unary, Way::Batch] {
        for (rpc, case) in others {
            // Two RPCs may share a case, which then runs once for each way.
            if done.insert((way, *case as usize)) {
                println!("{rpc}, {way:?}");
                case(&Caller::new(&h, way));
            }
        }
    }
    (split.1)(&Caller::new(&h, Way::Unary));
}

/// Lists the RPCs of the service according to its definition.
fn defined() -> Vec<&'static str> {
    let proto = include_str!("../../../kvproto/proto/tikvpb.proto");
    let name = |line: &'static str| Some(line.trim().strip_prefix("rpc ")?.split('(').next()?.trim());
    proto.lines().filter_map(name).collect()
}

/// Returns the status of a call with an empty message.
async fn probe(channel: &Channel, rpc: &str) -> Code {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path: PathAndQuery = format!("/tikvpb.Tikv/{rpc}").parse().unwrap();
    let answer = grpc.unary(tonic::Request::new(()), path, ProstCodec::<(), ()>::default()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[test]
fn every_served_rpc_is_in_the_table() {
    let h = Harness::start(1);
    let (_, addr) = (h.leader(), h.store(0).addr());
    let tested: BTreeSet<&str> = TABLE.iter().map(|(rpc, _)| *rpc).chain(STREAMS).collect();
    let defined = defined();
    assert!(defined.len() > 60, "the definition was not read: {defined:?}");
    let mut served = BTreeSet::new();
    h.block_on(async {
        let channel = Channel::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
        for rpc in defined {
            if probe(&channel, rpc).await != Code::Unimplemented {
                served.insert(rpc);
            }
        }
    });
    assert_eq!(served, tested, "left: served RPCs; right: tested RPCs");
}
