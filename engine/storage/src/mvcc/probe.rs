//! Rows of one key in a reader's own snapshot, for a person who steps.
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use tikv_kv::{IterOptions, Iterator, Snapshot};
use tracepoints::{
    printable::{escape_readable as escape, head},
    probe::{DefaultRow, LockRow, MvccProbe, WriteRow},
};
use txn_types::{Key, Lock, LockOrSharedLocks, SharedLocks, TimeStamp, WriteRef, WriteType};

use super::facts::MAX_HOLDERS;

/// Maximum number of CF write rows shown.
const MAX_WRITES: usize = 8;
/// Maximum number of bytes of a value shown.
const MAX_VALUE: usize = 32;

/// Reads lock, newest write records and values. Omits unreadable rows: a probe never fails a request.
pub fn mvcc_rows<S: Snapshot>(snapshot: &S, key: &Key, read_ts: TimeStamp, chosen: Option<u64>) -> MvccProbe {
    let raw = key.to_raw().unwrap_or_else(|_| key.as_encoded().clone());
    let mut probe = MvccProbe {
        store: u64::from(tracepoints::thread::store()),
        key: escape(&raw),
        read_ts: read_ts.into_inner(),
        chosen,
        ..MvccProbe::default()
    };
    let mut values = Vec::new();
    probe.lock = lock_row(snapshot, key, &mut values);
    let _ = write_rows(snapshot, key, &mut probe, &mut values);
    for start_ts in values {
        let row = snapshot.get_cf(CF_DEFAULT, &key.clone().append_ts(start_ts));
        if let Ok(Some(value)) = row {
            let shown = escape(head(&value, MAX_VALUE));
            probe.defaults.push(DefaultRow {
                start_ts: start_ts.into_inner(),
                value_len: value.len() as u64,
                value: shown,
            });
        }
    }
    probe
}

/// Converts the lock; adds its start_ts to `values` if CF default stores its value.
fn lock_row<S: Snapshot>(snapshot: &S, key: &Key, values: &mut Vec<TimeStamp>) -> Option<LockRow> {
    // A table of another term or version does not belong to the snapshot, unlike the stored lock.
    let in_memory = snapshot.read_pessimistic_locks(|locks| locks.get(key).cloned()).ok().flatten().flatten();
    let found = match in_memory {
        Some(lock) => LockOrSharedLocks::Lock(lock.into_lock()),
        None => txn_types::parse_lock(&snapshot.get_cf(CF_LOCK, key).ok()??).ok()?,
    };
    let lock = match found {
        LockOrSharedLocks::Lock(lock) => lock,
        LockOrSharedLocks::Shared(shared) => return Some(shared_row(&shared)),
    };
    if lock.short_value.is_none() && lock.lock_type == txn_types::LockType::Put {
        values.push(lock.ts);
    }
    Some(row_of(&lock))
}

fn shared_row(shared: &SharedLocks) -> LockRow {
    LockRow {
        kind: "Shared".into(),
        start_ts: shared.iter_ts().next().map_or(0, TimeStamp::into_inner),
        holders: shared.iter().take(MAX_HOLDERS).map(row_of).collect(),
        shrink_only: shared.is_shrink_only(),
        ..LockRow::default()
    }
}

fn row_of(lock: &Lock) -> LockRow {
    LockRow {
        kind: format!("{:?}", lock.lock_type),
        start_ts: lock.ts.into_inner(),
        primary: escape(&lock.primary),
        ttl_ms: lock.ttl,
        for_update_ts: lock.for_update_ts.into_inner(),
        min_commit_ts: lock.min_commit_ts.into_inner(),
        short_value: lock.short_value.as_deref().map(escape),
        ..LockRow::default()
    }
}

fn write_rows<S: Snapshot>(
    snapshot: &S,
    key: &Key,
    probe: &mut MvccProbe,
    values: &mut Vec<TimeStamp>,
) -> super::Result<()> {
    // Bounds instead of a prefix seek: the probe must not depend on the configuration of the table's filters.
    let opts = IterOptions {
        lower_bound: Some(key.clone().append_ts(TimeStamp::max()).into_encoded()),
        upper_bound: Some(key.clone().append_ts(TimeStamp::zero()).into_encoded()),
        ..IterOptions::default()
    };
    let mut iter = snapshot.iter(CF_WRITE, opts)?;
    let mut found = iter.seek_to_first()?;
    while found {
        if probe.writes.len() == MAX_WRITES {
            probe.more = true;
            break;
        }
        if Key::is_user_key_eq(iter.key(), key.as_encoded()) {
            let write = WriteRef::parse(iter.value())?;
            if write.write_type == WriteType::Put && write.short_value.is_none() {
                values.push(write.start_ts);
            }
            let is_rollback = write.write_type == WriteType::Rollback;
            probe.writes.push(WriteRow {
                commit_ts: Key::decode_ts_from(iter.key())?.into_inner(),
                start_ts: write.start_ts.into_inner(),
                kind: format!("{:?}", write.write_type),
                short_value: write.short_value.filter(|_| !is_rollback).map(escape),
            });
        }
        found = iter.next()?;
    }
    Ok(())
}
