//! A history: the transactions that clients ran, and what they saw.
use std::{collections::HashMap, fmt};

/// Number of a key in a history; [`History::name`] has its name.
pub type Key = u32;

/// Result of a transaction, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The commit was acknowledged.
    Ok,
    /// The transaction was rolled back for certain.
    Fail,
    /// The client lost the answer: the transaction may have committed, or may commit later.
    Unknown,
}

/// One operation with its result. No two operations write the same value to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Appends a value to the list of a key.
    Append(Key, u64),
    /// Reads the list of a key.
    List(Key, Vec<u64>),
    /// Replaces the value of a key.
    Write(Key, u64),
    /// Reads the value of a key; `None` if it has none yet.
    Read(Key, Option<u64>),
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The client that ran it, one transaction at a time.
    pub process: u32,
    /// Time at which the client began the transaction, in any unit that all clients share.
    pub invoked: u64,
    /// Time at which the client had the result, in the same unit.
    pub completed: u64,
    /// The result for the client.
    pub outcome: Outcome,
    /// The operations in order.
    pub ops: Vec<Op>,
}

/// Transactions, and the names of their keys.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The transactions, in any order.
    pub transactions: Vec<Transaction>,
    names: Vec<String>,
    numbers: HashMap<String, Key>,
}

impl History {
    /// Returns the number of the key with this name; a new name gets a new number.
    pub fn key(&mut self, name: &str) -> Key {
        if let Some(key) = self.numbers.get(name) {
            return *key;
        }
        let key = self.names.len() as Key;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), key);
        key
    }

    /// Returns the name of a key; its number if [`key`](Self::key) did not give it out.
    pub fn name(&self, key: Key) -> String {
        self.names.get(key as usize).cloned().unwrap_or_else(|| key.to_string())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Unknown => "unknown",
        })
    }
}

impl fmt::Display for History {
    /// Writes one line for each transaction, in the form that [`FromStr`](std::str::FromStr) reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for transaction in &self.transactions {
            let Transaction { process, invoked, completed, outcome, ops } = transaction;
            let ops: Vec<String> = ops.iter().map(|op| self.op(op)).collect();
            let line = format!("p{process} {invoked}..{completed} {outcome} {}", ops.join("; "));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl History {
    fn op(&self, op: &Op) -> String {
        match op {
            Op::Append(key, value) => format!("append {} {value}", self.name(*key)),
            Op::List(key, values) => {
                let values: Vec<String> = values.iter().map(u64::to_string).collect();
                format!("list {} [{}]", self.name(*key), values.join(" "))
            }
            Op::Write(key, value) => format!("write {} {value}", self.name(*key)),
            Op::Read(key, None) => format!("read {} nil", self.name(*key)),
            Op::Read(key, Some(value)) => format!("read {} {value}", self.name(*key)),
        }
    }
}
