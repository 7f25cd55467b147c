//! Changes whole files of a data directory that no server is using.
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use store_files::io::{own_as, read_whole};

use super::{Change, Target, decode};
use crate::{Error, Result, encryption::Keyring};

/// Locks of RocksDB and raft-engine, taken for the lifetime of this value.
#[derive(Debug)]
pub struct DirLock(#[allow(dead_code)] Vec<File>);

impl DirLock {
    /// Locks the data directory `dir`, or raft-engine's own, as a writing process does; also raft-engine's
    /// `raft` and those databases of `dbs` that exist.
    pub fn take<'a>(dir: &Path, raft: impl Iterator<Item = &'a PathBuf>, dbs: &[&Path]) -> Result<DirLock> {
        let mut held = Vec::new();
        let locks = raft.map(|raft| raft.join("LOCK"));
        for lock in std::iter::once(dir.join("LOCK")).chain(locks).filter(|lock| lock.is_file()) {
            held.push(lock_file(&lock, |file| file.try_lock().map_err(Into::into))?);
        }
        for db in dbs.iter().filter(|db| db.join("CURRENT").is_file()) {
            held.push(lock_file(&db.join("LOCK"), lock_as_rocksdb)?);
        }
        Ok(DirLock(held))
    }
}

fn lock_file(path: &Path, lock: impl Fn(&File) -> std::io::Result<()>) -> Result<File> {
    let fail = |e: std::io::Error| {
        Error::other(format!(
            "{}: {e}; nothing was changed. A command that writes needs exclusive access: stop the server",
            path.display()
        ))
    };
    let new = !path.exists();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(fail)?;
    if new {
        own_as(&file, path.parent().unwrap_or(path)).map_err(fail)?;
    }
    lock(&file).map_err(fail)?;
    Ok(file)
}

/// Takes RocksDB's lock for the open file instead of the process, so that it conflicts with RocksDB in this
/// process, too.
fn lock_as_rocksdb(file: &File) -> std::io::Result<()> {
    // SAFETY: flock is plain data, for which zeros are valid: the whole file, from its start.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and `lock` outlives the call, which only reads it.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if taken == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Returns the decrypted bytes of the file `path` in hexadecimal; none if it does not exist.
///
/// # Errors
/// Fails if the file exists and cannot be read.
pub fn current(path: &Path, keyring: &Keyring) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(keys::hex_upper(&read_whole(path, keyring)?)))
}

/// Replaces the old files by the new ones, each atomically, synced, and encrypted as before.
pub fn apply(dir: &Path, changes: &[Change], keyring: &Keyring) -> Result<()> {
    for (path, change) in files(changes) {
        let path = dir.join(path);
        let fail = |e: std::io::Error| Error::other(format!("writing {}: {e}", path.display()));
        let Some(new) = &change.new else {
            std::fs::remove_file(&path).map_err(fail)?;
            continue;
        };
        let parent = path.parent().unwrap_or(dir);
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
        let mut bytes = decode(new)?;
        let cipher = if path.exists() { keyring.replace(&path)? } else { keyring.create(&path)? };
        if let Some(cipher) = cipher {
            cipher.apply(0, &mut bytes);
        }
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        if let Ok(meta) = std::fs::metadata(&path) {
            std::fs::set_permissions(file.path(), meta.permissions()).map_err(fail)?;
        }
        own_as(file.as_file(), parent).map_err(fail)?;
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
