//! A request's id, and the data that a session shows of the request.
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::kind::RequestKind;

const STEPPED: u64 = 1 << 63;

/// A request's id. It travels in the request's task, scheduler command, proposal and callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Req(pub(crate) u64);

impl Req {
    /// No request: background work, or a batch whose requests are linked by region, term and index.
    pub const NONE: Req = Req(0);

    /// Whether a session steps this request, so that its stamps are also published live.
    #[inline(always)]
    pub fn stepped(self) -> bool {
        self.0 & STEPPED != 0
    }

    /// Returns the number shown to people.
    pub fn id(self) -> u64 {
        self.0 & !STEPPED
    }

    /// Whether it is not a request.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Makes the id of a recorded request.
    pub(crate) fn from_id(id: u64) -> Req {
        Req(id & !STEPPED)
    }

    pub(crate) fn with_step(self) -> Req {
        Req(self.0 | STEPPED)
    }
}

/// Data of a stepped request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestInfo {
    /// The request's id.
    pub id: u64,
    /// The client operation it belongs to, or 0.
    pub parent: u64,
    /// The kind of the request.
    pub kind: RequestKind,
    /// The first user key, without any encoding (empty if it has none).
    pub key: Vec<u8>,
    /// The region; 0 if the request has none.
    pub region: u64,
    /// The store that serves it; 0: the client or PD.
    pub store: u64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> Req {
    Req(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_stepped_does_not_change_the_number() {
        let req = next_id();
        assert!(!req.stepped() && req.with_step().stepped());
        assert_eq!(req.id(), req.with_step().id());
    }
}
