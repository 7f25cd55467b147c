//! A reader of raft-engine directories. It takes no lock, and reports torn tails and damage without repairing
//! them. Only [`append`] writes, one batch.
//!
//! Formats: raft-engine's `src/file_pipe_log/format.rs`, `src/log_batch.rs`.
mod append;
mod atomic;
mod batch;
mod dir;
mod dump;
mod entries;
mod item;
mod memtable;

pub use append::{NewBatch, append, new_batch};
pub use batch::{BadBatch, BatchIter, EntriesError, FileHeader, Gap, LogBatch};
pub use dir::{LogFile, Queue, RaftEngineDir, is_raft_engine_dir};
pub use dump::{Checked, check, dump, items, log_files};
pub use item::{Content, EntryIndex, LogItem, Written};
pub use memtable::MemTable;
