//! Responses to commands. Mirrors `raftstore::store::cmd_resp`.
use kvproto::raft_cmdpb::{RaftCmdResponse, RaftResponseHeader};

use crate::Error;

fn header(resp: &mut RaftCmdResponse) -> &mut RaftResponseHeader {
    resp.header.get_or_insert_default()
}

/// Tells the client the current term, if there is one.
pub fn bind_term(resp: &mut RaftCmdResponse, term: u64) {
    if term != 0 {
        header(resp).current_term = term;
    }
}

pub fn bind_error(resp: &mut RaftCmdResponse, err: Error) {
    header(resp).error = Some(err.into());
}

pub fn new_error(err: Error) -> RaftCmdResponse {
    let mut resp = RaftCmdResponse::default();
    bind_error(&mut resp, err);
    resp
}

pub fn err_resp(err: Error, term: u64) -> RaftCmdResponse {
    let mut resp = new_error(err);
    bind_term(&mut resp, term);
    resp
}
