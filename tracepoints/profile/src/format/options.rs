//! The options of reading.
use crate::symbols::SymbolOptions;

/// Options for formats with more than one interpretation.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// perf: the event to read, if there are several; `None`: the first one found.
    pub event: Option<String>,
    /// perf: keeps every sample with its time, for a timeline; takes more memory.
    pub times: bool,
    /// perf.data with copies of stacks: paths of the programs whose tables unwind them.
    pub symbols: SymbolOptions,
}
