//! Compares hand-written bytes, from kvproto's field numbers, with the generated code.
use kvproto::*;
use prost::Message;

/// Checks that `message` encodes to `bytes`, and `bytes` decodes to `message`.
#[track_caller]
fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(message: M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(M::decode(bytes).expect("golden bytes decode"), message);
}

fn epoch() -> metapb::RegionEpoch {
    metapb::RegionEpoch { conf_ver: 1, version: 2 }
}

#[test]
fn a_region() {
    let region = metapb::Region {
        id: 2,
        start_key: b"a".to_vec(),
        region_epoch: Some(epoch()),
        peers: vec![metapb::Peer::voter(1, 3), metapb::Peer::learner(2, 4)],
        ..Default::default()
    };
    let bytes = [
        0x08, 2, 0x12, 1, b'a', 0x22, 4, 0x08, 1, 0x10, 2, // id, start_key, region_epoch
        0x2a, 4, 0x08, 3, 0x10, 1, // peers[0]
        0x2a, 6, 0x08, 4, 0x10, 2, 0x18, 1, // peers[1], a learner
    ];
    golden(region, &bytes);
}

#[test]
fn a_get_request_with_its_context() {
    let context = kvrpcpb::Context {
        region_id: 2,
        region_epoch: Some(epoch()),
        peer: Some(metapb::Peer::voter(1, 3)),
        term: 6,
        isolation_level: kvrpcpb::IsolationLevel::Rc as i32,
        ..Default::default()
    };
    let request = kvrpcpb::GetRequest {
        context: Some(context),
        key: b"k".to_vec(),
        version: 300,
        ..Default::default()
    };
    let bytes = [
        0x0a, 18, 0x08, 2, 0x12, 4, 0x08, 1, 0x10, 2, 0x1a, 4, 0x08, 3, 0x10, 1, 0x28, 6, 0x38,
        1, // context
        0x12, 1, b'k', 0x18, 0xac, 2, // key, version
    ];
    golden(request, &bytes);
}

#[test]
fn a_batch_command_uses_the_oneof_numbers() {
    let raw_get = kvrpcpb::RawGetRequest { key: b"k".to_vec(), ..Default::default() };
    let request = tikvpb::BatchCommandsRequest {
        requests: vec![tikvpb::batch_commands_request::Request {
            cmd: Some(tikvpb::batch_commands_request::request::Cmd::RawGet(raw_get)),
        }],
        request_ids: vec![7, 8],
        ..Default::default()
    };
    golden(request, &[0x0a, 5, 0x6a, 3, 0x12, 1, b'k', 0x12, 2, 7, 8]);
}

#[test]
fn a_raft_message_with_an_entry() {
    let entry = eraftpb::Entry { term: 6, index: 7, data: b"x".to_vec(), ..Default::default() };
    let message = eraftpb::Message {
        msg_type: eraftpb::MessageType::MsgAppend as i32,
        to: 3,
        from: 4,
        term: 6,
        entries: vec![entry],
        commit_term: 5,
        priority: 9,
        ..Default::default()
    };
    let raft_message = raft_serverpb::RaftMessage {
        region_id: 2,
        from_peer: Some(metapb::Peer::voter(1, 4)),
        message: Some(message),
        ..Default::default()
    };
    let bytes = [
        0x08, 2, 0x12, 4, 0x08, 4, 0x10, 1, // region_id, from_peer
        0x22, 22, 0x08, 3, 0x10, 3, 0x18, 4, 0x20, 6, // message: msg_type, to, from, term
        0x3a, 7, 0x10, 6, 0x18, 7, 0x22, 1, b'x', // entries[0]
        0x78, 5, 0x80, 1, 9, // commit_term = 15, priority = 16
    ];
    golden(raft_message, &bytes);
}

#[test]
fn persisted_raft_states() {
    let hard_state = eraftpb::HardState { term: 6, vote: 3, commit: 5 };
    golden(
        raft_serverpb::RaftLocalState { hard_state: Some(hard_state), last_index: 7 },
        &[0x0a, 6, 0x08, 6, 0x10, 3, 0x18, 5, 0x10, 7],
    );
    golden(
        raft_serverpb::RaftApplyState {
            applied_index: 7,
            truncated_state: Some(raft_serverpb::RaftTruncatedState { index: 5, term: 5 }),
            ..Default::default()
        },
        &[0x08, 7, 0x12, 4, 0x08, 5, 0x10, 5],
    );
}

#[test]
fn a_put_command() {
    let put = raft_cmdpb::PutRequest { cf: "write".into(), key: b"k".to_vec(), value: b"v".to_vec() };
    let request = raft_cmdpb::Request {
        cmd_type: raft_cmdpb::CmdType::Put as i32,
        put: Some(put),
        ..Default::default()
    };
    let command = raft_cmdpb::RaftCmdRequest { requests: vec![request], ..Default::default() };
    let bytes = [
        0x12, 17, 0x08, 3, 0x22, 13, // requests[0]: cmd_type, put
        0x0a, 5, b'w', b'r', b'i', b't', b'e', 0x12, 1, b'k', 0x1a, 1, b'v',
    ];
    golden(command, &bytes);
}

#[test]
fn a_tso_response() {
    let response = pdpb::TsoResponse {
        header: Some(pdpb::ResponseHeader { cluster_id: 9, ..Default::default() }),
        count: 10,
        timestamp: Some(pdpb::Timestamp { physical: 5, logical: 10, ..Default::default() }),
    };
    golden(response, &[0x0a, 2, 0x08, 9, 0x10, 10, 0x1a, 4, 0x08, 5, 0x10, 10]);
}

#[test]
fn a_region_error() {
    let not_leader = errorpb::NotLeader { region_id: 2, leader: Some(metapb::Peer::voter(1, 3)) };
    let error = errorpb::Error { not_leader: Some(not_leader), ..Default::default() };
    golden(error, &[0x12, 8, 0x08, 2, 0x12, 4, 0x08, 3, 0x10, 1]);
}
