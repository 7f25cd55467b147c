//! Strongly connected components (R. Tarjan, 1972), without recursion.
use crate::graph::{Frozen, Mask};

/// The component of a node that is alone in its component.
pub(crate) const NONE: u32 = u32::MAX;

/// Returns for each node the number of its component; [`NONE`] for a node that is alone.
pub(crate) fn components(graph: &Frozen, mask: Mask) -> Vec<u32> {
    let mut search = Search {
        graph,
        mask,
        index: vec![NONE; graph.nodes() as usize],
        low: vec![0; graph.nodes() as usize],
        on_stack: vec![false; graph.nodes() as usize],
        component: vec![NONE; graph.nodes() as usize],
        stack: Vec::new(),
        next_index: 0,
        next_component: 0,
    };
    for node in 0..graph.nodes() {
        if search.index[node as usize] == NONE {
            search.visit(node);
        }
    }
    search.component
}

struct Search<'a> {
    graph: &'a Frozen,
    mask: Mask,
    index: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
    component: Vec<u32>,
    stack: Vec<u32>,
    next_index: u32,
    next_component: u32,
}

impl Search<'_> {
    fn visit(&mut self, root: u32) {
        // Nodes on the path from the root, with the number of the edge that is next.
        let mut path = vec![(root, 0)];
        self.enter(root);
        while let Some((node, next)) = path.last_mut() {
            let (node, edges) = (*node, self.graph.edges(*node));
            let Some(edge) = edges.get(*next) else {
                path.pop();
                self.leave(node);
                if let Some((parent, _)) = path.last() {
                    let (parent, low) = (*parent as usize, self.low[node as usize]);
                    self.low[parent] = self.low[parent].min(low);
                }
                continue;
            };
            *next += 1;
            if edge.kind.bit() & self.mask == 0 {
                continue;
            }
            let to = edge.to as usize;
            if self.index[to] == NONE {
                self.enter(edge.to);
                path.push((edge.to, 0));
            } else if self.on_stack[to] {
                self.low[node as usize] = self.low[node as usize].min(self.index[to]);
            }
        }
    }

    fn enter(&mut self, node: u32) {
        let at = node as usize;
        self.index[at] = self.next_index;
        self.low[at] = self.next_index;
        self.next_index += 1;
        self.on_stack[at] = true;
        self.stack.push(node);
    }

    /// Takes the component off the stack if `node` is its root.
    fn leave(&mut self, node: u32) {
        if self.low[node as usize] != self.index[node as usize] {
            return;
        }
        let is_alone = self.stack.last() == Some(&node);
        while let Some(member) = self.stack.pop() {
            self.on_stack[member as usize] = false;
            if !is_alone {
                self.component[member as usize] = self.next_component;
            }
            if member == node {
                break;
            }
        }
        self.next_component += u32::from(!is_alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Dependency, Graph};

    #[test]
    fn components_are_the_cycles() {
        let mut graph = Graph::new(6);
        for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (4, 5)] {
            graph.add(from, to, Dependency::WriteWrite, 0);
        }
        let found = components(&graph.finish(), Dependency::WriteWrite.bit());
        assert!(found[0] == found[1] && found[1] == found[2] && found[0] != NONE);
        assert!(found[3] == found[4] && found[3] != NONE && found[3] != found[0]);
        assert_eq!(found[5], NONE);
    }

    #[test]
    fn edges_of_other_kinds_do_not_count() {
        let mut graph = Graph::new(2);
        graph.add(0, 1, Dependency::WriteWrite, 0);
        graph.add(1, 0, Dependency::ReadWrite, 0);
        assert_eq!(components(&graph.finish(), Dependency::WriteWrite.bit()), [NONE, NONE]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut graph = Graph::new(1_000_000);
        for node in 0..1_000_000 {
            graph.add(node, (node + 1) % 1_000_000, Dependency::WriteRead, 0);
        }
        let found = components(&graph.finish(), Dependency::WriteRead.bit());
        assert!(found.iter().all(|component| *component == 0));
    }
}
