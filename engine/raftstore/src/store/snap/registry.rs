//! The snapshots in use, and what uses them.
use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::key::SnapKey;

/// Current use of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapEntry {
    /// The files are being written.
    Generating,
    /// Being sent to another store.
    Sending,
    /// Being received from another store.
    Receiving,
    /// Replaces a region's data.
    Applying,
}

/// Number of snapshots being sent and received, for store heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapStats {
    /// Snapshots being sent.
    pub sending: usize,
    /// Snapshots being received.
    pub receiving: usize,
    /// Snapshots being applied.
    pub applying: usize,
}

/// Uses of each snapshot. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    uses: Arc<Mutex<HashMap<SnapKey, Vec<SnapEntry>>>>,
}

impl Registry {
    pub(crate) fn register(&self, key: SnapKey, entry: SnapEntry) {
        self.uses.lock().entry(key).or_default().push(entry);
    }

    pub(crate) fn deregister(&self, key: &SnapKey, entry: SnapEntry) {
        let mut uses = self.uses.lock();
        let Some(entries) = uses.get_mut(key) else { return };
        if let Some(at) = entries.iter().position(|e| *e == entry) {
            entries.swap_remove(at);
        }
        if entries.is_empty() {
            uses.remove(key);
        }
    }

    pub(crate) fn has(&self, key: &SnapKey, entry: SnapEntry) -> bool {
        self.uses.lock().get(key).is_some_and(|entries| entries.contains(&entry))
    }

    /// Whether anything uses the snapshot.
    pub(crate) fn in_use(&self, key: &SnapKey) -> bool {
        self.uses.lock().contains_key(key)
    }

    pub(crate) fn stats(&self) -> SnapStats {
        let uses = self.uses.lock();
        let count = |entry| uses.values().flatten().filter(|e| **e == entry).count();
        SnapStats {
            sending: count(SnapEntry::Sending),
            receiving: count(SnapEntry::Receiving),
            applying: count(SnapEntry::Applying),
        }
    }
}
