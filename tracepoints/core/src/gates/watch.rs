//! Values that owners publish, and their changes.
use std::collections::HashMap;

use super::condition::Arrival;
use crate::{RequestKind, probe::Probe};

/// A value that a gate can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// The term of a peer.
    Term,
    /// The commit index of a peer.
    Commit,
    /// The applied index of a peer.
    Applied,
    /// The last index of a peer.
    Last,
    /// The leader that a peer knows.
    Leader,
    /// The rows of the key, by their number and their newest timestamps.
    Rows,
    /// The command that holds a latch.
    Latch,
}

impl Watched {
    /// Every value.
    pub const ALL: [Watched; 7] =
        [Self::Term, Self::Commit, Self::Applied, Self::Last, Self::Leader, Self::Rows, Self::Latch];

    /// The fields of a change, for conditions.
    pub const FIELDS: &'static [&'static str] = &["new", "old", "region"];

    /// The name in a gate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Commit => "commit",
            Self::Applied => "applied",
            Self::Last => "last",
            Self::Leader => "leader",
            Self::Rows => "rows",
            Self::Latch => "latch",
        }
    }

    /// Finds a value by its name.
    pub fn parse(name: &str) -> Option<Self> {
        let name = match name {
            "row" => "rows",
            name => name,
        };
        Self::ALL.into_iter().find(|watched| watched.name() == name)
    }
}

/// A change of a watched value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The value.
    pub watched: Watched,
    /// The store of its owner.
    pub store: u64,
    /// The region; 0 for rows, the number of the latch for a latch.
    pub region: u64,
    /// The value before.
    pub old: u64,
    /// The value after.
    pub new: u64,
}

impl Arrival for Change {
    fn field(&self, name: &str) -> Option<u64> {
        match name {
            "old" => Some(self.old),
            "new" => Some(self.new),
            "region" => Some(self.region),
            _ => None,
        }
    }

    fn store(&self) -> u64 {
        self.store
    }

    fn request(&self) -> u64 {
        0
    }

    fn kind(&self) -> Option<RequestKind> {
        None
    }

    fn key(&self) -> Option<&[u8]> {
        None
    }

    fn timestamp(&self, _: usize) -> Option<u64> {
        None
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { watched, store, region, old, new } = self;
        match watched {
            Watched::Rows => write!(f, "the rows of the key changed on store {store}"),
            Watched::Latch => write!(f, "latch {region} of store {store}: owner {old} → {new}"),
            _ => write!(f, "{} of store {store}: {old} → {new}", watched.name()),
        }
    }
}

/// The last published values. Notes them even without a gate, so that a gate that is set later holds at the next
/// change.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    known: HashMap<(Watched, u64, u64), u64>,
}

impl Watcher {
    /// Takes a probe; calls `changed` for each value that differs from the last one. The first value of an
    /// owner is not a change, except for a latch: a free latch has the owner 0.
    pub(crate) fn note(&mut self, probe: &Probe, mut changed: impl FnMut(Change)) {
        let mut set = |watched, store, place, new, first: Option<u64>| {
            let old = self.known.insert((watched, store, place), new).or(first);
            if let Some(old) = old.filter(|old| *old != new) {
                // The place of rows is the hash of their key, which means nothing to a person.
                let region = if watched == Watched::Rows { 0 } else { place };
                changed(Change { watched, store, region, old, new });
            }
        };
        match probe {
            Probe::Raft(raft) if !raft.is_stopped() => {
                for (watched, value) in [
                    (Watched::Term, raft.term),
                    (Watched::Commit, raft.commit),
                    (Watched::Applied, raft.applied),
                    (Watched::Last, raft.last_index),
                    (Watched::Leader, raft.leader),
                ] {
                    set(watched, raft.store, raft.region, value, None);
                }
            }
            Probe::Mvcc(rows) => {
                let lock = rows.lock.as_ref().map_or(0, |lock| lock.start_ts.max(lock.for_update_ts));
                let newest = rows.writes.first().map_or(0, |write| write.commit_ts);
                let count = rows.writes.len() as u64 + rows.defaults.len() as u64;
                let key = hash(rows.key.as_bytes());
                set(Watched::Rows, rows.store, key, hash(&words([lock, newest, count])), None);
            }
            Probe::Latches(latches) => {
                for slot in &latches.slots {
                    let owner = slot.queue.first().copied().unwrap_or(0);
                    set(Watched::Latch, latches.store, slot.slot, owner, Some(0));
                }
            }
            _ => {}
        }
    }
}

fn words(numbers: [u64; 3]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn hash(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes)) << 32 | bytes.len() as u64 & 0xffff_ffff
}
