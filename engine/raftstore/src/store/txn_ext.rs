//! State of a peer for the transaction layer. Mirrors `raftstore::store::txn_ext`.
use std::sync::atomic::{AtomicU64, Ordering};

use tikv_kv::SharedPessimisticLocks;

/// Lowest bit of the status: max_ts covers all reads at earlier leaders.
const SYNCED: u64 = 1;

/// TiKV: `TxnExt`. Shared by a peer, its read delegates and its snapshots.
#[derive(Debug, Default)]
pub struct TxnExt {
    /// Whether max_ts covers the reads that earlier leaders answered. From the lowest bit up: 1 bit for
    /// "synchronised with PD's clock", 31 bits of the region's version, 32 bits of the term. A task of an
    /// earlier term or version finds another status and changes nothing.
    max_ts_sync_status: AtomicU64,
    /// Pessimistic locks in memory, if the peer leads.
    pub pessimistic_locks: SharedPessimisticLocks,
}

impl TxnExt {
    /// Requires a new synchronisation of max_ts. Returns the status to pass to [`TxnExt::set_max_ts_synced`].
    pub fn require_max_ts_sync(&self, term: u64, version: u64) -> u64 {
        let status = (term << 32) | ((version & ((1 << 31) - 1)) << 1);
        self.max_ts_sync_status.store(status, Ordering::SeqCst);
        status
    }

    /// Whether the task that began with `initial_status` is still needed.
    pub fn is_waiting_with(&self, initial_status: u64) -> bool {
        self.max_ts_sync_status.load(Ordering::SeqCst) == initial_status
    }

    /// Marks max_ts as synchronised with PD's clock. Returns false if the status has changed.
    pub fn set_max_ts_synced(&self, initial_status: u64) -> bool {
        let (status, order) = (&self.max_ts_sync_status, Ordering::SeqCst);
        status.compare_exchange(initial_status, initial_status | SYNCED, order, order).is_ok()
    }

    /// Whether max_ts is synchronised for the leader of `term`.
    pub fn is_max_ts_synced(&self, term: u64) -> bool {
        let status = self.max_ts_sync_status.load(Ordering::SeqCst);
        status & SYNCED != 0 && status >> 32 == term & u64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_term_and_version_can_set_the_status() {
        let ext = TxnExt::default();
        assert!(!ext.is_max_ts_synced(0));
        let first = ext.require_max_ts_sync(6, 1);
        let second = ext.require_max_ts_sync(8, 1);
        assert!(!ext.set_max_ts_synced(first) && !ext.is_waiting_with(first));
        assert!(!ext.is_max_ts_synced(8));
        assert!(ext.is_waiting_with(second) && ext.set_max_ts_synced(second));
        assert!(ext.is_max_ts_synced(8) && !ext.is_max_ts_synced(6));
        let merged = ext.require_max_ts_sync(8, 2);
        assert!(!ext.is_max_ts_synced(8), "the region's version has changed");
        assert!(ext.set_max_ts_synced(merged));
    }

    #[test]
    fn large_terms_and_versions_stay_apart() {
        let ext = TxnExt::default();
        let status = ext.require_max_ts_sync(u64::MAX, u64::MAX);
        assert_eq!(status & SYNCED, 0);
        assert!(ext.set_max_ts_synced(status) && ext.is_max_ts_synced(u64::MAX));
    }
}
