//! The trace-event JSON of chrome://tracing, Perfetto, speedscope and TiDB's flight recorder.
//!
//! A store is a process, a thread is a thread; overlapping spans of one thread take several rows of its name.
//! Times are in µs since `otherData.base_unix_ns`, so that a double keeps their nanoseconds.
mod assemble;
mod escaped;
mod event;
mod frames;
mod pair;
mod read;
mod time;
mod write;

pub use read::read;
pub use write::Writer;

/// Category of the event for a whole request.
const REQUEST: &str = "request";
/// Marks a stage whose category is that of whole requests.
const STAGE: &str = "stage";
/// Argument with the number, from 1, of the parent stage within its request.
const WITHIN: &str = "within";
/// Names in `args` that are not attributes.
const RESERVED: [&str; 10] =
    ["request", "parent", "lane", "thread", "source", "function", "dropped", "unfinished", STAGE, WITHIN];
/// Prefix of the name of a store's process.
const STORE: &str = "store ";
/// Process id for spans without a store: viewers use 0 for the system's process.
const NO_STORE: u64 = i32::MAX as u64;
const BASE: &str = "base_unix_ns";
/// Value of `otherData.producer` in our own files.
const PRODUCER: &str = "tracepoints";
/// Doubles represent every integer up to here; larger ones are written as text.
const EXACT: u64 = 1 << 53;
