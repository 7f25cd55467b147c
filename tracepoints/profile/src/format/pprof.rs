//! Reads and writes pprof's `profile.proto`, gzipped or plain: the format of `go tool pprof` and most
//! continuous profilers.
mod decode;
mod prune;
mod read;
mod schema;
mod write;

pub use read::read;
pub use write::{write, write_gzip};

/// Number label with a sample's time, in ns since 1970, as in Datadog's and OpenTelemetry's tools.
const TIME_LABEL: &str = "end_timestamp_ns";

#[cfg(test)]
mod tests;
