//! A reader of RocksDB directories in pure Rust: no lock is taken, no file is created, nothing can be written.
//!
//! Formats: RocksDB's `db/log_format.h`, `db/version_edit.cc`, `db/write_batch.cc`, `table/format.cc`,
//! `table/block_based/*`; Titan's `blob_format.cc`. Versions up to RocksDB 10's defaults are understood.

mod block;
mod checksum;
mod compress;
mod cursor;
mod db;
mod error;
mod file;
mod footer;
mod internal_key;
mod log;
mod manifest;
mod merge;
mod properties;
mod table;
mod titan;
mod wal;

pub use checksum::crc32c;
pub use cursor::Cursor;
pub(crate) use db::logs;
pub use db::{ColumnFamily, Db, RangeTombstone, SstFile};
pub use error::{Error, Result};
pub use file::RandomFile;
pub use internal_key::{InternalKey, ValueType};
pub use log::{LogReader, Record};
pub(crate) use manifest::read as read_manifest;
pub use merge::DbIter;
pub use properties::{RangeOffsets, TableProperties};
pub use table::{BlockHandle, Table, TableIter};
pub use wal::read_batch;
