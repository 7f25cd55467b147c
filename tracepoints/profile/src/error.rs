//! What can go wrong with a profile.
use std::{io, time::Duration};

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// TiKV's text: its clients know it.
    #[error("Already in CPU Profiling")]
    Busy,
    #[error("another profiler of this process handles SIGPROF; stop that one first")]
    Taken,
    #[error("the system gives no timer to sample with: {0}; see `ulimit -i`")]
    Timer(io::Error),
    #[error("the thread that reads samples has ended by a panic; the log has it")]
    Reader,
    #[error("the profile is empty: {0}")]
    Empty(&'static str),
    #[error("a sampling frequency is 1 to 1000 Hz, not {0}; 99 does for most")]
    Frequency(i32),
    #[error("a CPU profile lasts more than 0 and at most 3600 seconds, not {0:?}")]
    Duration(Duration),
    #[error("cannot write the page's data: {0}")]
    Page(serde_json::Error),
    #[error(
        "no request was recorded; of a server, record while clients send to it: reads and writes go to the store that \
         leads their region"
    )]
    NoRequest,
    #[error("nothing fits {wanted}; recorded are {known}")]
    Nothing { wanted: String, known: String },
    #[error("line {line}: expected a heap profile of jemalloc (heap_v2), found {text:?}")]
    Heap { line: usize, text: String },
    #[error("line {line}: expected a folded stack `frame;frame;... COUNT`, found {text:?}")]
    Line { line: usize, text: String },
    #[error("{at} of this {format}: {what}; the file is damaged, or not what it seems")]
    Format {
        format: crate::format::Format,
        /// Line, byte, or the record that is wrong.
        at: String,
        what: String,
    },
    #[error(
        "expected a profile (pprof, perf.data, perf script, Firefox, speedscope, folded stacks), found {0}"
    )]
    Unknown(&'static str),
    #[error("{0}")]
    Input(#[from] tracepoints_input::InputError),
    #[error("cannot draw the flamegraph: {0}")]
    Draw(io::Error),
}
