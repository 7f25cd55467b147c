use std::{io, path::PathBuf};

/// What can go wrong with a RocksDB.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RocksDB's own message.
    #[error("RocksDB: {0}")]
    Rocks(#[from] rocksdb::Error),
    /// There is no such directory.
    #[error("expected a RocksDB in {path}, the directory does not exist; check the path")]
    MissingDir {
        /// The database directory.
        path: PathBuf,
    },
    /// The directory exists and holds no database.
    #[error("expected a RocksDB in {path}, met no CURRENT file; check the path or allow to create one")]
    NoDatabase {
        /// The database directory.
        path: PathBuf,
    },
    /// Files of a database are there, the ones that name them are not.
    #[error(
        "half-written RocksDB in {path}: {what}; restore the directory from a copy, or remove it and start anew"
    )]
    HalfWritten {
        /// The database directory.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// Values are in Titan's blob files, which RocksDB alone cannot read and would leave dangling.
    #[error(
        "RocksDB in {path} keeps values in Titan blob files (titandb/); open it read-only: values in blobs then fail to read"
    )]
    Titan {
        /// The database directory.
        path: PathBuf,
    },
    /// Somebody else has the database open.
    #[error(
        "RocksDB in {path} is locked: another process (or this one) has it open; stop it or open read-only: {detail}"
    )]
    Locked {
        /// The database directory.
        path: PathBuf,
        /// RocksDB's message.
        detail: String,
    },
    /// The database opened, and something in it is broken.
    #[error("cannot open the RocksDB in {path}: {source}")]
    Open {
        /// The database directory.
        path: PathBuf,
        /// RocksDB's message, which names the file.
        source: rocksdb::Error,
    },
    /// No column family of that name.
    #[error("no column family {cf:?}; there are {known:?}")]
    UnknownCf {
        /// The name asked for.
        cf: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A value that should be a protobuf message is not.
    #[error("value of key {key} in column family {cf} is no valid message: {source}")]
    BadMessage {
        /// The column family.
        cf: String,
        /// The key in hexadecimal.
        key: String,
        /// Why.
        source: prost::DecodeError,
    },
    /// A range whose end lies before its start.
    #[error("expected a range, met an end below its start")]
    BadRange,
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
