//! Responses to commands. Mirrors `raftstore::store::cmd_resp`.
use kvproto::{
    kvrpcpb::LockInfo,
    raft_cmdpb::{CmdType, RaftCmdResponse, RaftResponseHeader, ReadIndexResponse, Response},
};

use crate::Error;

fn header(resp: &mut RaftCmdResponse) -> &mut RaftResponseHeader {
    resp.header.get_or_insert_default()
}

/// Sets the current term in the response header, unless it is zero.
pub fn bind_term(resp: &mut RaftCmdResponse, term: u64) {
    if term != 0 {
        header(resp).current_term = term;
    }
}

/// Sets the error in the response header.
pub fn bind_error(resp: &mut RaftCmdResponse, err: Error) {
    header(resp).error = Some(err.into());
}

/// Creates a response with an error.
pub fn new_error(err: Error) -> RaftCmdResponse {
    let mut resp = RaftCmdResponse::default();
    bind_error(&mut resp, err);
    resp
}

/// Creates a response with an error and the current term.
pub fn err_resp(err: Error, term: u64) -> RaftCmdResponse {
    let mut resp = new_error(err);
    bind_term(&mut resp, term);
    resp
}

/// Response to a replica read that a lock in the leader's memory blocks.
pub fn locked(lock: LockInfo, term: u64) -> RaftCmdResponse {
    let read_index = Some(ReadIndexResponse { locked: Some(lock), ..Default::default() });
    let response = Response { cmd_type: CmdType::ReadIndex as i32, read_index, ..Default::default() };
    let mut resp = RaftCmdResponse { responses: vec![response], ..Default::default() };
    bind_term(&mut resp, term);
    resp
}
