//! The samples of a profile before their addresses are named. Every sampler fills one.
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tracepoints::{RequestKind, StageId, symbolize::Frame};

pub type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "pprof does not say how a stack ends"))]
pub enum End {
    /// At the function that began the thread.
    Root,
    /// The stack is deeper than what was copied, or than what is kept.
    Deep,
    /// At a word that is no address of code.
    Broken,
    /// The same, behind a function of which no table says how to leave it.
    NoTable,
}

impl End {
    /// Why a stack is cut, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Root => "it is whole",
            Self::Deep => "it is deeper than 64 KiB or 256 frames",
            Self::Broken => "what the stack holds there is no address of code",
            Self::NoTable => "no unwind table says how to leave the function, and it keeps no frame pointer",
        }
    }
}

/// What a sample is counted under, beside its stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Place in [`Tally::threads`].
    pub thread: usize,
    pub stage: Option<StageId>,
    pub kind: Option<RequestKind>,
    /// 0: none.
    pub region: u64,
    /// Number of the request; 0: none, or not kept.
    pub req: u64,
}

/// Samples of a profile, equal ones together.
#[derive(Debug, Default)]
pub struct Tally {
    /// By who and by return addresses, innermost first: timer periods.
    pub stacks: Map<(Who, Box<[usize]>), u64>,
    pub threads: Vec<String>,
    /// Frames that the sampler named itself, innermost first, by the address that stands for them in `stacks`.
    pub named: Map<usize, Vec<Frame>>,
    /// Timer periods whose samples found no room.
    pub dropped: u64,
    /// Timer periods whose stacks end before the function that began the thread, by how and where they end.
    pub cut: BTreeMap<(End, String), u64>,
    /// Timer periods of requests whose number was not kept.
    pub unnumbered: u64,
    /// CPU time that no sample stands for.
    pub missed: Missed,
    /// Threads that the system gave no timer for.
    pub refused: u64,
    /// CPU time of the process meanwhile, as the system counts it.
    pub process_cpu_ns: u64,
    pub period_ns: i64,
    pub duration: Duration,
}

/// CPU time between the last sample of a thread and the end, in ns.
#[derive(Debug, Default)]
pub struct Missed {
    /// Of threads that were there at the end, in sum; those that lack most, with their names.
    pub running_ns: i64,
    pub most: Vec<(String, i64)>,
    /// Of threads that had ended: their last part, or all of it if they were never met.
    pub ended_ns: i64,
}
