//! Changes of whole files of a data directory that no server runs on.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::fd::AsRawFd,
    path::Path,
};

use super::{Change, Target, decode};
use crate::{Error, Result, raft_engine::is_raft_engine_dir};

/// The locks that RocksDB and raft-engine take, held while this lives.
#[derive(Debug)]
pub struct DirLock(#[allow(dead_code)] Vec<File>);

impl DirLock {
    /// Locks `dir`: a data directory as RocksDB does, raft-engine's own as that does. Others have nothing to lock.
    pub fn take(dir: &Path) -> Result<DirLock> {
        let mut held = Vec::new();
        let (db, raft) = (dir.join("db/LOCK"), dir.join("LOCK"));
        if db.is_file() {
            held.push(Self::as_rocksdb(&db)?);
        }
        if is_raft_engine_dir(dir) && raft.is_file() {
            held.push(Self::as_raft_engine(&raft)?);
        }
        Ok(DirLock(held))
    }

    fn as_raft_engine(path: &Path) -> Result<File> {
        let fail = |e: std::io::Error| {
            Error::other(format!(
                "{}: {e}; nothing was changed. A command that writes needs the directory for itself: stop the server",
                path.display()
            ))
        };
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        file.try_lock().map_err(|e| fail(e.into()))?;
        Ok(file)
    }

    fn as_rocksdb(path: &Path) -> Result<File> {
        let fail = |e: std::io::Error| {
            Error::other(format!(
                "{}: {e}; nothing was changed. A command that writes needs the directory for itself: stop the server",
                path.display()
            ))
        };
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        // SAFETY: flock is plain data, for which zeros are valid: the whole file, from its start.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: the descriptor is open, and `lock` outlives the call, which only reads it.
        let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
        if taken == 0 { Ok(file) } else { Err(fail(std::io::Error::last_os_error())) }
    }
}

/// Whether `changes` are of files only.
pub fn only_files(changes: &[Change]) -> bool {
    changes.iter().all(|change| matches!(change.target, Target::File { .. }))
}

/// Fails unless every file of `changes` is still the one that the plan was made from.
pub fn check(dir: &Path, changes: &[Change]) -> Result<()> {
    for (path, change) in files(changes) {
        let now = std::fs::read(dir.join(path)).map(|bytes| keys::hex_upper(&bytes)).ok();
        if now != change.old {
            return Err(Error::other(format!(
                "{} is not what the plan was made from: the store changed since; nothing was changed",
                dir.join(path).display()
            )));
        }
    }
    Ok(())
}

/// Puts the new files in the place of the old ones, each at once and synced.
pub fn apply(dir: &Path, changes: &[Change]) -> Result<()> {
    for (path, change) in files(changes) {
        let path = dir.join(path);
        let fail = |e: std::io::Error| Error::other(format!("writing {}: {e}", path.display()));
        let Some(new) = &change.new else {
            std::fs::remove_file(&path).map_err(fail)?;
            continue;
        };
        let parent = path.parent().unwrap_or(dir);
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
        file.write_all(&decode(new)?).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        if let Ok(meta) = std::fs::metadata(&path) {
            std::fs::set_permissions(file.path(), meta.permissions()).map_err(fail)?;
        }
        file.persist(&path).map_err(|e| fail(e.error))?;
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(fail)?;
    }
    Ok(())
}

fn files(changes: &[Change]) -> impl Iterator<Item = (&Path, &Change)> {
    changes.iter().filter_map(|change| match &change.target {
        Target::File { path } => Some((path.as_path(), change)),
        _ => None,
    })
}
