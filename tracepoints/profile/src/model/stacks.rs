//! The tree of callers: each stack is its caller's stack plus one frame.
use hashbrown::HashTable;

use super::parts::{FrameId, StackId};

type Node = (StackId, FrameId);

/// Takes half the memory of an equivalent `IndexSet`: a profile of deep stacks has millions of nodes, and
/// each access misses the cache.
#[derive(Clone, Debug)]
pub(super) struct Stacks {
    /// By stack id. Node 0 is the root, which has no frame.
    nodes: Vec<Node>,
    /// Indexes of `nodes`, by caller and frame.
    places: HashTable<u32>,
}

impl Default for Stacks {
    /// Only the root.
    fn default() -> Self {
        Self { nodes: vec![(StackId::ROOT, FrameId(u32::MAX))], places: HashTable::new() }
    }
}

/// Hashes a node. Ids are small and sequential: a multiplication spreads them best into its upper half.
fn hash(node: &Node) -> u64 {
    let both = u64::from(node.0.0) << 32 | u64::from(node.1.0);
    let wide = u128::from(both ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
    (wide >> 64) as u64 ^ wide as u64
}

impl Stacks {
    /// Reserves memory for this many stacks.
    pub(super) fn reserve(&mut self, stacks: usize) {
        let Self { nodes, places } = self;
        nodes.reserve(stacks);
        places.reserve(stacks, |place| hash(&nodes[*place as usize]));
    }

    pub(super) fn push(&mut self, caller: StackId, frame: FrameId) -> StackId {
        let Self { nodes, places } = self;
        let node = (caller, frame);
        let same = |place: &u32| nodes[*place as usize] == node;
        let place = *places
            .entry(hash(&node), same, |place| hash(&nodes[*place as usize]))
            .or_insert(nodes.len() as u32)
            .get();
        if place as usize == nodes.len() {
            nodes.push(node);
        }
        StackId(place)
    }

    pub(super) fn get(&self, stack: StackId) -> Option<Node> {
        if stack == StackId::ROOT { None } else { self.nodes.get(stack.0 as usize).copied() }
    }

    /// All nodes but the root, callers before callees.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Node> {
        self.nodes[1..].iter().copied()
    }
}
