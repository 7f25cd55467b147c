//! Names of anomalies, and the levels of isolation that forbid them.
use std::fmt;

use crate::Order;

/// Kind of an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Two operations write the same value to a key: the history itself is unusable there.
    DuplicateWrite,
    /// A read returned a value that no transaction of the history wrote.
    Garbage,
    /// A transaction did not read its own earlier operations.
    Internal,
    /// Two reads of a list disagree about the order of its values.
    IncompatibleOrder,
    /// A read returned a value of a transaction that was rolled back.
    G1a,
    /// A read returned a value that its writer replaced in the same transaction.
    G1b,
    /// A cycle of writes: two transactions overwrote each other.
    G0(Order),
    /// A cycle of writes and reads: each of the transactions saw the other.
    G1c(Order),
    /// A cycle in which one read missed a write: a lost update, or a read of two different states.
    GSingle(Order),
    /// A cycle in which several reads missed writes, and no two of them are adjacent: a long fork.
    GNonadjacent(Order),
    /// A cycle with adjacent reads that missed writes: a write skew.
    G2(Order),
    /// A read of all accounts has the wrong sum.
    WrongTotal,
}

impl Kind {
    /// Returns the field's name of the anomaly, with the order that the cycle needs.
    pub fn name(self) -> &'static str {
        let by = |order: Order, names: [&'static str; 3]| names[order as usize];
        match self {
            Kind::DuplicateWrite => "duplicate write",
            Kind::Garbage => "garbage read",
            Kind::Internal => "internal",
            Kind::IncompatibleOrder => "incompatible order",
            Kind::G1a => "G1a",
            Kind::G1b => "G1b",
            Kind::G0(order) => by(order, ["G0", "G0-process", "G0-realtime"]),
            Kind::G1c(order) => by(order, ["G1c", "G1c-process", "G1c-realtime"]),
            Kind::GSingle(order) => by(order, ["G-single", "G-single-process", "G-single-realtime"]),
            Kind::GNonadjacent(order) => {
                by(order, ["G-nonadjacent", "G-nonadjacent-process", "G-nonadjacent-realtime"])
            }
            Kind::G2(order) => by(order, ["G2", "G2-process", "G2-realtime"]),
            Kind::WrongTotal => "wrong total",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level of isolation. Cycles through the order of a process or of real time are forbidden where the level is
/// combined with that order, as TiKV's timestamps do. [`Options`](crate::Options) has the order of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Read committed (PL-2).
    ReadCommitted,
    /// Snapshot isolation: what TiKV promises.
    Snapshot,
    /// Serializable (PL-3).
    Serializable,
}

impl Isolation {
    /// Whether no history of this level has such an anomaly.
    pub fn forbids(self, kind: Kind) -> bool {
        match kind {
            Kind::GSingle(_) | Kind::GNonadjacent(_) | Kind::Internal | Kind::WrongTotal => {
                self != Isolation::ReadCommitted
            }
            Kind::G2(_) => self == Isolation::Serializable,
            _ => true,
        }
    }
}

/// One anomaly of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The kind of the anomaly.
    pub kind: Kind,
    /// Indexes of its transactions in [`History::transactions`](crate::History::transactions); a cycle in its order.
    pub transactions: Vec<usize>,
    /// A sentence that explains it: `T0 -rw x-> T1 -ww x-> T0`.
    pub text: String,
}

impl Anomaly {
    pub(crate) fn new(kind: Kind, transactions: &[u32], text: String) -> Self {
        Self { kind, transactions: transactions.iter().map(|at| *at as usize).collect(), text }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}
