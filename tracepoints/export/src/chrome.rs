//! The trace-event JSON that chrome://tracing, Perfetto, speedscope and TiDB's flight recorder speak.
//!
//! A store is a process, a thread a thread; spans that overlap on a thread take further rows of its name. Times are in µs
//! since `otherData.base_unix_ns`, so that they keep their nanoseconds in a double.
mod event;
mod pair;
mod read;
mod write;

pub use read::read;
pub use write::Writer;

/// Category of the event that stands for a whole request.
const REQUEST: &str = "request";
/// Names in `args` that are not attributes.
const RESERVED: [&str; 6] = ["request", "parent", "lane", "thread", "source", "function"];
/// Begins the name of a store's process.
const STORE: &str = "store ";
/// The process of what belongs to no store: viewers take 0 for the system's.
const NO_STORE: u64 = i32::MAX as u64;
const BASE: &str = "base_unix_ns";
/// Doubles hold every whole number up to here; larger ones are written as text.
const EXACT: u64 = 1 << 53;
