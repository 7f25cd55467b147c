//! Dependencies of lists: a list that was read says in which order its values were appended.
use std::collections::HashMap;

use crate::{
    Anomaly, History, Key, Kind, Op, Outcome,
    graph::{Dependency, Graph},
};

/// The transaction that appended a value.
#[derive(Clone, Copy)]
struct Writer {
    transaction: u32,
    /// Whether it appended no further value to the same key.
    is_last: bool,
}

/// A read of another transaction's values: without those that the reader itself appended before.
struct Read<'a> {
    transaction: u32,
    key: Key,
    list: &'a [u64],
}

/// Adds the dependencies of all lists to `graph`; returns the anomalies that need no cycle.
pub(crate) fn infer(history: &History, graph: &mut Graph) -> Vec<Anomaly> {
    let mut lists = Lists { history, writers: HashMap::new(), orders: HashMap::new(), found: Vec::new() };
    lists.collect_writers();
    let reads = lists.collect_reads();
    lists.check_reads(&reads);
    lists.add_edges(&reads, graph);
    lists.found
}

struct Lists<'a> {
    history: &'a History,
    writers: HashMap<(Key, u64), Writer>,
    /// The longest list that was read of each key.
    orders: HashMap<Key, &'a [u64]>,
    found: Vec<Anomaly>,
}

impl<'a> Lists<'a> {
    fn report(&mut self, kind: Kind, transactions: &[u32], text: String) {
        let transactions = transactions.iter().map(|at| *at as usize).collect();
        self.found.push(Anomaly { kind, transactions, text });
    }

    fn collect_writers(&mut self) {
        for (at, transaction) in self.history.transactions.iter().enumerate() {
            let mut last: HashMap<Key, u64> = HashMap::new();
            for op in &transaction.ops {
                let Op::Append(key, value) = op else { continue };
                let writer = Writer { transaction: at as u32, is_last: true };
                if let Some(first) = self.writers.insert((*key, *value), writer) {
                    let text = format!(
                        "T{} and T{at} both append {value} to {}",
                        first.transaction,
                        self.history.name(*key)
                    );
                    self.report(Kind::DuplicateWrite, &[first.transaction, at as u32], text);
                }
                if let Some(before) = last.insert(*key, *value)
                    && let Some(writer) = self.writers.get_mut(&(*key, before))
                {
                    writer.is_last = false;
                }
            }
        }
    }

    /// Returns the reads of committed transactions, and keeps the longest list of each key.
    fn collect_reads(&mut self) -> Vec<Read<'a>> {
        let mut reads = Vec::new();
        for (at, transaction) in self.history.transactions.iter().enumerate() {
            if transaction.outcome != Outcome::Ok {
                continue;
            }
            // What the transaction must read of a key: the list that it read, and its own values after it.
            let mut own: HashMap<Key, (Option<&[u64]>, Vec<u64>)> = HashMap::new();
            for op in &transaction.ops {
                match op {
                    Op::Append(key, value) => own.entry(*key).or_default().1.push(*value),
                    Op::List(key, list) => {
                        let (read, appended) = own.entry(*key).or_default();
                        let base = list.strip_suffix(appended.as_slice());
                        if base.is_none() || read.is_some_and(|read| base != Some(read)) {
                            let text = format!(
                                "T{at} reads {} as {list:?} against its own earlier operations",
                                self.history.name(*key)
                            );
                            self.report(Kind::Internal, &[at as u32], text);
                            continue;
                        }
                        let list = base.unwrap_or(list);
                        let is_first = read.replace(list).is_none();
                        if is_first {
                            reads.push(Read { transaction: at as u32, key: *key, list });
                        }
                    }
                    _ => {}
                }
            }
        }
        for read in &reads {
            let longest = self.orders.entry(read.key).or_default();
            if read.list.len() > longest.len() {
                *longest = read.list;
            }
        }
        reads
    }

    fn check_reads(&mut self, reads: &[Read<'a>]) {
        for Read { transaction, key, list } in reads {
            let name = self.history.name(*key);
            if !self.orders[key].starts_with(list) {
                let text = format!(
                    "T{transaction} reads {name} as {list:?}, another transaction as {:?}",
                    self.orders[key]
                );
                self.report(Kind::IncompatibleOrder, &[*transaction], text);
            }
            for (at, value) in list.iter().enumerate() {
                let Some(writer) = self.writers.get(&(*key, *value)).copied() else {
                    let text = format!("T{transaction} reads {value} in {name}, which nothing appended");
                    self.report(Kind::Garbage, &[*transaction], text);
                    continue;
                };
                let (from, is_end) = (writer.transaction, at + 1 == list.len());
                if self.history.transactions[from as usize].outcome == Outcome::Fail {
                    let text = format!(
                        "T{transaction} reads {value} in {name}, and its writer T{from} was rolled back"
                    );
                    self.report(Kind::G1a, &[from, *transaction], text);
                } else if is_end && !writer.is_last && from != *transaction {
                    let text = format!(
                        "T{transaction} reads {name} up to {value}, and its writer T{from} appended more"
                    );
                    self.report(Kind::G1b, &[from, *transaction], text);
                }
            }
        }
    }

    fn add_edges(&self, reads: &[Read<'a>], graph: &mut Graph) {
        let writer = |key: Key, value: Option<&u64>| {
            let writer = self.writers.get(&(key, *value?))?.transaction;
            (self.history.transactions[writer as usize].outcome != Outcome::Fail).then_some(writer)
        };
        for (key, order) in &self.orders {
            for pair in order.windows(2) {
                if let (Some(a), Some(b)) = (writer(*key, pair.first()), writer(*key, pair.last())) {
                    graph.add(a, b, Dependency::WriteWrite, *key);
                }
            }
        }
        let mut last_readers: HashMap<Key, u32> = HashMap::new();
        for Read { transaction, key, list } in reads {
            let order = self.orders[key];
            if !order.starts_with(list) {
                continue;
            }
            if let Some(from) = writer(*key, list.last()) {
                graph.add(from, *transaction, Dependency::WriteRead, *key);
            }
            if let Some(to) = writer(*key, order.get(list.len())) {
                graph.add(*transaction, to, Dependency::ReadWrite, *key);
            } else if list.len() == order.len() {
                let began = |at: u32| self.history.transactions[at as usize].invoked;
                let last = last_readers.entry(*key).or_insert(*transaction);
                if began(*transaction) > began(*last) {
                    *last = *transaction;
                }
            }
        }
        self.add_unobserved(&last_readers, graph);
    }

    /// An acknowledged value that no read has comes after all values of the longest list, since lists only grow.
    fn add_unobserved(&self, last_readers: &HashMap<Key, u32>, graph: &mut Graph) {
        let mut observed: HashMap<Key, std::collections::HashSet<u64>> = HashMap::new();
        for (key, order) in &self.orders {
            observed.insert(*key, order.iter().copied().collect());
        }
        for ((key, value), writer) in &self.writers {
            let is_committed = self.history.transactions[writer.transaction as usize].outcome == Outcome::Ok;
            let is_observed = observed.get(key).is_some_and(|observed| observed.contains(value));
            if !is_committed || is_observed {
                continue;
            }
            let last = self.orders.get(key).and_then(|order| order.last());
            if let Some(before) = last.and_then(|value| self.writers.get(&(*key, *value))) {
                graph.add(before.transaction, writer.transaction, Dependency::WriteWrite, *key);
            }
            if let Some(reader) = last_readers.get(key) {
                graph.add(*reader, writer.transaction, Dependency::ReadWrite, *key);
            }
        }
    }
}
