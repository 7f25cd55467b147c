//! Tracks the active configuration, which can change while the store runs.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;

use super::config::Config;

struct Tracked {
    current: RwLock<Arc<Config>>,
    version: AtomicU64,
}

/// Shared by the writer and all readers of the configuration. TiKV: `VersionTrack<Config>`.
#[derive(Clone)]
pub struct ConfigTracker(Arc<Tracked>);

impl ConfigTracker {
    /// Creates a tracker with this configuration.
    pub fn new(config: Config) -> Self {
        let current = RwLock::new(Arc::new(config));
        Self(Arc::new(Tracked { current, version: AtomicU64::new(1) }))
    }

    /// Returns the active configuration.
    pub fn get(&self) -> Arc<Config> {
        self.0.current.read().clone()
    }

    /// Replaces the configuration; threads use the new one from their next round.
    pub fn set(&self, config: Config) {
        *self.0.current.write() = Arc::new(config);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Returns the configuration if it changed since `seen`, and updates `seen`.
    pub fn changed(&self, seen: &mut u64) -> Option<Arc<Config>> {
        let now = self.0.version.load(Ordering::Acquire);
        (now != *seen).then(|| {
            *seen = now;
            self.get()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_seen_once() {
        let tracker = ConfigTracker::new(Config::default());
        let mut seen = 0;
        assert!(tracker.changed(&mut seen).is_some() && tracker.changed(&mut seen).is_none());
        tracker.set(Config { raft_log_gc_threshold: 7, ..Config::default() });
        assert_eq!(tracker.changed(&mut seen).map(|c| c.raft_log_gc_threshold), Some(7));
        assert!(tracker.changed(&mut seen).is_none());
    }
}
