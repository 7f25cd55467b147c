//! Dependencies of lists: a list that was read says in which order its values were appended.
use std::collections::{HashMap, HashSet};

use crate::{
    Anomaly, History, Key, Kind, Op, Outcome,
    graph::{Dependency, Graph},
    writers::Writers,
};

/// A read of another transaction's values: without those that the reader itself appended before.
struct Read<'a> {
    transaction: u32,
    key: Key,
    list: &'a [u64],
}

/// Adds the dependencies of all lists to `graph`; returns the anomalies that need no cycle.
pub(crate) fn infer(history: &History, graph: &mut Graph) -> Vec<Anomaly> {
    let appended = |op: &Op| match *op {
        Op::Append(key, value) => Some((key, value)),
        _ => None,
    };
    let mut found = Vec::new();
    let writers = Writers::collect(history, appended, "append", &mut found);
    let mut lists = Lists { history, writers, orders: HashMap::new(), found };
    let reads = lists.collect_reads();
    lists.check_reads(&reads);
    lists.add_edges(&reads, graph);
    lists.found
}

struct Lists<'a> {
    history: &'a History,
    writers: Writers<'a>,
    /// The longest list that was read of each key.
    orders: HashMap<Key, &'a [u64]>,
    found: Vec<Anomaly>,
}

impl<'a> Lists<'a> {
    fn report(&mut self, kind: Kind, transactions: &[u32], text: String) {
        self.found.push(Anomaly::new(kind, transactions, text));
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
                let Some(writer) = self.writers.get(*key, *value) else {
                    let text = format!("T{transaction} reads {value} in {name}, which nothing appended");
                    self.report(Kind::Garbage, &[*transaction], text);
                    continue;
                };
                let (from, is_end) = (writer.transaction, at + 1 == list.len());
                if self.writers.outcome(from) == Outcome::Fail {
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
        let writer = |key: Key, value: Option<&u64>| self.writers.unless_failed(key, *value?);
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
        let mut observed: HashSet<(Key, u64)> = HashSet::new();
        for (key, order) in &self.orders {
            observed.extend(order.iter().map(|value| (*key, *value)));
        }
        let acknowledged = self.writers.acknowledged();
        for (key, _, writer) in acknowledged.filter(|(key, value, _)| !observed.contains(&(*key, *value))) {
            let last = self.orders.get(&key).and_then(|order| order.last());
            if let Some(before) = last.and_then(|value| self.writers.get(key, *value)) {
                graph.add(before.transaction, writer, Dependency::WriteWrite, key);
            }
            if let Some(reader) = last_readers.get(&key) {
                graph.add(*reader, writer, Dependency::ReadWrite, key);
            }
        }
    }
}
