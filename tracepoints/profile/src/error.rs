//! Errors of profiles.
use std::io;

use crate::format::kind::Format;

/// Why a profile cannot be read, selected or drawn.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no stack.
    #[error("the profile is empty: {0}")]
    Empty(&'static str),
    /// The data of a page cannot be written as JSON.
    #[error("cannot write the page's data: {0}")]
    Page(serde_json::Error),
    /// The recording has no request.
    #[error(
        "no request was recorded: record while clients send requests to this server; reads and writes go to the store \
         that leads their region"
    )]
    NoRequest,
    /// No request matches.
    #[error("no request matches {wanted}; the recording has {known}")]
    Nothing {
        /// The filter.
        wanted: String,
        /// The recorded kinds, with their numbers.
        known: String,
    },
    /// A line is not one of a heap profile.
    #[error("line {line}: expected a heap profile of jemalloc (heap_v2), found {text:?}")]
    Heap {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A line is not a folded stack.
    #[error("line {line}: expected a folded stack `frame;frame;... COUNT`, found {text:?}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// The file cannot be read in its format.
    #[error("{at} of the {format}: {what}; the file is damaged or has another format")]
    Format {
        /// The format.
        format: Format,
        /// Line, byte, or record of the error.
        at: String,
        /// The violation.
        what: String,
    },
    /// No sample has the wanted event.
    #[error("no sample has the event {wanted:?}; the file has {known}")]
    Event {
        /// The wanted event.
        wanted: String,
        /// The events of the file.
        known: String,
    },
    /// The file has no known format.
    #[error(
        "expected a profile (pprof, perf.data, perf script, Firefox, speedscope, folded stacks), found {0}"
    )]
    Unknown(&'static str),
    /// The file cannot be unpacked.
    #[error("{0}")]
    Input(#[from] tracepoints_input::InputError),
    /// inferno cannot draw the stacks.
    #[error("cannot draw the flamegraph: {0}")]
    Draw(io::Error),
}
