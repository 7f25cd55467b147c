//! A reader of RocksDB directories in pure Rust. It takes no lock; only [`append`] writes a file, a new log.
//!
//! Formats: RocksDB's `db/log_format.h`, `db/version_edit.cc`, `db/write_batch.cc`, `table/format.cc`,
//! `table/block_based/*`; Titan's `blob_format.cc`. It reads the default formats of RocksDB up to version 10.

mod ahead;
mod append;
mod block;
mod checksum;
mod compress;
mod db;
mod decode_error;
mod filter;
mod footer;
mod format;
mod index;
mod internal_key;
mod iter;
mod log;
mod log_writer;
pub mod manifest;
mod mem;
mod merge;
pub mod options;
mod properties;
mod reader;
mod recovery;
mod replay;
mod rescue;
mod ribbon;
mod salvage;
mod table;
mod titan;
mod verify;
pub mod wal;
mod xxph3;

pub use append::{NewLog, Written, append, new_log};
pub use checksum::crc32c;
pub use compress::{compress_with, compressions, decompress};
pub use db::{ColumnFamily, Db, Part, SstFile, no_log_here};
pub use decode_error::{BatchError, BlobError, BlockError, CompressError, OptionsError};
pub use filter::Filter;
pub use format::{BlockHandle, RangeTombstone, logs};
pub use index::Index;
pub use internal_key::same;
pub use internal_key::{InternalKey, ValueType};
pub use iter::TableIter;
pub use log::{LogReader, Record};
pub use log_writer::append_edit;
pub use manifest::FileMeta;
pub use manifest::read as read_manifest;
pub use mem::MemEntry;
pub use merge::DbIter;
pub use properties::{RangeOffsets, TableProperties};
pub use recovery::RecoveredSst;
pub use rescue::read as read_manifest_or_tables;
pub use table::Table;
pub use titan::{BlobFile, BlobIndex, Titan, decode_record};
pub use verify::{Verified, verify};
pub use wal::read_batch;
