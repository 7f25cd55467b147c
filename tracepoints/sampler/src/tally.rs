//! The samples of a profile before their addresses are resolved. Every sampler fills one.
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tracepoints::{RequestKind, StageId, symbolize::Frame};

pub type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// The reason why a stack walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "pprof does not say how a stack ends"))]
pub enum End {
    /// The walk reached the function that began the thread.
    Root,
    /// The stack is deeper than the copy, or than the maximum number of frames.
    Deep,
    /// A word is not an address of code.
    Broken,
    /// A word after a function without an unwind table is not an address of code.
    NoTable,
}

impl End {
    /// Describes why a stack is incomplete.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Root => "it is whole",
            Self::Deep => "it is deeper than 64 KiB or 256 frames",
            Self::Broken => "the word on the stack there is no address of code",
            Self::NoTable => "no unwind table says how to leave the function, and it keeps no frame pointer",
        }
    }
}

/// The attributes of a sample besides its stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Index in [`Tally::threads`].
    pub thread: usize,
    pub stage: Option<StageId>,
    pub kind: Option<RequestKind>,
    /// 0: none.
    pub region: u64,
    /// Id of the request; 0: none, or not kept.
    pub req: u64,
}

/// Samples of a profile, equal ones counted together.
#[derive(Debug, Default)]
pub struct Tally {
    /// Timer periods by attributes and return addresses, innermost first.
    pub stacks: Map<(Who, Box<[usize]>), u64>,
    pub threads: Vec<String>,
    /// Frames that the sampler resolved itself, innermost first, by their substitute address in `stacks`.
    pub named: Map<usize, Vec<Frame>>,
    /// Timer periods whose samples were dropped because the buffer was full.
    pub dropped: u64,
    /// Timer periods with incomplete stacks, by the reason and the module.
    pub cut: BTreeMap<(End, String), u64>,
    /// Timer periods of requests whose id was not kept.
    pub unnumbered: u64,
    /// CPU time without samples.
    pub missed: Missed,
    /// Number of threads for which the system refused a timer.
    pub refused: u64,
    /// CPU time of the process during the profile, as counted by the system.
    pub process_cpu_ns: u64,
    pub period_ns: i64,
    pub duration: Duration,
}

/// CPU time between the last sample of a thread and the end, in ns.
#[derive(Debug, Default)]
pub struct Missed {
    /// Sum for threads that existed at the end, and the names of those with the largest part.
    pub running_ns: i64,
    pub most: Vec<(String, i64)>,
    /// Of threads that had ended: their last part, or all of it if they were never sampled.
    pub ended_ns: i64,
}
