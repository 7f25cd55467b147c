//! The data directory: checks its owner, its lock and its completeness before anything in it is opened.
//!
//! Layout as TiKV's: `db/`, `raft-engine/`, `snap/`, `LOCK`, `last_tikv.toml`.
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Names that TiKV and this server create in a data directory.
const OURS: [&str; 14] = [
    "db",
    "raft",
    "raft-engine",
    "snap",
    "import",
    "LOCK",
    "last_tikv.toml",
    "tmp_tikv.toml",
    "tablets",
    "space_placeholder_file",
    "panic_mark_file",
    "key.dict",
    "file.dict",
    "pd",
];

/// Reason why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The parent directory of this directory is missing.
    #[error(
        "data dir {0}: its parent directory does not exist; create it (mkdir -p) or choose another --data-dir"
    )]
    NoParent(PathBuf),
    /// This path is no directory.
    #[error("data dir {0}: expected a directory, found a file; choose another --data-dir")]
    NotADirectory(PathBuf),
    /// The directory has files of something else.
    #[error(
        "data dir {dir} contains files that belong to no store ({files}); choose an empty directory, or one of a store"
    )]
    Foreign {
        /// The data directory.
        dir: PathBuf,
        /// Names of the files.
        files: String,
    },
    /// Another process uses the directory.
    #[error("data dir {dir} is in use by {owner}; stop that server first, or choose another --data-dir")]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process, if it is known.
        owner: String,
    },
    /// A part of the data is missing.
    #[error(
        "data dir {dir} is incomplete: {what}; restore it from a copy, or remove the directory and start with a new one"
    )]
    HalfWritten {
        /// The data directory.
        dir: PathBuf,
        /// The missing part.
        what: String,
    },
    /// The directory is of TiKV's Raft store v2.
    #[error(
        "data dir {dir} belongs to a server with Raft store v2 (tablets/); this server reads db/ only: give the \
         directory of a server with db/"
    )]
    Tablets {
        /// The data directory.
        dir: PathBuf,
    },
    /// An earlier server has stopped because of corrupt data.
    #[error(
        "data dir {dir} contains panic_mark_file: an earlier server found corrupt data; check the data with \
         tikv-ctl, then remove this file"
    )]
    PanicMark {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error("data dir {dir}: cannot {what}: {error}; check permissions and free space")]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// The action that failed, e.g. "create it".
        what: &'static str,
        /// Reason that the system gives.
        error: io::Error,
    },
}

/// A checked and locked data directory. Dropping it, or the end of the process, releases the lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Checks `path`, creates it if its parent exists, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create(path)?;
        check_content(path)?;
        let lock = lock(path)?;
        check_whole(path)?;
        let path = path.canonicalize().map_err(io_error(path, "resolve its path"))?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// RocksDB with the column families default, lock, write and raft.
    pub fn kv(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Returns the directory of the Raft logs.
    pub fn raft_engine(&self) -> PathBuf {
        self.path.join("raft-engine")
    }

    /// Returns the directory of snapshots.
    pub fn snap(&self) -> PathBuf {
        self.path.join("snap")
    }

    /// Returns the file for changes of the configuration if `--config` was not given, as in TiKV.
    pub fn last_config(&self) -> PathBuf {
        self.path.join("last_tikv.toml")
    }

    /// Reads the configuration with which the store ran last; `None` for a new store.
    pub fn read_last_config(&self) -> Result<Option<String>, DataDirError> {
        match fs::read_to_string(self.last_config()) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&self.path, "read last_tikv.toml")(e)),
        }
    }

    /// Writes the configuration in effect into the data directory, atomically.
    pub fn write_last_config(&self, toml: &str) -> Result<(), DataDirError> {
        let (tmp, last) = (self.path.join("tmp_tikv.toml"), self.path.join("last_tikv.toml"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&tmp)?;
            file.write_all(toml.as_bytes())?;
            file.sync_all()?;
            fs::rename(&tmp, &last)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(io_error(&self.path, "write last_tikv.toml"))
    }
}

fn io_error(dir: &Path, what: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    let dir = dir.to_owned();
    move |error| DataDirError::Io { dir, what, error }
}

fn create(path: &Path) -> Result<(), DataDirError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(DataDirError::NotADirectory(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !parent.is_dir() {
                return Err(DataDirError::NoParent(path.to_owned()));
            }
            fs::create_dir(path).map_err(io_error(path, "create it"))
        }
        Err(e) => Err(io_error(path, "read it")(e)),
    }
}

