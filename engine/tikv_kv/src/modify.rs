//! Modifications: the writes of a command.
use std::fmt;

use tracepoints::clock::EngineInstant;
use txn_types::{Key, Value};

use crate::RemovedLocks;

/// Name of a column family, one of `engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE}`.
pub type CfName = &'static str;

/// One change of one key, or of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modify {
    /// Puts a value.
    Put(CfName, Key, Value),
    /// Deletes a key.
    Delete(CfName, Key),
    /// Start (included), end (excluded); with `notify_only` nothing is deleted.
    DeleteRange(CfName, Key, Key, bool),
}

impl Modify {
    /// Returns the key, or the first key of a range.
    pub fn key(&self) -> &Key {
        match self {
            Modify::Put(_, k, _) | Modify::Delete(_, k) | Modify::DeleteRange(_, k, _, _) => k,
        }
    }

    /// Returns the bytes of key and value.
    pub fn size(&self) -> usize {
        match self {
            Modify::Put(_, k, v) => k.as_encoded().len() + v.len(),
            Modify::Delete(_, k) => k.as_encoded().len(),
            Modify::DeleteRange(_, a, b, _) => a.as_encoded().len() + b.as_encoded().len(),
        }
    }
}

/// Called when a write is proposed.
pub struct OnProposed(pub Box<dyn FnOnce() + Send>);

impl fmt::Debug for OnProposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnProposed")
    }
}

/// Atomic write of a request.
#[derive(Debug, Default)]
pub struct WriteData {
    /// The changes, applied together.
    pub modifies: Vec<Modify>,
    /// After this time the engine refuses the write.
    pub deadline: Option<EngineInstant>,
    /// Called once the write is in the leader's log; dropped uncalled if it is refused.
    pub on_proposed: Option<OnProposed>,
    /// Locks in the leader's memory that end once the write is applied.
    pub removed_locks: Option<RemovedLocks>,
}

impl WriteData {
    /// Creates the data without a deadline.
    pub fn from_modifies(modifies: Vec<Modify>) -> Self {
        Self { modifies, ..Self::default() }
    }

    /// Sum of the bytes of keys and values.
    pub fn size(&self) -> usize {
        self.modifies.iter().map(Modify::size).sum()
    }
}
