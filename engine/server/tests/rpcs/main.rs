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

/// Name of an RPC in `tikvpb.proto`, and the test of its success and its error.
type Case = (&'static str, fn(&Caller));

/// The RPCs of one request, each group in its file.
const GROUPS: [&[Case]; 5] = [txn::CASES, pipelined::CASES, txn_end::CASES, raw::CASES, ranges::CASES];

/// RPCs with streams: BatchCommands carries the table's, and only clusters of several stores use the others.
const STREAMS: [&str; 4] = ["BatchCommands", "Raft", "BatchRaft", "Snapshot"];

#[test]
fn each_rpc_succeeds_and_fails_alone_and_in_a_batch() {
    let h = Harness::start(1);
    let mut done = BTreeSet::new();
    for way in [Way::Unary, Way::Batch] {
        for (rpc, case) in GROUPS.iter().copied().flatten() {
            // Two RPCs may share a case, which then runs once for each way.
            if done.insert((way, *case as usize)) {
                println!("{rpc}, {way:?}");
                case(&Caller::new(&h, way));
            }
        }
    }
    // Once, after all others: PD learns of the new regions later than the store.
    (ranges::SPLIT_REGION.1)(&Caller::new(&h, Way::Unary));
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
    let cases = GROUPS.iter().copied().flatten().chain([&ranges::SPLIT_REGION]);
    let tested: BTreeSet<&str> = cases.map(|(rpc, _)| *rpc).chain(STREAMS).collect();
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
