//! The paths that these commands read.
use std::path::{Path, PathBuf};

use crate::{Error, Result, cli::Global, commands::open::store_config};

/// Returns `path/part` if `path` is a data directory, otherwise `path` itself.
pub fn part_of(path: &Path, part: &str) -> PathBuf {
    let inner = path.join(part);
    if inner.is_dir() { inner } else { path.to_owned() }
}

/// Returns the directory that the configuration sets for the logs of the RocksDB in `dir`; none: `dir`
/// itself.
pub fn wal_dir(dir: &Path, global: &Global) -> Result<Option<PathBuf>> {
    let config = store_config(global)?;
    let is_raftdb = match &config.raftdb_path {
        Some(path) => same_dir(path, dir),
        None => dir.file_name().is_some_and(|name| name == "raft"),
    };
    Ok(if is_raftdb { config.raftdb_wal_dir } else { config.wal_dir })
}

fn same_dir(a: &Path, b: &Path) -> bool {
    matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Fails if `path` does not exist.
pub fn check_exists(path: &Path, expected: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    Err(Error::other(format!("{}: expected {expected}, found nothing", path.display())))
}
