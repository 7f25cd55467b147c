//! The trace-event JSON that chrome://tracing, Perfetto, speedscope and TiDB's flight recorder speak.
//!
//! A store is a process, a thread a thread; spans that overlap on a thread take further rows of its name. Times are in µs
//! since `otherData.base_unix_ns`, so that they keep their nanoseconds in a double.
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

/// Category of the event that stands for a whole request.
const REQUEST: &str = "request";
/// Marks a stage whose category is that of whole requests.
const STAGE: &str = "stage";
/// Number of the span around a stage, from 1, among those of its request.
const WITHIN: &str = "within";
/// Names in `args` that are not attributes.
const RESERVED: [&str; 10] =
    ["request", "parent", "lane", "thread", "source", "function", "dropped", "unfinished", STAGE, WITHIN];
/// Begins the name of a store's process.
const STORE: &str = "store ";
/// The process of what belongs to no store: viewers take 0 for the system's.
const NO_STORE: u64 = i32::MAX as u64;
const BASE: &str = "base_unix_ns";
/// What `otherData.producer` says of our own files.
const PRODUCER: &str = "tracepoints";
/// Doubles hold every whole number up to here; larger ones are written as text.
const EXACT: u64 = 1 << 53;
