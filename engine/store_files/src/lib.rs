//! Reads the files of a store without RocksDB and raft-engine: of this engine and of a real TiKV, also while a
//! server writes to them.
//!
//! [`io`] reads files at offsets, [`lsm`] reads RocksDB's and Titan's files, [`raft_engine`] the Raft log.
//! [`encryption::Keyring`] is the value with the keys of encrypted files that every reader takes. [`tidb`] decodes
//! TiDB's keys and rows, [`key_forms`] the forms in which people write keys. A reader that finds damage reports it and
//! continues after it.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod encryption;
mod error;
pub mod io;
pub mod key_forms;
mod key_styles;
pub mod lsm;
pub mod protobuf_text;
pub mod raft_engine;
pub mod simple_write;
pub mod snapshot_lock_file;
pub mod tidb;

pub use error::{Error, Result};
