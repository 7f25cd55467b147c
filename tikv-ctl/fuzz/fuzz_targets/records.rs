//! Any bytes as the small records: locks, writes, blob indexes and records, filters, and protobuf as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tikv_ctl::{
    lsm::{BlobIndex, Filter, decode_record},
    text::{message_json, message_text},
};
use txn_types::{WriteRef, parse_lock};

fuzz_target!(|data: &[u8]| {
    let _ = (WriteRef::parse(data), parse_lock(data).is_ok());
    let _ = (BlobIndex::decode(data), decode_record(data));
    let _ = Filter::parse(data).may_contain(b"key");
    for message in ["raft_cmdpb.RaftCmdRequest", "raft_serverpb.RegionLocalState", "eraftpb.Entry"] {
        let _ = (message_text(message, data), message_json(message, data));
    }
});
