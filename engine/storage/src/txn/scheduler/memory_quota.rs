//! Limit of the memory of unfinished commands.
//!
//! Mirrors `components/tikv_util/src/memory.rs`.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of unfinished commands, and their limit. Clones share them.
#[derive(Clone)]
pub(super) struct MemoryQuota(Arc<Sizes>);

struct Sizes {
    in_use: AtomicUsize,
    capacity: AtomicUsize,
}

impl MemoryQuota {
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Sizes { in_use: AtomicUsize::new(0), capacity: AtomicUsize::new(capacity) }))
    }

    pub fn set_capacity(&self, bytes: usize) {
        self.0.capacity.store(bytes, Ordering::Relaxed);
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity.load(Ordering::Relaxed)
    }

    pub fn in_use(&self) -> usize {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Takes bytes for a new command; `None` if they exceed the limit.
    pub fn alloc(&self, bytes: usize) -> Option<OwnedMemory> {
        let capacity = self.0.capacity.load(Ordering::Relaxed);
        let fits = |in_use: usize| in_use.checked_add(bytes).filter(|sum| *sum <= capacity);
        self.0.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(OwnedMemory { quota: self.clone(), bytes })
    }

    /// Takes bytes for a part of a running request, which must not fail.
    pub fn alloc_force(&self, bytes: usize) -> OwnedMemory {
        self.0.in_use.fetch_add(bytes, Ordering::Relaxed);
        OwnedMemory { quota: self.clone(), bytes }
    }
}

/// Bytes of one command; freed when dropped.
pub(super) struct OwnedMemory {
    quota: MemoryQuota,
    bytes: usize,
}

impl Drop for OwnedMemory {
    fn drop(&mut self) {
        self.quota.0.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_above_the_limit_are_refused_until_others_end() {
        let quota = MemoryQuota::new(100);
        let first = quota.alloc(60).unwrap();
        assert!(quota.alloc(41).is_none());
        let second = quota.alloc(40).unwrap();
        let forced = quota.alloc_force(30);
        assert_eq!(quota.in_use(), 130);
        drop((first, forced));
        assert!(quota.alloc(60).is_some() && quota.alloc(61).is_none());
        quota.set_capacity(101);
        assert!(quota.alloc(61).is_some() && quota.alloc(usize::MAX).is_none());
        drop(second);
        assert_eq!(quota.in_use(), 0);
    }
}
