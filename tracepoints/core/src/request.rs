//! Requests: their ids, which travel in their tasks, and the data known of each.
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::{
    ending::{Ending, Wait},
    label, recorder, session,
};

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

/// Kind of a request: TiKV's RPC name in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// A client's whole operation; the RPCs it sends are its children.
    Client,
    Tso,
    KvGet,
    KvBatchGet,
    KvScan,
    KvPrewrite,
    KvCommit,
    KvBatchRollback,
    KvCleanup,
    KvCheckTxnStatus,
    KvCheckSecondaryLocks,
    KvTxnHeartBeat,
    KvResolveLock,
    KvScanLock,
    KvPessimisticLock,
    KvPessimisticRollback,
    KvGc,
    KvDeleteRange,
    RawGet,
    RawBatchGet,
    RawPut,
    RawBatchPut,
    RawDelete,
    RawBatchDelete,
    RawScan,
    RawDeleteRange,
    Other,
    // Recordings store these numbers, so new kinds must come last.
    RawBatchScan,
    RawGetKeyTtl,
    RawCompareAndSwap,
    UnsafeDestroyRange,
    SplitRegion,
    KvPrepareFlashbackToVersion,
    KvFlashbackToVersion,
    /// A client asks PD for a region that is not in its cache.
    GetRegion,
}

impl RequestKind {
    /// Every kind, by its number.
    pub const ALL: [RequestKind; 35] = [
        Self::Client,
        Self::Tso,
        Self::KvGet,
        Self::KvBatchGet,
        Self::KvScan,
        Self::KvPrewrite,
        Self::KvCommit,
        Self::KvBatchRollback,
        Self::KvCleanup,
        Self::KvCheckTxnStatus,
        Self::KvCheckSecondaryLocks,
        Self::KvTxnHeartBeat,
        Self::KvResolveLock,
        Self::KvScanLock,
        Self::KvPessimisticLock,
        Self::KvPessimisticRollback,
        Self::KvGc,
        Self::KvDeleteRange,
        Self::RawGet,
        Self::RawBatchGet,
        Self::RawPut,
        Self::RawBatchPut,
        Self::RawDelete,
        Self::RawBatchDelete,
        Self::RawScan,
        Self::RawDeleteRange,
        Self::Other,
        Self::RawBatchScan,
        Self::RawGetKeyTtl,
        Self::RawCompareAndSwap,
        Self::UnsafeDestroyRange,
        Self::SplitRegion,
        Self::KvPrepareFlashbackToVersion,
        Self::KvFlashbackToVersion,
        Self::GetRegion,
    ];

    /// Whether the client sends it independently, in parallel with an operation that does not wait for it.
    pub fn runs_beside(self) -> bool {
        self == Self::KvTxnHeartBeat
    }

    /// Whether PD answers it. Every client asks PD all the time.
    pub fn is_of_pd(self) -> bool {
        matches!(self, Self::Tso | Self::GetRegion)
    }

    /// Returns the snake-case name, e.g. `kv_get`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(s)) => s,
            _ => format!("{self:?}"),
        }
    }

    /// Finds a kind by its snake-case name.
    pub fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_ascii_lowercase())).ok()
    }
}

/// Data of a stepped request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestInfo {
    pub id: u64,
    /// The client operation it belongs to, or 0.
    pub parent: u64,
    pub kind: RequestKind,
    /// The first user key, without any encoding (empty if it has none).
    pub key: Vec<u8>,
    pub region: u64,
    pub store: u64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> Req {
    Req(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Gives a request its id on arrival. If a session waits for such a request, the id is marked as stepped.
/// `key` is the first user key as the client sees it (not memcomparable-encoded).
pub fn begin(kind: RequestKind, key: &[u8], region: u64) -> Req {
    let mut req = next_id();
    if session::active() {
        req = session::adopt(req, kind, key, region);
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
        session::finished(req, ending.outcome);
    }
}

/// Reports to the collector that the request now waits for `wait`; its next stage ends the wait.
pub fn waits(req: Req, wait: Wait) {
    if !req.is_none() {
        recorder::mark_wait(req, wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_number_and_by_name() {
        for (i, kind) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
            assert_eq!(RequestKind::parse(&kind.name()), Some(kind));
        }
        assert_eq!(RequestKind::KvCheckTxnStatus.name(), "kv_check_txn_status");
        assert_eq!(RequestKind::parse("kv_nothing"), None);
    }

    #[test]
    fn being_stepped_does_not_change_the_number() {
        let req = next_id();
        assert!(!req.stepped() && req.with_step().stepped());
        assert_eq!(req.id(), req.with_step().id());
    }
}
