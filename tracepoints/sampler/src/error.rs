//! Errors of the sampler.
use std::{io, time::Duration};

/// Why no profile was taken.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// TiKV's text, which its clients expect.
    #[error("Already in CPU Profiling")]
    Busy,
    /// Another handler of SIGPROF is installed.
    #[error("another profiler of this process handles SIGPROF: stop it first")]
    Taken,
    /// The system refused all timers.
    #[error("the system refused a timer for sampling: {0}; check `ulimit -i`")]
    Timer(io::Error),
    /// The thread that reads samples has ended.
    #[error("the thread that reads samples panicked; see the log for the reason")]
    Reader,
    /// The frequency in Hz is not within the bounds.
    #[error("expected a sampling frequency of 1 to 1000 Hz, found {0}: 99 suits most profiles")]
    Frequency(i32),
    /// The duration is not within the bounds.
    #[error("expected a duration of more than 0 and at most 3600 seconds, found {0:?}")]
    Duration(Duration),
    /// No sampler has this name.
    #[error("expected the sampler \"own\" or \"pprof\", found {0:?}")]
    Name(String),
    /// This system lacks what the sampler needs.
    #[error("the sampler \"own\" needs Linux: use \"pprof\"")]
    NeedsLinux,
}
