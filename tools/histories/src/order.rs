//! Orders that clients can see besides their reads: of one process, and of real time.
use crate::{
    History, Outcome,
    graph::{Dependency, Graph},
};

/// The strongest order that a cycle uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Reads and writes only.
    Data,
    /// Also the order of the transactions of one process.
    Process,
    /// Also real time: a transaction that ended before another one began comes first.
    RealTime,
}

/// Adds an edge from each transaction of a process to its next one.
pub(crate) fn add_process(history: &History, graph: &mut Graph) {
    let mut order: Vec<u32> = committed(history).collect();
    order.sort_unstable_by_key(|at| {
        let transaction = &history.transactions[*at as usize];
        (transaction.process, transaction.invoked, *at)
    });
    // A transaction whose answer was lost may commit after the next one of its process.
    let mut last: Option<u32> = None;
    for at in order {
        let transaction = &history.transactions[at as usize];
        let is_same = |last: &u32| history.transactions[*last as usize].process == transaction.process;
        if let Some(last) = last.filter(is_same) {
            graph.add(last, at, Dependency::Process, 0);
        }
        if transaction.outcome == Outcome::Ok {
            last = Some(at);
        }
    }
}

/// Adds the order of real time with one further node for each completion, so that edges grow with transactions and not
/// with their square: a transaction leads to the node of its completion, this one to the next, and the last node before
/// an invocation to the transaction.
pub(crate) fn add_real_time(history: &History, graph: &mut Graph) {
    // An invocation at the time of a completion is concurrent with it: invocations sort first.
    let mut events: Vec<(u64, bool, u32)> = Vec::new();
    for at in committed(history) {
        let transaction = &history.transactions[at as usize];
        events.push((transaction.invoked, false, at));
        if transaction.outcome == Outcome::Ok {
            events.push((transaction.completed, true, at));
        }
    }
    events.sort_unstable();
    let mut last = None;
    for (_, is_completion, at) in events {
        if is_completion {
            let node = graph.add_node();
            graph.add(at, node, Dependency::RealTime, 0);
            if let Some(last) = last {
                graph.add(last, node, Dependency::RealTime, 0);
            }
            last = Some(node);
        } else if let Some(last) = last {
            graph.add(last, at, Dependency::RealTime, 0);
        }
    }
}

fn committed(history: &History) -> impl Iterator<Item = u32> {
    let all = history.transactions.iter().enumerate();
    all.filter(|(_, transaction)| transaction.outcome != Outcome::Fail).map(|(at, _)| at as u32)
}
