//! Trace files: finished traces and raw stamps, in checksummed chunks that are only ever appended.
//!
//! A file is a header of 16 bytes (magic, version, CRC-32 of both) and chunks. A chunk is a header of 16 bytes (mark, kind,
//! length, CRC-32 of kind, length and content) and its content. All numbers are little-endian.
mod chunk;
mod query;
mod read;
mod write;

use std::{io, path::PathBuf};

pub use query::Query;
pub use read::{Damage, TraceFile};
pub use write::TraceFileWriter;

const MAGIC: &[u8; 8] = b"TPTRACE\0";
const VERSION: u32 = 1;
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
    #[error("cannot encode a trace: {0}")]
    Encode(serde_json::Error),
}

#[cfg(test)]
mod tests;
