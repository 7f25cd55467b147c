//! The state that a peer publishes to reading threads, and the reasons why a read is not local.
//! Mirrors `raftstore::store::worker::read::ReadDelegate`.
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use dashmap::DashMap;
use kvproto::metapb;
use tracepoints::clock::EngineInstant;

use super::{
    lease::{LeaseState, RemoteLease},
    txn_ext::TxnExt,
};

/// Peer state for reading threads; replaced as a whole whenever it changes.
#[derive(Clone, Debug)]
pub struct ReadDelegate {
    /// The region.
    pub region: Arc<metapb::Region>,
    /// Id of the peer.
    pub peer_id: u64,
    /// Raft term.
    pub term: u64,
    /// Term of the last applied entry: a new leader must apply an entry of its own term before it reads.
    pub applied_term: u64,
    /// Index of the last applied entry; the peer keeps it current.
    pub applied_index: Arc<AtomicU64>,
    /// The lease, if the peer leads.
    pub leader_lease: Option<RemoteLease>,
    /// State for the transaction layer.
    pub txn_ext: Arc<TxnExt>,
    /// Remaining time below which a read asks for a renewal.
    pub renew_lease_advance: Duration,
}

impl ReadDelegate {
    /// State of the lease at `now`; `None` if the peer published no lease of its term.
    pub fn lease_state(&self, now: EngineInstant) -> Option<LeaseState> {
        let lease = self.leader_lease.as_ref()?;
        (lease.term() == self.term).then(|| lease.inspect(now))
    }
}

/// Delegates of all peers of a store, by region id.
pub type ReadDelegates = Arc<DashMap<u64, Arc<ReadDelegate>>>;

/// Reason why a read was not local. TiKV: labels of `tikv_raftstore_local_read_reject_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RejectReason {
    /// The request is for another store.
    StoreIdMismatch = 1,
    /// The request is for another peer.
    PeerIdMismatch = 2,
    /// The request is of another term.
    TermMismatch = 3,
    /// The lease has ended.
    LeaseExpire = 4,
    /// No peer has published its state.
    NoRegion = 5,
    /// The peer does not lead.
    NoLease = 6,
    /// The region has another epoch.
    Epoch = 7,
    /// The leader has applied no entry of its own term.
    AppliedTerm = 8,
    /// The request requires a quorum (`read_quorum`) or is a follower's read (`replica_read`).
    ReadQuorum = 9,
    /// The region is in flashback, or the request belongs to a flashback that is not prepared.
    Flashback = 10,
    /// A stale read above the safe timestamp.
    SafeTs = 11,
}

impl RejectReason {
    /// Returns TiKV's label; `read_quorum` and `flashback` are not in TiKV.
    pub fn name(self) -> &'static str {
        match self {
            RejectReason::StoreIdMismatch => "store_id_mismatch",
            RejectReason::PeerIdMismatch => "peer_id_mismatch",
            RejectReason::TermMismatch => "term_mismatch",
            RejectReason::LeaseExpire => "lease_expire",
            RejectReason::NoRegion => "no_region",
            RejectReason::NoLease => "no_lease",
            RejectReason::Epoch => "epoch",
            RejectReason::AppliedTerm => "applied_term",
            RejectReason::ReadQuorum => "read_quorum",
            RejectReason::Flashback => "flashback",
            RejectReason::SafeTs => "safe_ts",
        }
    }

    /// Returns the reason for the code in a stamp.
    pub fn from_code(code: u64) -> Option<Self> {
        use RejectReason::*;
        let all = [
            StoreIdMismatch,
            PeerIdMismatch,
            TermMismatch,
            LeaseExpire,
            NoRegion,
            NoLease,
            Epoch,
            AppliedTerm,
            ReadQuorum,
            Flashback,
            SafeTs,
        ];
        all.into_iter().find(|r| *r as u64 == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_reasons_round_trip_through_stamp_codes() {
        for code in 1..=11 {
            let reason = RejectReason::from_code(code).unwrap();
            assert_eq!(reason as u64, code);
            assert_eq!(tracepoints::field::named("reason", code), Some(reason.name()));
        }
        assert_eq!(RejectReason::from_code(0), None);
    }
}
