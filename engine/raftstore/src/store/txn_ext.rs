//! What the transaction layer must know of a peer. Mirrors `raftstore::store::txn_ext`.
use std::sync::atomic::{AtomicU64, Ordering};

/// Lowest bit of the status: max_ts covers all reads at earlier leaders.
const SYNCED: u64 = 1;

/// TiKV: `TxnExt`. Shared by a peer, its read delegates and its snapshots.
#[derive(Debug, Default)]
pub struct TxnExt {
    /// A leader before this one may have answered later reads than this store's max_ts knows of. From the lowest bit up:
    /// 1 bit for "synchronised with PD's clock", 31 bits of the region's version, 32 bits of the term. A task of an earlier
    /// term or version finds another status and changes nothing.
    max_ts_sync_status: AtomicU64,
}

impl TxnExt {
    /// max_ts must be synchronised anew. Returns the status that [`TxnExt::set_max_ts_synced`] expects.
    pub fn require_max_ts_sync(&self, term: u64, version: u64) -> u64 {
        let status = (term << 32) | ((version & ((1 << 31) - 1)) << 1);
        self.max_ts_sync_status.store(status, Ordering::SeqCst);
        status
    }

    /// Whether a task that was begun with `initial_status` is still wanted.
    pub fn is_waiting_with(&self, initial_status: u64) -> bool {
        self.max_ts_sync_status.load(Ordering::SeqCst) == initial_status
    }

    /// max_ts is at least PD's clock after `initial_status` was set. False if the status is another meanwhile.
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
    fn only_the_task_of_the_current_term_and_version_sets_it() {
        let ext = TxnExt::default();
        assert!(!ext.is_max_ts_synced(0));
        let first = ext.require_max_ts_sync(6, 1);
        let second = ext.require_max_ts_sync(8, 1);
        assert!(!ext.set_max_ts_synced(first) && !ext.is_waiting_with(first));
        assert!(!ext.is_max_ts_synced(8));
        assert!(ext.is_waiting_with(second) && ext.set_max_ts_synced(second));
        assert!(ext.is_max_ts_synced(8) && !ext.is_max_ts_synced(6));
        let merged = ext.require_max_ts_sync(8, 2);
        assert!(!ext.is_max_ts_synced(8), "its range is another");
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
