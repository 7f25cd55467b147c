//! A name and its value.
use crate::state::units;

/// A name, its value as text, and its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// The value; of a node with parts: their summary.
    pub value: String,
    /// The kind of the value, such as `timestamp`.
    pub kind: &'static str,
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
        Self { kind: "timestamp", ..Self::leaf(name, timestamp(ts)) }
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
