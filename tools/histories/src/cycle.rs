//! Finds cycles, and names each by the edges that it needs.
use std::collections::{HashMap, VecDeque};

use crate::{
    Anomaly, History, Kind, Order,
    components::{NONE, components},
    graph::{Dependency, Edge, Frozen, Mask},
};

/// Maximum number of cycles that are searched for one kind.
const MAX_CYCLES: usize = 16;

/// Finds cycles of all kinds, each with the weakest order that it needs.
pub(crate) struct Cycles<'a> {
    pub history: &'a History,
    pub graph: &'a Frozen,
    pub found: Vec<Anomaly>,
}

impl Cycles<'_> {
    /// Searches cycles whose edges are data, and the orders up to `order`.
    pub fn search(&mut self, order: Order) {
        let order_bits: Mask = match order {
            Order::Data => 0,
            Order::Process => Dependency::Process.bit(),
            Order::RealTime => Dependency::RealTime.bit(),
        };
        let ww = Dependency::WriteWrite.bit() | order_bits;
        let dep = ww | Dependency::WriteRead.bit();
        let all = dep | Dependency::ReadWrite.bit();
        if components(self.graph, all).iter().all(|component| *component == NONE) {
            return;
        }
        self.closed_by(Kind::G0(order), Dependency::WriteWrite, ww, None);
        self.closed_by(Kind::G1c(order), Dependency::WriteRead, dep, None);
        self.without_adjacent_reads(order, dep, all);
        if self.found.iter().all(|anomaly| !is_cycle(anomaly.kind)) {
            self.closed_by(Kind::G2(order), Dependency::ReadWrite, all, Some(1));
        }
    }

    /// Searches cycles of an edge `first` and a path of `rest`; up to `max` of them.
    fn closed_by(&mut self, kind: Kind, first: Dependency, rest: Mask, max: Option<usize>) {
        let component = components(self.graph, rest | first.bit());
        let mut left = max.unwrap_or(MAX_CYCLES);
        for from in 0..self.graph.nodes() {
            if component[from as usize] == NONE {
                continue;
            }
            for edge in self.graph.edges(from).iter().filter(|edge| edge.kind == first) {
                if left == 0 {
                    return;
                }
                if component[edge.to as usize] != component[from as usize] {
                    continue;
                }
                if let Some(path) = path(self.graph, edge.to, from, rest) {
                    left -= 1;
                    self.report(kind, from, *edge, &path);
                }
            }
        }
    }

    /// Searches cycles in which no two rw edges are adjacent: snapshot isolation has none.
    fn without_adjacent_reads(&mut self, order: Order, dep: Mask, all: Mask) {
        let split = self.graph.split(all);
        let component = components(&split, Mask::MAX);
        let mut left = MAX_CYCLES;
        for from in 0..self.graph.nodes() {
            let at = component[2 * from as usize];
            for edge in self.graph.edges(from).iter().filter(|edge| edge.kind == Dependency::ReadWrite) {
                if at == NONE || component[2 * edge.to as usize + 1] != at {
                    continue;
                }
                if left == 0 {
                    return;
                }
                left -= 1;
                if let Some(path) = path(self.graph, edge.to, from, dep) {
                    self.report(Kind::GSingle(order), from, *edge, &path);
                } else if let Some(path) = path(&split, 2 * edge.to + 1, 2 * from, Mask::MAX) {
                    let halved = |(node, edge): &(u32, Edge)| (node / 2, Edge { to: edge.to / 2, ..*edge });
                    let path: Vec<_> = path.iter().map(halved).collect();
                    self.report(Kind::GNonadjacent(order), from, *edge, &path);
                }
            }
        }
    }

    /// Reports a cycle unless one of the same transactions, of this or of a worse kind, is known.
    fn report(&mut self, kind: Kind, from: u32, first: Edge, path: &[(u32, Edge)]) {
        let steps: Vec<(u32, Edge)> = [(from, first)].iter().chain(path).copied().collect();
        let count = self.history.transactions.len() as u32;
        let transactions: Vec<usize> = steps
            .iter()
            .map(|(node, _)| *node)
            .filter(|node| *node < count)
            .map(|node| node as usize)
            .collect();
        let sorted = |list: &[usize]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        let members = sorted(&transactions);
        if !self.found.iter().any(|known| is_cycle(known.kind) && sorted(&known.transactions) == members) {
            let text = self.text(&steps, count);
            self.found.push(Anomaly { kind, transactions, text });
        }
    }

    fn text(&self, steps: &[(u32, Edge)], transactions: u32) -> String {
        let mut text = String::new();
        let mut is_inside = false;
        for (node, edge) in steps {
            // Nodes of completions stand between two transactions of one realtime edge.
            if *node < transactions {
                text.push_str(&format!("T{node} "));
                is_inside = false;
            }
            if !is_inside {
                let key = match edge.kind {
                    Dependency::Process | Dependency::RealTime => String::new(),
                    _ => format!(" {}", self.history.name(edge.key)),
                };
                text.push_str(&format!("-{}{key}-> ", edge.kind.name()));
                is_inside = true;
            }
        }
        text.push_str(&format!("T{}", steps[0].0));
        text
    }
}

fn is_cycle(kind: Kind) -> bool {
    matches!(kind, Kind::G0(_) | Kind::G1c(_) | Kind::GSingle(_) | Kind::GNonadjacent(_) | Kind::G2(_))
}

/// Returns the shortest path as nodes with the edge that leaves each.
fn path(graph: &Frozen, from: u32, to: u32, mask: Mask) -> Option<Vec<(u32, Edge)>> {
    let mut came: HashMap<u32, (u32, Edge)> = HashMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node == to {
            break;
        }
        for edge in graph.edges(node).iter().filter(|edge| edge.kind.bit() & mask != 0) {
            if edge.to != from && !came.contains_key(&edge.to) {
                came.insert(edge.to, (node, *edge));
                queue.push_back(edge.to);
            }
        }
    }
    let (mut path, mut at) = (Vec::new(), to);
    while at != from {
        let step = came.get(&at)?;
        path.push(*step);
        at = step.0;
    }
    path.reverse();
    Some(path)
}
