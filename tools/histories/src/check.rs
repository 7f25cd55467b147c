//! Searches a history of transactions for anomalies of every kind.
use crate::{Anomaly, History, Isolation, Order, cycle::Cycles, graph::Graph, lists, order, registers};

/// Options of a check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The strongest order that cycles may use.
    pub order: Order,
    /// Only anomalies that this level forbids are returned.
    pub isolation: Isolation,
}

/// Returns the anomalies of all kinds in the data, without the orders of processes and of real time.
pub fn check(history: &History) -> Vec<Anomaly> {
    check_with(history, Options { order: Order::Data, isolation: Isolation::Serializable })
}

/// Returns the anomalies, those without a cycle first. Takes time in proportion to the operations.
///
/// Searches up to 16 cycles of a kind. Returns one of the cycles through the same transactions, with the weakest order.
/// Searches G2 only in a history without other cycles.
pub fn check_with(history: &History, options: Options) -> Vec<Anomaly> {
    let mut graph = Graph::new(history.transactions.len());
    let mut found = lists::infer(history, &mut graph);
    found.extend(registers::infer(history, &mut graph));
    if options.order >= Order::Process {
        order::add_process(history, &mut graph);
    }
    if options.order == Order::RealTime {
        order::add_real_time(history, &mut graph);
    }
    let graph = graph.finish();
    let mut cycles = Cycles { history, graph: &graph, found: Vec::new() };
    for order in [Order::Data, Order::Process, Order::RealTime] {
        if order <= options.order {
            cycles.search(order);
        }
    }
    found.append(&mut cycles.found);
    found.retain(|anomaly| options.isolation.forbids(anomaly.kind));
    found
}
