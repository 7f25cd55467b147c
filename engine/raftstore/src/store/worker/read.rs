//! Local reads on the reader's thread while the leader's lease is valid.
//! Mirrors `raftstore::store::worker::read`.
mod verdict;

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use engine_rocks::RocksEngine;
use futures::future::{Either, ready};
use kvproto::raft_cmdpb::{CmdType, RaftCmdRequest, RaftRequestHeader, ReadIndexRequest, Request};
use tikv_kv::ErrorInner;
use tracepoints::{EngineClock, Facts, Req, probe::MemoryLocksProbe};

use verdict::{applied_term, checks, delegate_of, lease, verdict};

use crate::{
    Error, RaftRouter,
    store::{
        callback::Callback,
        lease::LeaseState,
        msg::CasualMessage,
        read_delegate::{ReadDelegate, ReadDelegates, RejectReason},
        region_snapshot::RegionSnapshot,
        txn_ext::TxnExt,
        util,
    },
};

/// Takes snapshots of regions, by the lease or through the peer FSM.
#[derive(Clone)]
pub struct LocalReader {
    store_id: u64,
    kv_engine: RocksEngine,
    delegates: ReadDelegates,
    router: RaftRouter,
}

/// Decision of the delegate about a request.
enum LocalReadDecision {
    /// The lease appears to be valid.
    Local(Arc<ReadDelegate>),
    Redirect(RejectReason),
    Refuse(RejectReason, Error),
}

impl LocalReadDecision {
    /// The reason why the read is not local; `None` for a local one.
    fn reason(&self) -> Option<RejectReason> {
        match self {
            Self::Local(_) => None,
            Self::Redirect(reason) | Self::Refuse(reason, _) => Some(*reason),
        }
    }
}

/// Returns the state of the lease now. TiKV: `ReadDelegate::is_in_leader_lease`.
fn current_lease(delegate: &ReadDelegate, req: Req) -> Option<LeaseState> {
    let now = EngineClock::now();
    let state = delegate.lease_state(now);
    tracepoints::step_inside!(
        LOCAL_READ_LEASE,
        req,
        lease(delegate, now),
        term = delegate.term,
        failed = state != Some(LeaseState::Valid),
    );
    state
}

impl LocalReader {
    /// Creates a reader of the store's data.
    pub fn new(kv_engine: RocksEngine, delegates: ReadDelegates, router: RaftRouter) -> Self {
        Self { store_id: router.store_id(), kv_engine, delegates, router }
    }

    /// Returns the regions with pessimistic locks in the memory of this store, for a viewer.
    pub fn memory_locks(&self) -> Vec<MemoryLocksProbe> {
        let tables: Vec<_> =
            self.delegates.iter().map(|entry| (*entry.key(), entry.value().txn_ext.clone())).collect();
        let probe = |(region, txn_ext): (u64, Arc<TxnExt>)| {
            let locks = txn_ext.pessimistic_locks.read();
            (!locks.is_empty()).then(|| locks.probe(self.store_id, region))
        };
        let mut found: Vec<_> = tables.into_iter().filter_map(probe).collect();
        found.sort_unstable_by_key(|table| table.region);
        found
    }

    /// Returns RocksDB with the data of all regions of this store.
    pub fn kv_engine(&self) -> &RocksEngine {
        &self.kv_engine
    }

