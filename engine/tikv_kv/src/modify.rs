//! Modifications: what a command wants written.
use tracepoints::clock::EngineInstant;
use txn_types::{Key, Value};

/// CF names are `engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE}`.
pub type CfName = &'static str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modify {
    Put(CfName, Key, Value),
    Delete(CfName, Key),
    /// Start (included), end (excluded); `notify_only` deletes nothing.
    DeleteRange(CfName, Key, Key, bool),
}

impl Modify {
    /// The key, or the first of a range.
    pub fn key(&self) -> &Key {
        match self {
            Modify::Put(_, k, _) | Modify::Delete(_, k) | Modify::DeleteRange(_, k, _, _) => k,
        }
    }

    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        match self {
            Modify::Put(_, k, v) => k.as_encoded().len() + v.len(),
            Modify::Delete(_, k) => k.as_encoded().len(),
            Modify::DeleteRange(_, a, b, _) => a.as_encoded().len() + b.as_encoded().len(),
        }
    }
}

/// One atomic write of a request.
#[derive(Clone, Debug, Default)]
pub struct WriteData {
    pub modifies: Vec<Modify>,
    /// After it the write is not begun any more.
    pub deadline: Option<EngineInstant>,
}

impl WriteData {
    pub fn from_modifies(modifies: Vec<Modify>) -> Self {
        Self { modifies, deadline: None }
    }

    pub fn size(&self) -> usize {
        self.modifies.iter().map(Modify::size).sum()
    }
}
