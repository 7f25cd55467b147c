//! Trace files: every stamp of a recording and an index over the stamps, in checksummed append-only chunks.
//!
//! A file is a header of 16 bytes (magic, version, CRC-32 of both) followed by chunks. A chunk is a header of
//! 32 bytes, a head and a body. The chunk header contains: mark `TPck`, kind, length of the head, length of
//! the body (4 bytes each), the chunk's own offset in the file (8), CRC-32 of the body (4), CRC-32 of the
//! header so far and the head (4). Numbers are little-endian.
//!
//! | kind | contents |
//! |---|---|
//! | stamps | rows of 64 bytes, sorted by request; the head gives times, drops, and the Raft entries of rows without a request |
//! | sites, threads | the sites and threads that rows refer to by number, as JSON |
//! | requests | the table: entries of 112 bytes (id, times, kind, region, store, key, stages, chunks of its stamps), and a Bloom filter of keys and regions; the head contains the minima and maxima of the entries and the filter's CRC-32 |
//! | late | entries of stamps that arrived after the table entry of their request was written |
//! | live | requests in flight at a checkpoint |
//! | note | clocks, drops by thread, the recording program, as JSON |
//! | directory | offsets and heads of all chunks since the previous directory |
//! | end | offset of the last directory, and why the recording ended |
//! | trace | a stepped trace with its probes, as JSON |
//!
//! Every 32 MiB or 10 s a checkpoint writes the finished requests to the table, then a directory. A reader
//! follows the directories backwards and maps other chunks on demand. If a file has no end (its writer was
//! killed or still writes), the reader opens it by its last directory, walks the chunks after that and adds
//! their requests in memory. If a directory is damaged, the reader walks the chunks that it listed.
//!
//! The stamps are the recording; the tables are only an index. A reader rebuilds a damaged table from the
//! stamps since the previous checkpoint. Sites and threads are written again at checkpoints 1, 2, 4, 8 ...
//! and at the end, because stamps are useless without them. A damaged chunk loses its stamps; every request
//! that may have owned some of them reports it.
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
mod rebuilt;
mod row;
mod summary;
mod tables;
mod tracker;
mod verify;
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

/// The file header: magic, version and checksum.
fn header() -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Why a trace file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceFileError {
    /// The system's error, with the file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The file exists.
    #[error(
        "{0} already exists and trace files are never overwritten: choose another name, or append to the file"
    )]
    Exists(PathBuf),
    /// The file's first bytes are not those of a trace file.
    #[error(
        "{path} is not a trace file: expected the first bytes {MAGIC:02x?} (\"TPTRACE\"), found {found:02x?}"
    )]
    NotATraceFile {
        /// The file.
        path: PathBuf,
        /// The first bytes of the file.
        found: Vec<u8>,
    },
    /// The file has another version.
    #[error(
        "{path}: expected a trace file of version {VERSION}, found version {found}: open it with the program that recorded it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in its header.
        found: u32,
    },
    /// The header is damaged and no chunk follows.
    #[error("{path}: the header's checksum is wrong, and no intact chunk follows it: copy the file again")]
    Header {
        /// The file.
        path: PathBuf,
    },
    /// A trace does not fit into a chunk.
    #[error("a trace of {len} bytes does not fit into a chunk: at most {max} bytes are allowed", max = chunk::MAX)]
    TooLarge {
        /// Length of the trace in bytes.
        len: usize,
    },
    /// The recording has ended.
    #[error("{path}: the recording has {why}; it accepts no more stamps")]
    Ended {
        /// The file.
        path: PathBuf,
        /// Why it ended.
        why: Ended,
    },
    /// A trace cannot be written as JSON.
    #[error("cannot encode a trace: {0}")]
    Encode(serde_json::Error),
}

#[cfg(test)]
mod tests;
