//! Deletes the versions of one key that no read can reach any more.
//!
//! Mirrors `src/storage/txn/actions/gc.rs`.
use engine_rocks::{CF_DEFAULT, CF_WRITE};
use tikv_kv::{Modify, Snapshot};
use tracepoints::{Req, StageId, stage};
use txn_types::{Key, TimeStamp, Write, WriteType};

use crate::mvcc::{MvccReader, Result, facts};

/// Counts of one garbage collection of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcInfo {
    /// Number of write records found.
    pub found_versions: usize,
    /// Number of write records deleted.
    pub deleted_versions: usize,
}

/// Appends to `modifies` the deletion of all versions of `key` that a read at `safe_point` or later ignores.
///
/// Of the versions at and below the safe point, only the newest put stays, and only if no delete is newer. The
/// caller writes all deletions of a key in one batch: a delete must not go before the versions that it hides. Calls
/// `hold` at the gate of each version of a stepped request.
pub fn gc<S: Snapshot>(
    reader: &mut MvccReader<S>,
    key: &Key,
    safe_point: TimeStamp,
    modifies: &mut Vec<Modify>,
    hold: impl Fn(StageId, Req),
) -> Result<GcInfo> {
    let (mut info, mut ts, mut found_change) = (GcInfo::default(), TimeStamp::max(), false);
    while let Some((commit_ts, write)) = reader.seek_write(key, ts)? {
        info.found_versions += 1;
        if commit_ts <= safe_point {
            let stays = !found_change && write.write_type == WriteType::Put;
            found_change |= matches!(write.write_type, WriteType::Put | WriteType::Delete);
            let req = reader.req;
            if req.stepped() {
                tracepoints::stamp!(GC_VERSION, req, commit_ts = commit_ts.into_inner(), removed = !stays);
                tracepoints::facts!(req, facts::gc_version(key, commit_ts, &write, stays));
                hold(stage::GC_VERSION, req);
            }
            if !stays {
                delete(key, commit_ts, &write, modifies);
                info.deleted_versions += 1;
            }
        }
        if commit_ts.is_zero() {
            break;
        }
        ts = commit_ts.prev();
    }
    Ok(info)
}

fn delete(key: &Key, commit_ts: TimeStamp, write: &Write, modifies: &mut Vec<Modify>) {
    modifies.push(Modify::Delete(CF_WRITE, key.clone().append_ts(commit_ts)));
    if write.write_type == WriteType::Put && write.short_value.is_none() {
        modifies.push(Modify::Delete(CF_DEFAULT, key.clone().append_ts(write.start_ts)));
    }
}

#[cfg(test)]
mod tests {
    use kvproto::kvrpcpb::Op;
    use tikv_kv::{Engine, SnapContext, WriteData};

    use super::*;
    use crate::tests::store::{TestStore, op, put, wait};

    fn run(store: &TestStore, key: &[u8], safe_point: u64) -> GcInfo {
        let engine = store.storage.get_engine();
        let snapshot = wait(engine.async_snapshot(SnapContext::default())).unwrap();
        let mut reader = MvccReader::new(snapshot, Some(crate::mvcc::ScanMode::Forward), false);
        let (keys, next) = reader.scan_keys(None, 10).unwrap();
        assert_eq!((keys, next), (vec![Key::from_raw(key)], None));
        let mut modifies = Vec::new();
        let info =
            gc(&mut reader, &Key::from_raw(key), safe_point.into(), &mut modifies, tracepoints::gate::block)
                .unwrap();
        wait(engine.async_write(SnapContext::default(), WriteData::from_modifies(modifies))).unwrap();
        info
    }

    #[test]
    fn reads_at_and_above_the_safe_point_stay_the_same() {
        let store = TestStore::new();
        let long = vec![b'l'; 300];
        store.must_put(b"k", &long, 5, 10);
        store.must_put(b"k", b"2", 15, 20);
        store.must_delete(b"k", 25, 30);
        store.must_put(b"k", b"3", 35, 40);
        store.must_prewrite(vec![op(Op::Lock, b"k")], 45);
        store.commit(&[b"k"], 45, 50).unwrap();
        store.must_prewrite(vec![put(b"k", b"4")], 55);
        store
            .run(crate::txn::commands::Rollback::from(kvproto::kvrpcpb::BatchRollbackRequest {
                start_version: 55,
                keys: vec![b"k".to_vec()],
                ..Default::default()
            }))
            .unwrap();
        let value = |ts: u64| {
            let get =
                store.storage.get(Default::default(), Key::from_raw(b"k"), ts.into(), tracepoints::Req::NONE);
            wait(get).unwrap().0
        };
        assert_eq!(run(&store, b"k", 12), GcInfo { found_versions: 6, deleted_versions: 0 });
        assert_eq!(value(12), Some(long));
        assert_eq!(run(&store, b"k", 22).deleted_versions, 1);
        assert_eq!((value(12), value(22)), (None, Some(b"2".to_vec())));
        assert_eq!(run(&store, b"k", 32).deleted_versions, 2, "the delete goes with the last put");
        assert_eq!((value(22), value(35)), (None, None));
        assert_eq!(run(&store, b"k", 60).deleted_versions, 2, "the rollback and the lock record");
        assert_eq!(value(62), Some(b"3".to_vec()));
    }
}