    /// Takes a snapshot of the header's region; it contains every write acknowledged before this call.
    ///
    /// Ready at once if the lease is valid. `read_quorum` in the header forces a read index; `replica_read`
    /// allows a follower to read, whose leader checks the ranges of `read_index` for locks in memory.
    ///
    /// # Errors
    /// A region error, or `KeyIsLocked` with the lock that the leader found.
    pub fn snapshot(
        &self,
        header: RaftRequestHeader,
        read_index: Option<ReadIndexRequest>,
        req: Req,
    ) -> impl Future<Output = tikv_kv::Result<RegionSnapshot>> + Send + 'static + use<> {
        match self.try_local(&header, req) {
            Ok(Some(snapshot)) => Either::Left(ready(Ok(snapshot))),
            Ok(None) => Either::Right(self.redirect(header, read_index, req)),
            Err(err) => Either::Left(ready(Err(ErrorInner::Request(err.into()).into()))),
        }
    }

    /// Tries to read locally; returns `None` if the FSM must decide.
    fn try_local(&self, header: &RaftRequestHeader, req: Req) -> Result<Option<RegionSnapshot>, Error> {
        let region = header.region_id;
        let reason = match self.inspect(header, req) {
            LocalReadDecision::Local(delegate) => {
                let snap = self.kv_engine.snapshot();
                // Check the lease after the snapshot, too: the data must not be newer than a valid lease.
                if current_lease(&delegate, req) == Some(LeaseState::Valid) {
                    self.maybe_renew_lease_advance(&delegate);
                    let (term, applied) = (delegate.term, delegate.applied_index.load(Ordering::Acquire));
                    tracepoints::stamp!(LOCAL_READ, req, region = region, term = term, applied = applied);
                    tracepoints::facts!(req, verdict(header, Some(&delegate), EngineClock::now(), None));
                    let (region, txn_ext) = (delegate.region.clone(), delegate.txn_ext.clone());
                    return Ok(Some(RegionSnapshot::new(snap, region, term, applied, txn_ext)));
                }
                RejectReason::LeaseExpire
            }
            LocalReadDecision::Redirect(reason) => reason,
            LocalReadDecision::Refuse(reason, err) => {
                tracepoints::stamp!(LOCAL_READ_REJECT, req, region = region, reason = reason as u64);
                tracepoints::facts!(req, self.refusal(header, reason));
                return Err(err);
            }
        };
        tracepoints::stamp!(LOCAL_READ_REJECT, req, region = region, reason = reason as u64);
        tracepoints::facts!(req, self.refusal(header, reason));
        Ok(None)
    }

    /// Describes the reason to a person who steps.
    fn refusal(&self, header: &RaftRequestHeader, reason: RejectReason) -> Facts {
        let delegate = self.delegates.get(&header.region_id).map(|d| d.value().clone());
        verdict(header, delegate.as_deref(), EngineClock::now(), Some(reason))
    }

    /// Decides whether a request can read locally. TiKV: `LocalReaderCore::validate_request` and `inspect`.
    fn inspect(&self, header: &RaftRequestHeader, req: Req) -> LocalReadDecision {
        let delegate = self.delegates.get(&header.region_id).map(|d| d.value().clone());
        tracepoints::step_inside!(
            LOCAL_READ_DELEGATE,
            req,
            delegate_of(header.region_id, delegate.as_deref()),
            region = header.region_id,
            found = delegate.is_some(),
        );
        let Some(delegate) = delegate else {
            return LocalReadDecision::Redirect(RejectReason::NoRegion);
        };
        let refused = self.validate(header, &delegate);
        tracepoints::step_inside!(
            LOCAL_READ_CHECK,
            req,
            checks(header, self.store_id, &delegate, refused.as_ref().and_then(LocalReadDecision::reason)),
            region = header.region_id,
            term = delegate.term,
            failed = refused.is_some(),
        );
        if let Some(refused) = refused {
            return refused;
        }
        tracepoints::step_inside!(
            LOCAL_READ_APPLIED,
            req,
            applied_term(&delegate),
            term = delegate.term,
            applied_term = delegate.applied_term,
        );
        if delegate.applied_term != delegate.term {
            return LocalReadDecision::Redirect(RejectReason::AppliedTerm);
        }
        match current_lease(&delegate, req) {
            None => LocalReadDecision::Redirect(RejectReason::NoLease),
            Some(LeaseState::Valid) => LocalReadDecision::Local(delegate),
            Some(_) => LocalReadDecision::Redirect(RejectReason::LeaseExpire),
        }
    }

    /// Compares the header with the delegate; `None` if nothing prevents a local read.
    fn validate(&self, header: &RaftRequestHeader, delegate: &ReadDelegate) -> Option<LocalReadDecision> {
        if let Err(err) = util::check_store_id(header, self.store_id) {
            return Some(LocalReadDecision::Refuse(RejectReason::StoreIdMismatch, err));
        }
        if let Err(err) = util::check_peer_id(header, delegate.peer_id) {
            return Some(LocalReadDecision::Refuse(RejectReason::PeerIdMismatch, err));
        }
        if util::check_term(header, delegate.term).is_err() {
            return Some(LocalReadDecision::Redirect(RejectReason::TermMismatch));
        }
        // The header's epoch may be newer than the delegate: let the FSM decide.
        if util::check_region_epoch(header, &delegate.region).is_err() {
            return Some(LocalReadDecision::Redirect(RejectReason::Epoch));
        }
        if util::check_flashback_header(header, &delegate.region).is_err() {
            return Some(LocalReadDecision::Redirect(RejectReason::Flashback));
        }
        if let Err(err) = util::check_stale_read(header, delegate.region.id, delegate.peer_id) {
            return Some(LocalReadDecision::Refuse(RejectReason::SafeTs, err));
        }
        header.read_quorum.then_some(LocalReadDecision::Redirect(RejectReason::ReadQuorum))
    }

    /// Asks the peer to renew a lease that is about to end. TiKV: `ReadDelegate::maybe_renew_lease_advance`.
    fn maybe_renew_lease_advance(&self, delegate: &ReadDelegate) {
        let Some(lease) = &delegate.leader_lease else { return };
        if lease.need_renew(EngineClock::now(), delegate.renew_lease_advance) {
            // Losing this message costs one read index.
            let _ = self.router.send_casual_msg(delegate.region.id, CasualMessage::RenewLease);
        }
    }

    fn redirect(
        &self,
        header: RaftRequestHeader,
        read_index: Option<ReadIndexRequest>,
        req: Req,
    ) -> impl Future<Output = tikv_kv::Result<RegionSnapshot>> + Send + 'static + use<> {
        let region_id = header.region_id;
        let snap = Request {
            cmd_type: CmdType::Snap as i32,
            snap: Some(Default::default()),
            read_index,
            ..Default::default()
        };
        let cmd = RaftCmdRequest { header: Some(header), requests: vec![snap], ..Default::default() };
        let (callback, answer) = Callback::paired_read();
        // On an error, the router has already called the callback.
        let _ = self.router.send_read(cmd, callback, req);
        async move {
            match answer.await {
                Ok(response) => response.into_snapshot(),
                Err(_) => Err(ErrorInner::Request(Error::RegionNotFound(region_id).into()).into()),
            }
        }
    }
}
