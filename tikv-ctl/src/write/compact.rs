//! Offline compaction: the only change of a database that needs RocksDB itself.
use std::path::Path;

use engine_rocks::{BottommostLevelCompaction, DbConfig, RocksEngine};

use super::locked;
use crate::{Error, Result, StoreConfig, encryption::FILE_DICT};

/// Compacts a range of a column family of the store in `dir` into its last level.
pub fn compact(
    dir: &Path,
    config: &StoreConfig,
    cf: &str,
    (from, to): (&[u8], &[u8]),
    threads: u32,
    bottommost: BottommostLevelCompaction,
) -> Result<()> {
    refuse(dir, config)?;
    // Automatic compactions are off: only the range is compacted.
    let mut db = DbConfig { create_if_missing: false, avoid_flush: true, ..DbConfig::small() };
    for cf in [&mut db.defaultcf, &mut db.lockcf, &mut db.writecf, &mut db.raftcf] {
        cf.disable_auto_compactions = true;
    }
    let kv = RocksEngine::open(dir.join("db"), &db).map_err(locked)?;
    let bound = |key: &[u8]| (!key.is_empty()).then(|| key.to_vec());
    let (from, to) = (bound(from), bound(to));
    kv.manual_compact_range_cf(cf, from.as_deref(), to.as_deref(), threads, bottommost)
        .map_err(|e| Error::other(e.to_string()))
}

/// Refuses directories that RocksDB alone does not open as TiKV does.
fn refuse(dir: &Path, config: &StoreConfig) -> Result<()> {
    let what = if config.wal_dir.is_some() {
        "its WAL is elsewhere (rocksdb.wal-dir)"
    } else if dir.join(FILE_DICT).is_file() {
        "it is encrypted at rest (it has file.dict)"
    } else if dir.join("tablets").is_dir() {
        "it has tablets/ (partitioned-raft-kv)"
    } else {
        return Ok(());
    };
    Err(Error::other(format!(
        "{}: {what}: cannot compact such a directory offline: start the server and give --host; nothing was changed",
        dir.display()
    )))
}
