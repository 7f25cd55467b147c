//! Readers of locks, writes and values.
mod buffer_getter;
mod point_getter;
#[allow(clippy::module_inception)] // TiKV's module name
mod reader;
mod scanner;

pub use buffer_getter::BufferGetter;
pub use point_getter::{PointGetter, PointGetterBuilder};
pub use reader::{MvccReader, OverlappedWrite, SnapshotReader, TxnCommitRecord};
pub use scanner::{BackwardScanner, EntryScanner, ForwardScanner, Scanner, ScannerConfig};

use keys::hex_upper;
use txn_types::{Key, TimeStamp, Value, Write, WriteRef, WriteType};

use super::error::{Error, ErrorInner};

/// Value, with its commit timestamp if the reader loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueEntry {
    /// Value of the version.
    pub value: Value,
    /// Commit timestamp, if it was requested.
    pub commit_ts: Option<TimeStamp>,
}

/// Returns and logs the error that CF default lacks a value named in CF write.
fn default_not_found_error(key: &Key, start_ts: TimeStamp) -> Error {
    let key = key.clone().append_ts(start_ts).into_encoded();
    log::error!("default value not found: key {}", hex_upper(&key));
    ErrorInner::DefaultNotFound { key }.into()
}

/// Copies a record with its value.
fn copy_write(write: &WriteRef<'_>) -> Write {
    Write {
        write_type: write.write_type,
        start_ts: write.start_ts,
        short_value: write.short_value.map(<[u8]>::to_vec),
        has_overlapped_rollback: write.has_overlapped_rollback,
        gc_fence: write.gc_fence,
        last_change: write.last_change,
        txn_source: write.txn_source,
    }
}

/// Checks that the `last_change` of a record names a PUT or a DELETE.
fn check_last_change(write_type: WriteType, key: &Key, commit_ts: TimeStamp) -> Result<(), Error> {
    match write_type {
        WriteType::Put | WriteType::Delete => Ok(()),
        other => Err(ErrorInner::Other(format!(
            "expected a PUT or DELETE at last_change_ts {commit_ts} of key {key}, found {other:?}"
        ))
        .into()),
    }
}
