//! Errors of RocksDB.
use std::{io, path::PathBuf};

/// Error of a RocksDB.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RocksDB's own message.
    #[error("RocksDB: {0}")]
    Rocks(#[from] rocksdb::Error),
    /// There is no such directory.
    #[error("expected a RocksDB in {path}, but the directory does not exist; check the path")]
    MissingDir {
        /// The database directory.
        path: PathBuf,
    },
    /// The directory exists but contains no database.
    #[error("expected a RocksDB in {path}, found no CURRENT file; check the path")]
    NoDatabase {
        /// The database directory.
        path: PathBuf,
    },
    /// Files of a database exist, but not the ones that name them.
    #[error(
        "half-written RocksDB in {path}: {what}; restore the directory from a copy, or remove it and start with an empty one"
    )]
    HalfWritten {
        /// The database directory.
        path: PathBuf,
        /// The missing or invalid part.
        what: String,
    },
    /// Values are in Titan's blob files, which RocksDB alone cannot read and would leave dangling.
    #[error(
        "RocksDB in {path} keeps values in Titan blob files (titandb/), which this server cannot write: open it \
         read-only, without the values in blob files"
    )]
    Titan {
        /// The database directory.
        path: PathBuf,
    },
    /// Another process has the database open.
    #[error(
        "RocksDB in {path} is locked: another process (or this one) has it open; stop it or open read-only: {detail}"
    )]
    Locked {
        /// The database directory.
        path: PathBuf,
        /// RocksDB's message.
        detail: String,
    },
    /// The database cannot be opened.
    #[error("cannot open the RocksDB in {path}: {source}")]
    Open {
        /// The database directory.
        path: PathBuf,
        /// RocksDB's message, which names the file.
        source: rocksdb::Error,
    },
    /// Unknown column family.
    #[error("expected one of the column families {known:?}, found {cf:?}")]
    UnknownCf {
        /// The unknown name.
        cf: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// A value that is not a valid protobuf message.
    #[error("value of key {key} in column family {cf} is not a valid message: {source}")]
    BadMessage {
        /// The column family.
        cf: String,
        /// The key in hexadecimal.
        key: String,
        /// Cause.
        source: prost::DecodeError,
    },
    /// A range whose end is before its start.
    #[error("expected a range with its start first, found an end below its start: swap the two keys")]
    BadRange,
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
