//! The stacks of several profiles as one tree, with each profile's cost at every node.
use std::collections::HashMap;

use tracepoints::catalogue::find;

use crate::Folded;

/// A node; its number is its index in [`Tree::nodes`], where callers precede callees.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The frame's name.
    pub name: String,
    /// The caller; the root is its own.
    pub parent: usize,
    /// Cost of the node and all below it, by profile.
    pub values: Vec<u64>,
}

/// A tree whose root is node 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The nodes; the first one is the root.
    pub nodes: Vec<Node>,
    places: HashMap<(usize, String), usize>,
}

impl Tree {
    /// Builds the tree. Stages are in the catalogue's order, other callees in the order of their names.
    pub fn from_profiles(root: &str, profiles: &[&Folded]) -> Self {
        let node = Node { name: root.to_owned(), parent: 0, values: vec![0; profiles.len()] };
        let mut tree = Self { nodes: vec![node], places: HashMap::new() };
        for (side, profile) in profiles.iter().enumerate() {
            for (stack, count) in profile.iter() {
                let mut at = 0;
                add(&mut tree.nodes[0].values[side], count);
                for frame in stack.split(';') {
                    at = tree.child(at, frame, profiles.len());
                    add(&mut tree.nodes[at].values[side], count);
                }
            }
        }
        tree.in_order()
    }

    fn child(&mut self, parent: usize, name: &str, sides: usize) -> usize {
        let next = self.nodes.len();
        let at = *self.places.entry((parent, name.to_owned())).or_insert(next);
        if at == next {
            self.nodes.push(Node { name: name.to_owned(), parent, values: vec![0; sides] });
        }
        at
    }

    /// The nodes of a stack from the first frame on, up to the first unknown one.
    pub fn walk<'a>(&'a self, stack: &'a str) -> impl Iterator<Item = usize> + 'a {
        let mut at = 0;
        stack.split(';').map_while(move |frame| {
            at = *self.places.get(&(at, frame.to_owned()))?;
            Some(at)
        })
    }

    /// Returns the frames of a node, `a;b;c`; the root has none.
    pub fn path(&self, mut node: usize) -> String {
        let mut frames = Vec::new();
        while node != 0 {
            frames.push(self.nodes[node].name.as_str());
            node = self.nodes[node].parent;
        }
        frames.reverse();
        frames.join(";")
    }

    /// Returns the number of callers of a node; the root has none.
    pub fn depth(&self, mut node: usize) -> usize {
        let mut depth = 0;
        while node != 0 {
            node = self.nodes[node].parent;
            depth += 1;
        }
        depth
    }

    /// Sorts the nodes: callers before callees, with all descendants of a node right after it.
    fn in_order(self) -> Self {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            children[node.parent].push(i);
        }
        let key = |i: &usize| {
            let name = &self.nodes[*i].name;
            (find(stage_of(name)).map_or(u16::MAX, |s| s.id.0), name.clone())
        };
        children.iter_mut().for_each(|c| c.sort_by_cached_key(key));
        let (mut order, mut open) = (Vec::with_capacity(self.nodes.len()), vec![0]);
        while let Some(node) = open.pop() {
            order.push(node);
            open.extend(children[node].iter().rev());
        }
        let mut new = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| new[*from] = to);
        let nodes =
            order.iter().map(|i| Node { parent: new[self.nodes[*i].parent], ..self.nodes[*i].clone() });
        let places = self.places.iter().map(|((p, name), i)| ((new[*p], name.clone()), new[*i])).collect();
        Self { nodes: nodes.collect(), places }
    }
}

/// Returns the stage in a frame such as `raft_write_begin on store-2`.
pub(crate) fn stage_of(frame: &str) -> &str {
    frame.split(' ').next().unwrap_or(frame)
}

/// Adds without an overflow: another tool's trace may have durations of up to `u64::MAX`.
pub(crate) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_any_size_are_summed() {
        let mut one = Folded::default();
        one.add(["a", "b"], u64::MAX);
        one.add(["a", "c"], u64::MAX);
        let tree = Tree::from_profiles("all", &[&one]);
        assert!(tree.nodes.iter().all(|node| node.values == [u64::MAX]));
        crate::flame::svg_of(&one, "large", &crate::FlameOptions::default()).unwrap();
    }

    #[test]
    fn profiles_share_a_tree_in_the_order_of_the_catalogue() {
        let one = Folded::parse("kv_get;mvcc_get;b 3\nkv_get;grpc_receive 5\n").unwrap();
        let two = Folded::parse("kv_get;mvcc_get;a 2\nkv_get 1\n").unwrap();
        let tree = Tree::from_profiles("all", &[&one, &two]);
        let shown: Vec<_> =
            tree.nodes.iter().map(|n| (n.name.as_str(), n.parent, n.values.clone())).collect();
        assert_eq!(
            shown,
            [
                ("all", 0, vec![8, 3]),
                ("kv_get", 0, vec![8, 3]),
                ("grpc_receive", 1, vec![5, 0]),
                ("mvcc_get", 1, vec![3, 2]),
                ("a", 3, vec![0, 2]),
                ("b", 3, vec![3, 0]),
            ]
        );
        assert_eq!(tree.walk("kv_get;mvcc_get;b").collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(tree.walk("kv_get;other;b").collect::<Vec<_>>(), [1]);
        assert_eq!(
            (tree.path(5), tree.depth(5), tree.path(0)),
            ("kv_get;mvcc_get;b".into(), 3, String::new())
        );
    }
}
