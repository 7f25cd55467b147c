//! Dependencies of registers. A transaction that reads a value and then writes another one says which version follows
//! which; other orders of versions remain unknown.
use std::collections::{HashMap, HashSet};

use crate::{
    Anomaly, History, Key, Kind, Op, Outcome,
    graph::{Dependency, Graph},
    writers::Writers,
};

/// Adds the dependencies of all registers to `graph`; returns the anomalies that need no cycle.
pub(crate) fn infer(history: &History, graph: &mut Graph) -> Vec<Anomaly> {
    let written = |op: &Op| match *op {
        Op::Write(key, value) => Some((key, value)),
        _ => None,
    };
    let mut found = Vec::new();
    let writers = Writers::collect(history, written, "write", &mut found);
    let mut registers = Registers { history, writers, next: HashMap::new(), found };
    let reads = registers.collect_reads();
    registers.check_reads(&reads);
    registers.add_edges(&reads, graph);
    registers.found
}

/// A read of another transaction's value.
struct Read {
    transaction: u32,
    key: Key,
    value: Option<u64>,
}

struct Registers<'a> {
    history: &'a History,
    writers: Writers<'a>,
    /// Versions that follow a version of a key; `None` is the key before its first write.
    next: HashMap<(Key, Option<u64>), Vec<u64>>,
    found: Vec<Anomaly>,
}

impl Registers<'_> {
    fn report(&mut self, kind: Kind, transactions: &[u32], text: String) {
        self.found.push(Anomaly::new(kind, transactions, text));
    }

    /// Returns the reads of committed transactions, and keeps which version follows which.
    fn collect_reads(&mut self) -> Vec<Read> {
        let mut reads = Vec::new();
        for (at, transaction) in self.history.transactions.iter().enumerate() {
            if transaction.outcome != Outcome::Ok {
                continue;
            }
            let mut current: HashMap<Key, Option<u64>> = HashMap::new();
            let mut first_write: HashSet<Key> = HashSet::new();
            for op in &transaction.ops {
                match *op {
                    Op::Read(key, value) => match current.get(&key) {
                        Some(expected) if *expected != value => {
                            let (name, shown) = (self.history.name(key), shown(value));
                            let text =
                                format!("T{at} reads {name} as {shown} against its own earlier operations");
                            self.report(Kind::Internal, &[at as u32], text);
                        }
                        Some(_) => {}
                        None => {
                            current.insert(key, value);
                            reads.push(Read { transaction: at as u32, key, value });
                        }
                    },
                    Op::Write(key, value) => {
                        let before = current.insert(key, Some(value));
                        if let Some(before) = before.filter(|_| first_write.insert(key)) {
                            self.next.entry((key, before)).or_default().push(value);
                        }
                    }
                    _ => {}
                }
            }
        }
        self.add_first_versions();
        reads
    }

    /// The key before its first write precedes every version without a known predecessor.
    fn add_first_versions(&mut self) {
        let known: HashSet<(Key, u64)> =
            self.next.iter().flat_map(|((key, _), next)| next.iter().map(|value| (*key, *value))).collect();
        let acknowledged = self.writers.acknowledged();
        for (key, value, _) in acknowledged.filter(|(key, value, _)| !known.contains(&(*key, *value))) {
            self.next.entry((key, None)).or_default().push(value);
        }
    }

    fn check_reads(&mut self, reads: &[Read]) {
        for Read { transaction, key, value } in reads {
            let Some(value) = value else { continue };
            let name = self.history.name(*key);
            let Some(writer) = self.writers.get(*key, *value) else {
                let text = format!("T{transaction} reads {value} from {name}, which nothing wrote");
                self.report(Kind::Garbage, &[*transaction], text);
                continue;
            };
            let from = writer.transaction;
            if self.writers.outcome(from) == Outcome::Fail {
                let text = format!(
                    "T{transaction} reads {value} from {name}, and its writer T{from} was rolled back"
                );
                self.report(Kind::G1a, &[from, *transaction], text);
            } else if !writer.is_last && from != *transaction {
                let text =
                    format!("T{transaction} reads {value} from {name}, which its writer T{from} replaced");
                self.report(Kind::G1b, &[from, *transaction], text);
            }
        }
    }

    fn add_edges(&self, reads: &[Read], graph: &mut Graph) {
        let writer = |key: Key, value: u64| self.writers.unless_failed(key, value);
        for ((key, before), next) in &self.next {
            let Some(from) = before.and_then(|value| writer(*key, value)) else { continue };
            for to in next.iter().filter_map(|value| writer(*key, *value)) {
                graph.add(from, to, Dependency::WriteWrite, *key);
            }
        }
        for Read { transaction, key, value } in reads {
            if let Some(from) = value.and_then(|value| writer(*key, value)) {
                graph.add(from, *transaction, Dependency::WriteRead, *key);
            }
            for to in self.next.get(&(*key, *value)).into_iter().flatten() {
                if let Some(to) = writer(*key, *to) {
                    graph.add(*transaction, to, Dependency::ReadWrite, *key);
                }
            }
        }
    }
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| value.to_string())
}
