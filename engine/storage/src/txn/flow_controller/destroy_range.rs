//! Deletions of ranges that run: during them and after them, the bytes that wait for compaction are no measure.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts the deletions of a store.
#[derive(Debug, Default)]
pub(super) struct DestroyRanges {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl DestroyRanges {
    /// Returns the number of deletions that have begun, and whether all of them have ended.
    pub fn progress(&self) -> (u64, bool) {
        // In this order: a deletion that begins in between counts as running.
        let ended = self.ended.load(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        (begun, ended == begun)
    }
}

/// A deletion that runs.
#[derive(Debug)]
pub struct DestroyRangeGuard(Arc<DestroyRanges>);

impl DestroyRangeGuard {
    pub(super) fn begin(ranges: &Arc<DestroyRanges>) -> Self {
        ranges.begun.fetch_add(1, Ordering::AcqRel);
        Self(ranges.clone())
    }
}

impl Drop for DestroyRangeGuard {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}
