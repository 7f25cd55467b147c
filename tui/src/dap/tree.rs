//! The state of a step as trees of names and values.
mod facts;
mod node;
mod raft;
mod rows;
mod stage;

use tracepoints::{request::RequestInfo, trace::Step};

use crate::state::timeline::OperationEnd;
pub use node::{Node, timestamp};
pub use rows::{key_forms, rows};
pub use stage::field;

/// A step with its request and the end of its operation.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The step.
    pub step: &'a Step,
    /// The step's request.
    pub request: Option<&'a RequestInfo>,
    /// The end of the operation, if the step is the last one.
    pub ending: Option<&'a OperationEnd>,
}

/// A group of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The stage: its fields, time, thread, meaning.
    Stage,
    /// The request.
    Request,
    /// The answer.
    Answer,
    /// The decisions at this step, with the compared values.
    Decisions,
    /// The peers of each region.
    Raft,
    /// The leases of the leaders.
    Lease,
    /// The rows of the key.
    Rows,
    /// The latches of the command.
    Latches,
    /// The transactions that wait for locks.
    LockWaits,
    /// Locks in memory, which a read checks before its snapshot.
    MemoryLocks,
    /// RocksDB's counters of the last read.
    RocksDb,
    /// Notes of the owners.
    Notes,
}

impl Scope {
    /// All scopes, as the client shows them.
    pub const ALL: [Scope; 12] = [
        Self::Stage,
        Self::Request,
        Self::Answer,
        Self::Decisions,
        Self::Raft,
        Self::Lease,
        Self::Rows,
        Self::Latches,
        Self::LockWaits,
        Self::MemoryLocks,
        Self::RocksDb,
        Self::Notes,
    ];

    /// The name that the client shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stage => "Stage",
            Self::Request => "Request",
            Self::Answer => "Answer",
            Self::Decisions => "Decisions",
            Self::Raft => "Raft",
            Self::Lease => "Lease",
            Self::Rows => "Rows",
            Self::Latches => "Latches",
            Self::LockWaits => "Lock waits",
            Self::MemoryLocks => "Memory locks",
            Self::RocksDb => "RocksDB",
            Self::Notes => "Notes",
        }
    }

    /// Finds a scope by the first word of an expression.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name().eq_ignore_ascii_case(name))
    }

    /// Whether a change since the step before is marked: a stage's own values always differ.
    pub fn marks_changes(self) -> bool {
        !matches!(self, Self::Stage | Self::Request | Self::Answer | Self::Decisions | Self::Notes)
    }

    /// The values at a step; empty if none is known.
    pub fn nodes(self, known: Known<'_>) -> Vec<Node> {
        let state = &known.step.state;
        match self {
            Self::Stage => stage::stage(known.step),
            Self::Request => {
                let mut out = stage::request(known.step, known.request);
                out.extend(facts::request(known.step));
                out
            }
            Self::Answer => {
                let mut out = stage::answer(known.step, known.ending);
                out.extend(facts::answer(known.step));
                out
            }
            Self::Decisions => facts::decisions(known.step),
            Self::Raft => raft::groups(&state.raft),
            Self::Lease => raft::leases(&state.raft),
            Self::Rows => state.mvcc.as_ref().map(rows).unwrap_or_default(),
            Self::Latches => state.latches.as_ref().map(rows::latches).unwrap_or_default(),
            Self::LockWaits => {
                let mut out = state.lock_waits.as_ref().map(facts::lock_waits).unwrap_or_default();
                out.extend(state.wait_graph.as_ref().map(facts::wait_graph));
                out
            }
            Self::MemoryLocks => {
                let mut out = stage::memory_locks(known.step);
                out.extend(state.memory_locks.as_ref().map(facts::memory_locks));
                out
            }
            Self::RocksDb => state.perf.as_ref().map(stage::perf).unwrap_or_default(),
            Self::Notes => state
                .notes
                .iter()
                .enumerate()
                .map(|(i, note)| Node::leaf(format!("{}", i + 1), note))
                .collect(),
        }
    }
}

/// Adds the value before to each value that differs from the one of the same name in `old`.
pub fn mark(nodes: &mut [Node], old: &[Node]) {
    for node in nodes {
        let Some(before) = old.iter().find(|o| o.name == node.name) else { continue };
        mark(&mut node.children, &before.children);
        if node.value != before.value && !before.value.is_empty() {
            node.value = format!("{} (was {})", node.value, before.value);
        }
    }
}
