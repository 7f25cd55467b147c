//! Errors of profiles.
use std::{io, time::Duration};

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// TiKV's text, which its clients expect.
    #[error("Already in CPU Profiling")]
    Busy,
    #[error("another profiler of this process handles SIGPROF: stop it first")]
    Taken,
    #[error("the system refused a timer for sampling: {0}; check `ulimit -i`")]
    Timer(io::Error),
    #[error("the thread that reads samples panicked; see the log for the reason")]
    Reader,
    #[error("the profile is empty: {0}")]
    Empty(&'static str),
    #[error("expected a sampling frequency of 1 to 1000 Hz, found {0}: 99 suits most profiles")]
    Frequency(i32),
    #[error("expected a duration of more than 0 and at most 3600 seconds, found {0:?}")]
    Duration(Duration),
    #[error("cannot write the page's data: {0}")]
    Page(serde_json::Error),
    #[error(
        "no request was recorded: record while clients send requests to this server; reads and writes go to the store \
         that leads their region"
    )]
    NoRequest,
    #[error("no request matches {wanted}; the recording has {known}")]
    Nothing { wanted: String, known: String },
    #[error("line {line}: expected a heap profile of jemalloc (heap_v2), found {text:?}")]
    Heap { line: usize, text: String },
    #[error("line {line}: expected a folded stack `frame;frame;... COUNT`, found {text:?}")]
    Line { line: usize, text: String },
    #[error("{at} of this {format}: {what}; the file is damaged, or not what it seems")]
    Format {
        format: crate::format::Format,
        /// Line, byte, or record of the error.
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
