//! A small file that is replaced atomically: after a crash it contains the old state or the new one.
//!
//! Layout: `PDSTATE1`, crc32 of the payload (u32 LE), length of the payload (u64 LE), payload.
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::error::{Error, Result};

const MAGIC: &[u8; 8] = b"PDSTATE1";
const HEADER: usize = 20;

/// Name of the state file of a cluster.
pub const CLUSTER_STATE: &str = "cluster.state";

/// Files and directories of a tikv-server, whose lock has the same name.
const OF_STORE: [&str; 3] = ["db", "raft-engine", "last_tikv.toml"];

/// Locks the directory against a second PD until it is dropped.
#[derive(Debug)]
pub struct DirLock(#[allow(dead_code)] File);

impl DirLock {
    /// Creates `dir` if it is missing, and locks it. [`Error::Locked`] if
    /// another process or PD has locked it, [`Error::OfStore`] if it belongs to a tikv-server
    /// and has no state of a PD.
    pub fn take(dir: &Path) -> Result<DirLock> {
        // An older PD could write its state there; only this state has the ids and timestamps that it gave out.
        let has_state = dir.join(CLUSTER_STATE).exists();
        if let Some(found) = OF_STORE.into_iter().find(|name| !has_state && dir.join(name).exists()) {
            return Err(Error::OfStore { path: dir.to_owned(), found });
        }
        fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
        let path = dir.join("LOCK");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: dir.to_owned() }),
            Err(TryLockError::Error(e)) => Err(Error::io("locking", path)(e)),
        }
    }
}

/// One state file of a directory.
#[derive(Debug)]
pub struct StateFile {
    dir: PathBuf,
    path: PathBuf,
}

impl StateFile {
    pub fn new(dir: &Path, name: &str) -> StateFile {
        StateFile { dir: dir.to_owned(), path: dir.join(name) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the payload, or `None` if the file was never written. A damaged
    /// file is an error and is not changed.
    pub fn load(&self) -> Result<Option<Vec<u8>>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("reading", &self.path)(e)),
        };
        unwrap_payload(&bytes).map(|payload| Some(payload.to_vec())).map_err(|reason| self.corrupt(reason))
    }

    /// Replaces the file; returns when the new state is on disk.
    pub fn save(&self, payload: &[u8]) -> Result<()> {
        let tmp = self.path.with_extension("tmp");
        write_synced(&tmp, payload).map_err(Error::io("writing", &tmp))?;
        fs::rename(&tmp, &self.path).map_err(Error::io("replacing", &self.path))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(Error::io("syncing", &self.dir))
    }

    pub fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), reason: reason.into() }
    }
}

fn write_synced(path: &Path, payload: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32fast::hash(payload).to_le_bytes())?;
    file.write_all(&(payload.len() as u64).to_le_bytes())?;
    file.write_all(payload)?;
    file.sync_all()
}

fn unwrap_payload(bytes: &[u8]) -> std::result::Result<&[u8], String> {
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(format!("expected at least {HEADER} bytes for the header, found {}", bytes.len()));
    };
    let (magic, rest) = header.split_at(8);
    let (crc, len) = rest.split_at(4);
    if magic != MAGIC {
        return Err(format!(
            "expected {} at its start, found {}",
            MAGIC.escape_ascii(),
            magic.escape_ascii()
        ));
    }
    if len != (payload.len() as u64).to_le_bytes() {
        let expected = u64::from_le_bytes(len.try_into().unwrap_or_default());
        return Err(format!("expected a payload of {expected} bytes by its header, found {}", payload.len()));
    }
    if crc != crc32fast::hash(payload).to_le_bytes() {
        return Err("its checksum does not match its payload".to_owned());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_saved_payload_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "a.state");
        assert_eq!(file.load().unwrap(), None);
        file.save(b"one").unwrap();
        file.save(b"").unwrap();
        assert_eq!(file.load().unwrap(), Some(vec![]));
        file.save(b"three").unwrap();
        assert_eq!(file.load().unwrap(), Some(b"three".to_vec()));
    }

    #[test]
    fn damage_is_detected_and_the_file_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "a.state");
        file.save(b"payload").unwrap();
        let good = fs::read(file.path()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(file.path(), &bad).unwrap();
            assert!(matches!(file.load(), Err(Error::Corrupt { .. })), "byte {at}");
            fs::write(file.path(), &good[..at]).unwrap();
            assert!(matches!(file.load(), Err(Error::Corrupt { .. })), "cut at {at}");
            assert_eq!(fs::read(file.path()).unwrap(), good[..at]);
        }
    }

    #[test]
    fn the_directory_of_a_store_is_refused_and_unchanged() {
        for found in OF_STORE {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join(found)).unwrap();
            assert!(matches!(DirLock::take(dir.path()), Err(Error::OfStore { .. })));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn the_state_of_a_pd_in_the_directory_of_a_store_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        StateFile::new(dir.path(), CLUSTER_STATE).save(b"state").unwrap();
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        assert!(matches!(DirLock::take(dir.path()), Err(Error::Locked { .. })));
        drop(lock);
        DirLock::take(dir.path()).unwrap();
    }
}
