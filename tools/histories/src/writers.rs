//! The writers of values: a value of a key names the transaction that wrote it.
use std::collections::HashMap;

use crate::{Anomaly, History, Key, Kind, Op, Outcome};

/// The transaction that wrote a value.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    pub transaction: u32,
    /// Whether the transaction wrote no further value to the same key.
    pub is_last: bool,
}

/// The writer of each value.
pub(crate) struct Writers<'a> {
    history: &'a History,
    by_value: HashMap<(Key, u64), Writer>,
}

impl<'a> Writers<'a> {
    /// Collects the writes that `written` returns as key and value; `verb` names them. Reports duplicates to `found`.
    pub fn collect(
        history: &'a History,
        written: impl Fn(&Op) -> Option<(Key, u64)>,
        verb: &str,
        found: &mut Vec<Anomaly>,
    ) -> Self {
        let mut by_value: HashMap<(Key, u64), Writer> = HashMap::new();
        for (at, transaction) in history.transactions.iter().enumerate() {
            let mut last: HashMap<Key, u64> = HashMap::new();
            for (key, value) in transaction.ops.iter().filter_map(&written) {
                let writer = Writer { transaction: at as u32, is_last: true };
                if let Some(first) = by_value.insert((key, value), writer) {
                    let (first, name) = (first.transaction, history.name(key));
                    let text = format!("T{first} and T{at} both {verb} {value} to {name}");
                    found.push(Anomaly::new(Kind::DuplicateWrite, &[first, at as u32], text));
                }
                if let Some(before) = last.insert(key, value)
                    && let Some(writer) = by_value.get_mut(&(key, before))
                {
                    writer.is_last = false;
                }
            }
        }
        Self { history, by_value }
    }

    /// Returns the writer of a value.
    pub fn get(&self, key: Key, value: u64) -> Option<Writer> {
        self.by_value.get(&(key, value)).copied()
    }

    /// Returns the transaction that wrote a value, unless it was rolled back.
    pub fn unless_failed(&self, key: Key, value: u64) -> Option<u32> {
        let writer = self.get(key, value)?.transaction;
        (self.outcome(writer) != Outcome::Fail).then_some(writer)
    }

    /// Returns the values whose commit was acknowledged, with their transactions.
    pub fn acknowledged(&self) -> impl Iterator<Item = (Key, u64, u32)> {
        let all = self.by_value.iter().map(|((key, value), writer)| (*key, *value, writer.transaction));
        all.filter(move |(_, _, transaction)| self.outcome(*transaction) == Outcome::Ok)
    }

    /// Returns the outcome of a transaction.
    pub fn outcome(&self, transaction: u32) -> Outcome {
        self.history.transactions[transaction as usize].outcome
    }
}
