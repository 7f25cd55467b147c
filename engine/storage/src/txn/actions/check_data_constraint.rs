//! Checks that the key of an INSERT has no value.
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp, Write, WriteType};

use crate::mvcc::{ErrorInner, Result, SnapshotReader};

/// Fails if `should_not_exist` and the key has a value; `write` is its newest record.
///
/// TiKV: `check_data_constraint`.
pub fn check_data_constraint<S: Snapshot>(
    reader: &mut SnapshotReader<S>,
    should_not_exist: bool,
    write: &Write,
    write_commit_ts: TimeStamp,
    key: &Key,
) -> Result<()> {
    // A writer reads the latest version, so any fence means that GC removed the version.
    let taken_by_gc = write.gc_fence.is_some_and(|fence| !fence.is_zero());
    if !should_not_exist || write.write_type == WriteType::Delete || taken_by_gc {
        return Ok(());
    }
    let existing = match write.write_type {
        WriteType::Put => Some(write.start_ts),
        _ => reader.get_write(key, write_commit_ts.prev())?.map(|w| w.start_ts),
    };
    match existing {
        Some(existing_start_ts) => {
            Err(ErrorInner::AlreadyExist { key: key.to_raw()?, existing_start_ts }.into())
        }
        None => Ok(()),
    }
}
