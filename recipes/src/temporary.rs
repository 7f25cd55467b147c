//! Temporary data directories. A program removes its own at its end, and those that killed programs left.
//!
//! Each directory contains a file that its program keeps locked. The system frees the lock when the program
//! ends, even by a kill, so a directory with a free lock is unused. A process id proves nothing: ids are
//! reused and differ between containers.
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

const PREFIX: &str = "tikv-step-";
const LOCK: &str = "in-use";

/// Directories of this process, with their locks.
static OWN: parking_lot::Mutex<Vec<(PathBuf, File)>> = parking_lot::Mutex::new(Vec::new());

/// Makes a directory that is removed when it is dropped, and removes those that killed programs left.
///
/// # Errors
/// If the system's temporary folder is not writable.
pub fn make() -> io::Result<TempDir> {
    make_in(&std::env::temp_dir())
}

fn make_in(root: &Path) -> io::Result<TempDir> {
    remove_left(root);
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
    let lock = File::create_new(dir.path().join(LOCK))?;
    // On a file system without locks, no other program gets the lock either, so the directory is safe.
    let _ = lock.try_lock();
    let mut own = OWN.lock();
    own.retain(|(path, _)| path.exists());
    own.push((dir.path().to_owned(), lock));
    Ok(dir)
}

/// Returns the directories of this process. Without one, no cluster of this process with temporary data runs.
pub fn own() -> Vec<PathBuf> {
    OWN.lock().iter().map(|(path, _)| path.clone()).filter(|path| path.exists()).collect()
}

/// Removes the directories of this process, for a program that must end without dropping its cluster.
pub fn remove_own() {
    for (dir, _lock) in OWN.lock().drain(..) {
        // The next program removes what cannot be removed now.
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Removes the directories that killed programs left.
fn remove_left(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // A link may point to foreign files, so it is not followed.
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        let Some(lock) = (named && is_dir).then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else {
            continue;
        };
        if lock.try_lock().is_ok() {
            // Another user's directory cannot be removed; that is not an error.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_killed_programs_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let used = make_in(root.path()).unwrap();
        let left = root.path().join("tikv-step-left");
        std::fs::create_dir_all(left.join("s1")).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        let (foreign, no_lock) = (root.path().join("other"), root.path().join("tikv-step-begun"));
        for dir in [&foreign, &no_lock] {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::write(foreign.join(LOCK), "").unwrap();
        let second = make_in(root.path()).unwrap();
        assert!([used.path(), second.path()].iter().all(|dir| own().iter().any(|known| known == dir)));
        assert!(!left.exists(), "its lock was free");
        assert!([used.path(), second.path(), &foreign, &no_lock].iter().all(|d| d.exists()));
    }
}
