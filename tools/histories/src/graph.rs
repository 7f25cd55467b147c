//! The graph of dependencies between transactions.
use crate::Key;

/// Reason why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// The second one wrote the next version of a key.
    WriteWrite,
    /// The second one read the version that the first one wrote.
    WriteRead,
    /// The second one wrote the version after the one that the first one read.
    ReadWrite,
    /// One process ran both.
    Process,
    /// The first one had ended when the second one began.
    RealTime,
}

impl Dependency {
    /// Returns the short name: `ww`, `wr`, `rw`, `process`, `realtime`.
    pub fn name(self) -> &'static str {
        match self {
            Dependency::WriteWrite => "ww",
            Dependency::WriteRead => "wr",
            Dependency::ReadWrite => "rw",
            Dependency::Process => "process",
            Dependency::RealTime => "realtime",
        }
    }

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Kinds of edges, as the sum of their bits.
pub(crate) type Mask = u8;

/// One edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub to: u32,
    pub kind: Dependency,
    /// The key of a dependency of data.
    pub key: Key,
}

/// Edges while they are collected.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: u32,
    edges: Vec<(u32, Edge)>,
}

impl Graph {
    pub fn new(transactions: usize) -> Self {
        Self { nodes: transactions as u32, edges: Vec::new() }
    }

    pub fn add(&mut self, from: u32, to: u32, kind: Dependency, key: Key) {
        if from != to {
            self.edges.push((from, Edge { to, kind, key }));
        }
    }

    /// Adds a node that is not a transaction, and returns its number.
    pub fn add_node(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    pub fn finish(mut self) -> Frozen {
        self.edges.sort_unstable_by_key(|(from, edge)| (*from, edge.to, edge.kind));
        self.edges.dedup_by_key(|(from, edge)| (*from, edge.to, edge.kind));
        let mut starts = vec![0; self.nodes as usize + 1];
        for (from, _) in &self.edges {
            starts[*from as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Frozen { starts, edges: self.edges.into_iter().map(|(_, edge)| edge).collect() }
    }
}

/// Edges by their first node.
#[derive(Debug)]
pub(crate) struct Frozen {
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

impl Frozen {
    pub fn nodes(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    pub fn edges(&self, from: u32) -> &[Edge] {
        let at = from as usize;
        &self.edges[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Returns the graph with two nodes for each: `2 n` was reached by an edge other than rw, `2 n + 1` by rw, which no
    /// rw may follow. A cycle in it is a cycle without adjacent rw.
    pub fn split(&self, mask: Mask) -> Frozen {
        let mut graph = Graph::new(2 * self.nodes() as usize);
        for from in 0..self.nodes() {
            for edge in self.edges(from).iter().filter(|edge| edge.kind.bit() & mask != 0) {
                if edge.kind == Dependency::ReadWrite {
                    graph.add(2 * from, 2 * edge.to + 1, edge.kind, edge.key);
                } else {
                    graph.add(2 * from, 2 * edge.to, edge.kind, edge.key);
                    graph.add(2 * from + 1, 2 * edge.to, edge.kind, edge.key);
                }
            }
        }
        graph.finish()
    }
}
