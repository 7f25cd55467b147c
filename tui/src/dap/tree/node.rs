//! A name and its value.
use crate::state::{timestamps::Timestamps, units};

/// A name, its value as text, and its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// The value; of a node with parts: their summary.
    pub value: String,
    /// The kind of the value, such as `timestamp`.
    pub kind: &'static str,
    /// The timestamp; 0 for any other value.
    pub ts: u64,
    /// The name by which a data breakpoint watches it; empty: it cannot be watched.
    pub data: String,
    /// The parts.
    pub children: Vec<Node>,
}

impl Node {
    /// A node without parts.
    pub fn leaf(name: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string(), ..Self::default() }
    }

    /// A node with parts.
    pub fn parent(name: impl Into<String>, value: impl ToString, children: Vec<Node>) -> Self {
        Self { children, ..Self::leaf(name, value) }
    }

    /// A timestamp, with its time of day.
    pub fn timestamp(name: impl Into<String>, ts: u64) -> Self {
        Self { kind: "timestamp", ts, ..Self::leaf(name, timestamp(ts)) }
    }

    /// Replaces the timestamps in the node and its parts by their names, as the screen does. A timestamp keeps its
    /// clock time and gets its purposes.
    pub fn name_timestamps(&mut self, names: &Timestamps) {
        if let Some(described) = names.describe(self.ts) {
            self.value = self.value.replacen(&timestamp(self.ts), &described, 1);
        }
        self.value = names.apply(&self.value);
        self.name = names.apply(&self.name);
        self.children.iter_mut().for_each(|child| child.name_timestamps(names));
    }

    /// The node, with the name by which a data breakpoint watches it.
    pub fn watched(self, data: String) -> Self {
        Self { data, ..self }
    }
}

/// Formats a timestamp of PD with its time of day.
pub fn timestamp(ts: u64) -> String {
    match units::timestamp(ts) {
        Some(time) => format!("{ts} ({time})"),
        None if ts == u64::MAX => "the newest".into(),
        None => ts.to_string(),
    }
}
