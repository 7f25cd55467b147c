//! Applies the data of a received snapshot to RocksDB.
use engine_rocks::{CF_LOCK, DATA_CFS, DeleteStrategy, RocksEngine, RocksWriteBatch, name_to_cf};
use kvproto::metapb::Region;

use super::{
    key::{Result, SnapError, SnapKey},
    paths::{SnapPaths, clone_path},
    plain,
};

/// Maximum bytes of a write batch of locks.
const BATCH_BYTES: usize = 10 << 20;

/// Replaces the region's data on this store with the snapshot's data; durable on return.
///
/// TiKV: `region.rs::Runner::apply_snap`, `snap::Snapshot::apply`. Can be repeated: clears the range.
pub(super) fn apply_snapshot(
    paths: &SnapPaths,
    key: &SnapKey,
    kv: &RocksEngine,
    region: &Region,
) -> Result<()> {
    let missing = || SnapError::NotFound(*key, paths.dir().to_owned());
    let meta = paths.read_meta()?.ok_or_else(missing)?;
    paths.check_files(&meta)?;
    clear_range(kv, region)?;
    for file in paths.cf_files(&meta).iter().filter(|f| f.size > 0) {
        let unknown =
            || SnapError::BadMessage(format!("snapshot {key}: unknown column family {:?}", file.cf));
        let cf = name_to_cf(&file.cf).ok_or_else(unknown)?;
        if cf == CF_LOCK {
            apply_plain(kv, &file.path)?;
        } else {
            // RocksDB moves the file: give it a clone, so that the snapshot stays complete for a retry.
            let clone = clone_path(&file.path);
            plain::link_or_copy(&file.path, &clone)?;
            kv.ingest_external_file_cf(cf, &[clone])?;
        }
    }
    Ok(kv.sync_wal()?)
}

/// Deletes the region's data on this store.
pub fn clear_range(kv: &RocksEngine, region: &Region) -> Result<()> {
    let (start, end) = (keys::enc_start_key(region), keys::enc_end_key(region));
    for cf in DATA_CFS {
        kv.delete_ranges_cf(cf, DeleteStrategy::DeleteByRange, &[(&start, &end)], false)?;
    }
    Ok(())
}

fn apply_plain(kv: &RocksEngine, path: &std::path::Path) -> Result<()> {
    let mut batch: RocksWriteBatch = kv.write_batch();
    plain::read_plain(path, |key, value| {
        batch.put_cf(CF_LOCK, key, value)?;
        if batch.data_size() >= BATCH_BYTES {
            batch.write_opt(false)?;
            batch.clear();
        }
        Ok(())
    })?;
    Ok(batch.write_opt(false)?)
}
