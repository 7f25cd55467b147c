//! The readable formats. Errors name one, so this module imports no reader.
use std::fmt;

/// A readable file format of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Folded stacks: `a;b;c COUNT`.
    Folded,
    /// pprof's protobuf.
    Pprof,
    /// The profile of Firefox, raw or processed.
    Firefox,
    /// speedscope's JSON.
    Speedscope,
    /// The profile of V8, alone or within a trace.
    V8,
    /// The output of `perf script`.
    PerfScript,
    /// The file of `perf record`.
    PerfData,
    /// The output of macOS's `sample`.
    Sample,
    /// The stacks of dtrace's `profile` provider.
    Dtrace,
    /// VTune's top-down report as CSV.
    Vtune,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folded => "folded stacks",
            Self::Pprof => "pprof profile",
            Self::Firefox => "Firefox profile",
            Self::Speedscope => "speedscope profile",
            Self::V8 => "profile of V8 (Chrome, Node)",
            Self::PerfScript => "output of perf script",
            Self::PerfData => "perf.data file",
            Self::Sample => "output of sample",
            Self::Dtrace => "output of dtrace",
            Self::Vtune => "VTune report",
        })
    }
}
