//! The form as read: any member may be missing or malformed.
use serde::Deserialize;

use crate::json::{List, Number, Object, Text};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct File {
    pub nodes: List<Object<Node>>,
    /// Root of the tree, before 2017 and in a heap profile.
    pub head: Object<Node>,
    pub start_time: Number,
    pub end_time: Number,
    /// Ids of nodes; other data in a heap profile, which is not read.
    pub samples: List<Number>,
    pub time_deltas: List<Number>,
    pub timestamps: List<Number>,
    /// Events of a trace that contains a profile in chunks.
    pub trace_events: List<Object<Event>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    id: Number,
    pub parent: Number,
    call_frame: Object<CallFrame>,
    pub hit_count: Number,
    /// Bytes, in a heap profile.
    pub self_size: Number,
    pub children: List<Child>,
    // Before 2017 the frame's fields were in the node itself.
    function_name: Text,
    url: Text,
    line_number: Number,
    column_number: Number,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CallFrame {
    pub function_name: Text,
    pub url: Text,
    pub line_number: Number,
    pub column_number: Number,
}

/// A node, or the id of one.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Child {
    Id(u64),
    Node(Box<Node>),
    /// An id in another form, such as text.
    Other(Number),
}

/// Returns the id of a node: a whole number that is not negative.
pub(super) fn whole(id: Number) -> Option<u64> {
    id.0.filter(|id| *id >= 0.0 && id.fract() == 0.0).map(|id| id as u64)
}

impl List<Child> {
    /// Returns the children given by their ids.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter_map(|child| match child {
            Child::Id(id) => Some(*id),
            Child::Other(id) => whole(*id),
            Child::Node(_) => None,
        })
    }

    /// Returns the children given as nodes.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        self.0.into_iter().filter_map(|child| if let Child::Node(node) = child { Some(*node) } else { None })
    }
}

impl Node {
    pub fn id(&self) -> Option<u64> {
        whole(self.id)
    }

    pub fn has_size(&self) -> bool {
        let child = |child: &Child| if let Child::Node(node) = child { node.has_size() } else { false };
        self.self_size.0.is_some() || self.children.0.iter().any(child)
    }

    pub fn call(&self) -> CallFrame {
        self.call_frame.0.clone().unwrap_or_else(|| CallFrame {
            function_name: self.function_name.clone(),
            url: self.url.clone(),
            // Old lines count from 1.
            line_number: Number(self.line_number.0.map(|n| n - 1.0)),
            column_number: Number(self.column_number.0.map(|n| n - 1.0)),
        })
    }
}

/// The profile-related part of a trace event.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub name: Text,
    pub ph: Text,
    pub pid: Text,
    pub tid: Text,
    pub id: Text,
    pub args: Object<Args>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Args {
    /// Name of a thread, in metadata.
    pub name: Text,
    pub data: Object<Chunk>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Chunk {
    /// Start of the whole profile, in its first event.
    pub start_time: Number,
    pub end_time: Number,
    pub cpu_profile: Object<Part>,
    pub time_deltas: List<Number>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub nodes: List<Object<Node>>,
    pub samples: List<Number>,
    pub time_deltas: List<Number>,
    pub start_time: Number,
    pub end_time: Number,
}