fn names(path: &Path) -> Result<Vec<String>, DataDirError> {
    let entries = fs::read_dir(path).map_err(io_error(path, "list it"))?;
    let names = entries.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<Vec<_>>>().map_err(io_error(path, "list it"))
}

fn check_content(path: &Path) -> Result<(), DataDirError> {
    let dir = || path.to_owned();
    let names = names(path)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    // Logs may be in the directory as well. A directory without any part of a store belongs to another program, such as
    // PD, whose lock has the same name.
    let has_part = ["db", "raft-engine", "tablets"].iter().any(|n| has(n));
    let made_by_a_store = names.is_empty() || has_part || (has("LOCK") && !has("cluster.state"));
    if !made_by_a_store {
        let mut foreign: Vec<_> = names.into_iter().filter(|n| !OURS.contains(&n.as_str())).collect();
        foreign.sort();
        if foreign.is_empty() {
            return Ok(());
        }
        foreign.truncate(3);
        return Err(DataDirError::Foreign { dir: dir(), files: foreign.join(", ") });
    }
    if has("panic_mark_file") {
        return Err(DataDirError::PanicMark { dir: dir() });
    }
    if has("tablets") && !has("db") {
        return Err(DataDirError::Tablets { dir: dir() });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join("LOCK"))
        .map_err(io_error(path, "open its LOCK file"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::Locked { dir: path.to_owned(), owner: owner(&mut file) });
        }
        Err(TryLockError::Error(e)) => return Err(io_error(path, "lock its LOCK file")(e)),
    }
    let mut say_who = || -> io::Result<()> {
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        file.flush()
    };
    say_who().map_err(io_error(path, "write its LOCK file"))?;
    Ok(file)
}

/// Names the process that has the lock, by the process id that it wrote.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(32).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) if pid == std::process::id() => format!("this process ({pid})"),
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".into(),
    }
}

/// raft-engine is opened before RocksDB, so a RocksDB without a Raft log has lost its other half.
fn check_whole(path: &Path) -> Result<(), DataDirError> {
    let half = |what: &str| Err(DataDirError::HalfWritten { dir: path.to_owned(), what: what.into() });
    let (db, raft) = (path.join("db"), path.join("raft-engine"));
    let has_db = db.join("CURRENT").is_file();
    let has_ext = |dir: &Path, ext: &str| {
        dir.is_dir() && names(dir).unwrap_or_default().iter().any(|n| n.rsplit('.').next() == Some(ext))
    };
    if !has_db && (has_ext(&db, "sst") || has_ext(&db, "log")) {
        return half("db/ has data files but no CURRENT file");
    }
    if has_db && !has_ext(&raft, "raftlog") {
        return half("db/ exists but raft-engine/ has no log files");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path) -> String {
        DataDir::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_new_directory_is_created_and_locked() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("store");
        let first = DataDir::open(&path).unwrap();
        let second = message(&path);
        assert!(second.contains("in use by this process") && second.contains("stop that server"), "{second}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_missing_parent_a_file_and_a_foreign_directory_are_refused() {
        let tmp = tempfile::tempdir().unwrap();
        assert!(message(&tmp.path().join("a/b")).contains("parent directory does not exist"));
        fs::write(tmp.path().join("thesis.txt"), "hello").unwrap();
        assert!(message(&tmp.path().join("thesis.txt")).contains("expected a directory, found a file"));
        let foreign = message(tmp.path());
        assert!(foreign.contains("thesis.txt"), "{foreign}");
        assert!(!tmp.path().join("LOCK").exists(), "nothing is written into a foreign directory");
        let pd = tempfile::tempdir().unwrap();
        for name in ["LOCK", "cluster.state", "tso.state"] {
            fs::write(pd.path().join(name), "").unwrap();
        }
        let foreign = message(pd.path());
        assert!(foreign.contains("cluster.state"), "{foreign}");
    }

    #[test]
    fn a_half_written_directory_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("db")).unwrap();
        fs::write(tmp.path().join("db/000012.sst"), "").unwrap();
        assert!(message(tmp.path()).contains("no CURRENT"));
        fs::write(tmp.path().join("db/CURRENT"), "MANIFEST-000001\n").unwrap();
        assert!(message(tmp.path()).contains("raft-engine/ has no log files"));
    }

    #[test]
    fn the_last_configuration_is_replaced_atomically() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&tmp.path().join("s")).unwrap();
        dir.write_last_config("a = 1\n").unwrap();
        dir.write_last_config("a = 2\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("last_tikv.toml")).unwrap(), "a = 2\n");
        assert!(!dir.path().join("tmp_tikv.toml").exists());
    }
}
