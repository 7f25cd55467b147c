//! What can go wrong with a profile.
use std::{io, time::Duration};

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("a CPU profile of this process is being taken already; wait until it ends (one at a time)")]
    Busy,
    #[error("the profile is empty: {0}")]
    Empty(&'static str),
    #[error("a sampling frequency is 1 to 1000 Hz, not {0}; 99 does for most")]
    Frequency(i32),
    #[error("a CPU profile lasts more than 0 and at most 600 seconds, not {0:?}")]
    Duration(Duration),
    #[error("the sampler failed: {0}")]
    Sampler(#[from] pprof::Error),
    #[error("cannot encode the profile as pprof: {0}")]
    Encode(String),
    #[error("cannot write the page's data: {0}")]
    Page(serde_json::Error),
    #[error("nothing fits {wanted}; recorded are {known}")]
    Nothing { wanted: String, known: String },
    #[error("line {line}: expected a folded stack `frame;frame;... COUNT`, found {text:?}")]
    Line { line: usize, text: String },
    #[error("cannot draw the flamegraph: {0}")]
    Draw(io::Error),
}
