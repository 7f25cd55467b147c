//! Trace files: every stamp of a recording and an index over them, in checksummed chunks that are only ever appended.
//!
//! A file is a header of 16 bytes (magic, version, CRC-32 of both) and chunks. A chunk is a header of 32 bytes, a head and a
//! body. The header: mark `TPck`, kind, length of the head, length of the body (4 bytes each), the chunk's own offset in the
//! file (8), CRC-32 of the body (4), CRC-32 of the header so far and the head (4). Numbers are little-endian.
//!
//! | kind | what |
//! |---|---|
//! | stamps | rows of 64 bytes, sorted by request; the head says times, drops, and the Raft entries that rows without a request speak of |
//! | sites, threads | what rows name by number, as JSON |
//! | requests | the table: entries of 112 bytes (id, times, kind, region, store, key, stages, chunks of its stamps), and a Bloom filter of keys and regions; the head holds the least and greatest of all and the filter's CRC-32 |
//! | late | entries of stamps that came after their request was entered |
//! | live | requests on their way at a checkpoint |
//! | note | clocks, drops by thread, who recorded, as JSON |
//! | directory | places and heads of all chunks since the directory before |
//! | end | where the last directory stands, and why the recording ended |
//! | trace | a stepped trace with its probes, as JSON |
//!
//! Every 32 MiB or 10 s a checkpoint enters what has ended and writes a directory. A reader follows the directories backwards
//! and maps the rest when it is asked for. A file without an end (its writer was killed, or still writes) is opened by its
//! last directory; the chunks behind it are walked, and the requests in them entered in memory. Where a directory is
//! damaged, the chunks it spoke for are walked, too.
//!
//! The stamps are the recording, tables an index over it: a table that is damaged is made again from the stamps since the
//! checkpoint before. What stamps name is written more than once: sites and threads stand again at checkpoints 1, 2, 4, 8 ...
//! and at the end. A damaged chunk of stamps costs those stamps; whoever they may have belonged to says so.
mod bloom;
mod chunk;
mod damage;
mod directory;
mod disk;
mod entry;
mod find;
mod index;
mod load;
mod merge;
mod opened;
mod query;
mod read;
mod rebuild;
mod row;
mod summary;
mod tables;
mod tracker;
mod write;

use std::{io, path::PathBuf};

pub use damage::Damage;
pub use disk::Medium;
pub use merge::merge;
pub use query::Query;
pub use read::TraceFile;
pub use tables::{Ended, Note};
pub use write::TraceFileWriter;

const MAGIC: &[u8; 8] = b"TPTRACE\0";
const VERSION: u32 = 2;
const HEADER: usize = 16;

/// The version, and what it means for who opens the file.
fn header() -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

#[derive(Debug, thiserror::Error)]
pub enum TraceFileError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} exists; a trace file is never overwritten: choose another name, or append to it")]
    Exists(PathBuf),
    #[error("{path} is not a trace file: it begins with {found:02x?}, expected {MAGIC:02x?} (\"TPTRACE\")")]
    NotATraceFile { path: PathBuf, found: Vec<u8> },
    #[error("{path} is a trace file of version {found}; this program reads version {VERSION}")]
    Version { path: PathBuf, found: u32 },
    #[error("{path}: the header's checksum is wrong, so the file cannot be trusted at all")]
    Header { path: PathBuf },
    #[error("a trace does not fit a chunk: {len} bytes, at most {max}", max = chunk::MAX)]
    TooLarge { len: usize },
    #[error("{path}: the recording has {why}; nothing more is written to it")]
    Ended { path: PathBuf, why: Ended },
    #[error("cannot encode a trace: {0}")]
    Encode(serde_json::Error),
}

#[cfg(test)]
mod tests;
