//! Begins and ends requests, which travel as ids in their tasks.
use crate::{
    ending::{Ending, Wait},
    label, recorder, req, stepping,
};
pub use crate::{
    kind::RequestKind,
    req::{Req, RequestInfo},
};

/// Gives a request its id on arrival. If a session waits for such a request, the id is marked as stepped.
/// `key` is the first user key as the client sees it (not memcomparable-encoded).
pub fn begin(kind: RequestKind, key: &[u8], region: u64) -> Req {
    let mut req = req::next_id();
    if stepping::active() {
        req = stepping::adopt(req, kind, key, region);
    }
    recorder::mark_begin(req, kind, key, region);
    label::begins(req, kind, region);
    req
}

/// Ends a request like [`end_with`], with an unknown outcome.
pub fn end(req: Req) {
    end_with(req, Ending::default());
}

/// Reports to the collector and a session that the request has left the server, with its outcome.
pub fn end_with(req: Req, ending: Ending) {
    recorder::mark_end(req, ending);
    label::ended(req);
    if req.stepped() {
        stepping::finished(req, ending.outcome);
    }
}

/// Reports to the collector that the request now waits for `wait`; its next stage ends the wait.
pub fn waits(req: Req, wait: Wait) {
    if !req.is_none() {
        recorder::mark_wait(req, wait);
    }
}
