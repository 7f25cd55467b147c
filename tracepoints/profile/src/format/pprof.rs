//! pprof's `profile.proto`, gzip or plain, both ways: what `go tool pprof` and most continuous profilers speak.
mod decode;
mod read;
mod schema;
mod write;

pub use read::read;
pub use write::{write, write_gzip};

/// Number label that holds a sample's time, in ns since 1970: what Datadog's and OpenTelemetry's tools use.
const TIME_LABEL: &str = "end_timestamp_ns";

#[cfg(test)]
mod tests;
