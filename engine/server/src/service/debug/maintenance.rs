//! Compaction, reset of a store to a version, read progress.
use engine_rocks::{BottommostLevelCompaction as Bottommost, CF_DEFAULT, CF_LOCK, CF_WRITE, RocksEngine};
use kvproto::debugpb::{
    BottommostLevelCompaction, CompactRequest, CompactResponse, GetRegionReadProgressResponse,
};
use txn_types::{Key, WriteRef, WriteType};

use super::error::{DebugError, check_cf};

/// Number of records in one write.
const BATCH: usize = 256;

/// Compacts a range of a column family; returns when it is done.
pub fn compact(kv: &RocksEngine, request: &CompactRequest) -> Result<CompactResponse, DebugError> {
    let cf = check_cf(request.db(), &request.cf)?;
    let bound = |key: &Vec<u8>| (!key.is_empty()).then(|| key.clone());
    let (start, end) = (bound(&request.from_key), bound(&request.to_key));
    let bottommost = match request.bottommost_level_compaction() {
        BottommostLevelCompaction::Skip => Bottommost::Skip,
        BottommostLevelCompaction::Force => Bottommost::Force,
        BottommostLevelCompaction::IfHaveCompactionFilter => Bottommost::IfHaveCompactionFilter,
    };
    kv.manual_compact_range_cf(cf, start.as_deref(), end.as_deref(), request.threads, bottommost)?;
    Ok(CompactResponse {})
}

/// Removes all locks, and all versions committed after `ts`, on this store only. Returns the number of
/// removed records.
pub fn reset_to_version(kv: &RocksEngine, ts: u64) -> Result<u64, DebugError> {
    let (mut batch, mut removed, mut failed) = (kv.write_batch(), 0, None);
    let mut remove = |cf: &str, key: &[u8]| -> Result<(), engine_rocks::Error> {
        batch.delete_cf(cf, key)?;
        removed += 1;
        if batch.count() >= BATCH {
            batch.write()?;
            batch.clear();
        }
        Ok(())
    };
    kv.scan_cf(CF_LOCK, keys::DATA_MIN_KEY, keys::DATA_MAX_KEY, |key, _| {
        remove(CF_LOCK, key)?;
        Ok(true)
    })?;
    kv.scan_cf(CF_WRITE, keys::DATA_MIN_KEY, keys::DATA_MAX_KEY, |key, value| {
        let parsed = Key::split_on_ts_for(key).and_then(|(user, at)| Ok((user, at, WriteRef::parse(value)?)));
        let (user, commit_ts, write) = match parsed {
            Ok(parsed) => parsed,
            Err(e) => {
                failed = Some(e);
                return Ok(false);
            }
        };
        if commit_ts.into_inner() > ts {
            if write.write_type == WriteType::Put && write.short_value.is_none() {
                let mut value_key = user.to_vec();
                keys::codec::encode_u64_desc(&mut value_key, write.start_ts.into_inner());
                remove(CF_DEFAULT, &value_key)?;
            }
            remove(CF_WRITE, key)?;
        }
        Ok(true)
    })?;
    batch.write()?;
    kv.sync_wal()?;
    failed.map_or(Ok(removed), |e| Err(e.into()))
}

/// Answers as TiKV with `resolved-ts.enable = false`: no region has a read progress, because the store
/// resolves no timestamps.
pub fn read_progress() -> GetRegionReadProgressResponse {
    GetRegionReadProgressResponse { error: "resolved-ts is not enabled".to_owned(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use engine_rocks::DbConfig;
    use txn_types::Write;

    use super::*;

    fn key(user: &[u8], ts: u64) -> Vec<u8> {
        keys::data_key(Key::from_raw(user).append_ts(ts.into()).as_encoded())
    }

    #[test]
    fn later_versions_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        for ts in [10, 20] {
            let write = Write::new(WriteType::Put, ts.into(), None);
            kv.put_cf(CF_WRITE, &key(b"a", ts + 1), &write.to_bytes()).unwrap();
            kv.put_cf(CF_DEFAULT, &key(b"a", ts), b"value").unwrap();
        }
        kv.put_cf(CF_LOCK, b"za", b"lock").unwrap();
        assert_eq!(reset_to_version(&kv, 11).unwrap(), 3);
        let there = |cf, key: &[u8]| kv.get_value_cf(cf, key).unwrap().is_some();
        assert!(there(CF_WRITE, &key(b"a", 11)) && there(CF_DEFAULT, &key(b"a", 10)));
        assert!(!there(CF_WRITE, &key(b"a", 21)) && !there(CF_DEFAULT, &key(b"a", 20)));
        assert!(!there(CF_LOCK, b"za"));
    }

    #[test]
    fn no_read_progress_is_reported() {
        let progress = read_progress();
        assert!(!progress.region_read_progress_exist && !progress.resolver_exist);
        assert_eq!((progress.applied_index, progress.error.as_str()), (0, "resolved-ts is not enabled"));
    }

    #[test]
    fn a_compaction_drops_deleted_keys() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        for round in 0..2u8 {
            (0..50u8).for_each(|n| kv.put_cf(CF_WRITE, &[b'z', n], &[round]).unwrap());
            kv.flush_cfs(&[CF_WRITE], true).unwrap();
        }
        assert!(kv.live_files_cf(CF_WRITE).unwrap().len() >= 2);
        let mut request =
            CompactRequest { db: kvproto::debugpb::Db::Kv.into(), cf: "write".into(), ..Default::default() };
        compact(&kv, &request).unwrap();
        assert_eq!(kv.live_files_cf(CF_WRITE).unwrap().len(), 1);
        request.cf = "nope".into();
        assert!(compact(&kv, &request).is_err());
    }
}
