//! All records of one key, for clients that examine a transaction.
//!
//! Mirrors `src/storage/txn/actions/mvcc.rs`, and `MvccInfo::into_proto` of `src/storage/types.rs`.
use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite};
use tikv_kv::Snapshot;
use txn_types::{Key, LockOrSharedLocks, TimeStamp, Write};

use crate::mvcc::{MvccReader, Result, ScanMode};

/// Returns the lock of `key`, its write records from new to old, and its values in CF default.
///
/// TiKV: `find_mvcc_infos_by_key`.
pub fn find_mvcc_infos_by_key<S: Snapshot>(reader: &mut MvccReader<S>, key: &Key) -> Result<MvccInfo> {
    let mut info = MvccInfo { lock: reader.load_lock(key)?.and_then(to_lock), ..MvccInfo::default() };
    let mut ts = TimeStamp::max();
    while let Some((commit_ts, write)) = reader.seek_write(key, ts)? {
        info.writes.push(to_write(commit_ts, &write));
        if commit_ts.is_zero() {
            break;
        }
        ts = commit_ts.prev();
    }
    let value = |(ts, value): (TimeStamp, _)| MvccValue { start_ts: ts.into_inner(), value };
    info.values = reader.scan_values_in_default(key)?.into_iter().map(value).collect();
    Ok(info)
}

/// Returns all records of `key` for an error; `None` if the records cannot be read.
///
/// TiKV: `collect_mvcc_info_for_debug`.
pub fn collect_mvcc_info_for_debug<S: Snapshot>(snapshot: S, key: &Key) -> Option<Box<MvccInfo>> {
    let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), false);
    match find_mvcc_infos_by_key(&mut reader, key) {
        Ok(info) => Some(Box::new(info)),
        Err(e) => {
            log::warn!("an error lacks the records of key {key}: {e}");
            None
        }
    }
}

/// Of shared locks, returns the oldest, like TiKV.
fn to_lock(lock: LockOrSharedLocks) -> Option<MvccLock> {
    let lock = match lock {
        LockOrSharedLocks::Lock(lock) => lock,
        LockOrSharedLocks::Shared(shared) => shared.iter().next()?.clone(),
    };
    let (last_change_ts, versions) = lock.last_change.to_parts();
    let lock = MvccLock::from(LockOrSharedLocks::Lock(lock));
    Some(MvccLock { last_change_ts: last_change_ts.into_inner(), versions_to_last_change: versions, ..lock })
}

/// Leaves out the last change, since TiKV only returns an unknown one.
fn to_write(commit_ts: TimeStamp, write: &Write) -> MvccWrite {
    MvccWrite {
        has_overlapped_rollback: write.has_overlapped_rollback,
        has_gc_fence: write.gc_fence.is_some(),
        gc_fence: write.gc_fence.map_or(0, TimeStamp::into_inner),
        ..write.as_ref().to_mvcc_write(commit_ts)
    }
}

#[cfg(test)]
mod tests {
    use kvproto::kvrpcpb::Op;
    use txn_types::{LastChange, Lock, LockType, WriteType};

    use super::*;

    #[test]
    fn records_have_the_fields_that_tikv_fills() {
        let zero = TimeStamp::zero();
        let mut lock =
            Lock::new(LockType::Pessimistic, b"p".to_vec(), 5.into(), 9, None, zero, 1, zero, false);
        lock.last_change = LastChange::make_exist(3.into(), 2);
        let row = to_lock(LockOrSharedLocks::Lock(lock)).unwrap();
        assert_eq!((row.r#type(), row.start_ts, row.ttl), (Op::PessimisticLock, 5, 0));
        assert_eq!((row.last_change_ts, row.versions_to_last_change), (3, 2));

        let mut write = Write::new(WriteType::Put, 5.into(), Some(b"v".to_vec()));
        write.has_overlapped_rollback = true;
        write.gc_fence = Some(zero);
        write.last_change = LastChange::make_exist(3.into(), 2);
        let row = to_write(8.into(), &write);
        assert_eq!((row.start_ts, row.commit_ts, row.short_value.as_slice()), (5, 8, &b"v"[..]));
        assert!(row.has_overlapped_rollback && row.has_gc_fence && row.gc_fence == 0);
        assert_eq!((row.last_change_ts, row.versions_to_last_change), (0, 0));
    }
}
