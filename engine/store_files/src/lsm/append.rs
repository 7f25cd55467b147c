//! Modifies a database without RocksDB: writes one more WAL, which RocksDB replays last when it next opens
//! the database. Existing files are not touched.
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    format::file_number,
    log_writer::encode_log,
    manifest::{self, VersionState},
    replay::{Replay, Stop, live_logs},
    wal::{Change, encode_batch},
};
use crate::{
    encryption::Keyring,
    io::{FileError, Result, own_as, read_whole},
};

/// A change: column family, key, and new value; `None` deletes the key.
pub type Written<'a> = (&'a str, &'a [u8], Option<&'a [u8]>);

/// A log that has not been written yet.
#[derive(Debug)]
pub struct NewLog {
    path: PathBuf,
    bytes: Vec<u8>,
    keyring: Keyring,
}

/// Creates the log that applies all of `changes` to the database in `dir`, whose logs are in `wal_dir`. The
/// caller holds the database's lock until the log is written.
///
/// # Errors
/// The database lacks a column family, or RocksDB would not replay another log in its state.
pub fn new_log(dir: &Path, wal_dir: &Path, changes: &[Written<'_>], keyring: &Keyring) -> Result<NewLog> {
    let state = manifest::read(dir, keyring)?;
    let mut batch = Vec::with_capacity(changes.len());
    for (cf, key, value) in changes {
        batch.push((family(&state, cf)?, *key, *value));
    }
    let records = records(&state, wal_dir, &batch, keyring)?;
    let path = wal_dir.join(format!("{:06}.log", number(&state, dir, wal_dir)?));
    Ok(NewLog { path, bytes: encode_log(&records), keyring: keyring.clone() })
}

impl NewLog {
    /// Writes and syncs the log, encrypted if other files of its directory are. Returns its path.
    ///
    /// # Errors
    /// The data keys are unknown, or the system refuses to write.
    pub fn write(self) -> Result<PathBuf> {
        let NewLog { path, mut bytes, keyring } = self;
        let refuse = |e: crate::Error| FileError::Unsupported { path: path.clone(), what: e.to_string() };
        if let Some(cipher) = keyring.create(&path).map_err(refuse)? {
            cipher.apply(0, &mut bytes);
        }
        write(&path, &bytes).map_err(|source| FileError::Io { path: path.clone(), source })?;
        Ok(path)
    }
}

/// Creates a log as [`new_log`] does and writes it.
///
/// # Errors
/// As [`new_log`] and [`NewLog::write`].
pub fn append(dir: &Path, wal_dir: &Path, changes: &[Written<'_>], keyring: &Keyring) -> Result<PathBuf> {
    new_log(dir, wal_dir, changes, keyring)?.write()
}

fn family(state: &VersionState, name: &str) -> Result<u32> {
    let found = state.families.iter().find(|(_, family)| family.name == name);
    found.map(|(id, _)| *id).ok_or_else(|| FileError::Unsupported {
        path: state.path.clone(),
        what: format!("expected a column family {name}, found none: give the name of an existing one"),
    })
}

/// Encodes the records of the log so that `batch` is newer than everything else in the database.
fn records(
    state: &VersionState,
    wal_dir: &Path,
    batch: &[Change<'_>],
    keyring: &Keyring,
) -> Result<Vec<Vec<u8>>> {
    let logs = live_logs(wal_dir, state)?;
    if logs.is_empty() {
        let what = "expected the log (WAL) that every opened database has, found none: if rocksdb.wal-dir is set, give \
                    --config FILE; otherwise start the store once and stop it; nothing was changed";
        return Err(FileError::NotADb(format!("{}: {what}", wal_dir.display())));
    }
    let mut replay = Replay::default();
    for (number, path) in logs {
        replay.read(&path, number, &read_whole(&path, keyring)?, &mut |_| {});
    }
    let files = state.families.values().flat_map(|family| family.files.values());
    let newest = files.map(|file| file.largest_seqno).max().unwrap_or(0).max(state.last_sequence);
    let first = replay.next.unwrap_or(0).max(newest.saturating_add(1));
    let mut records = vec![encode_batch(first, batch)];
    if let Some(stop) = &replay.stop {
        let next = resume_sequence(state, stop, replay.next)?;
        // After damage RocksDB requires the next sequence number, but changes that only SSTs have left a gap.
        if next != first {
            records.insert(0, encode_batch(next, &[]));
        }
    }
    Ok(records)
}

/// Returns the sequence number `next` at which RocksDB continues after `stop`.
///
/// # Errors
/// RocksDB does not open a database with this damage.
fn resume_sequence(state: &VersionState, stop: &Stop, next: Option<u64>) -> Result<u64> {
    let fail = |what: String| Err(FileError::corrupt(&stop.path, stop.offset, what));
    let ahead = |family: &&manifest::FamilyState| family.log_number > stop.number && !family.files.is_empty();
    if let Some(family) = state.families.values().find(ahead) {
        return fail(format!(
            "the log is damaged here, and the SSTs of column family {} have later changes: RocksDB does not open such a \
             database, so nothing is written; restore it from a backup or another replica",
            family.name
        ));
    }
    match next {
        Some(next) => Ok(next),
        None => fail(
            "the oldest log is damaged before its first change: RocksDB would not replay a log after it; start the store \
             once, which drops the lost changes, stop it, and repeat this command"
                .to_owned(),
        ),
    }
}

/// Returns a file number greater than every number that the database has used.
fn number(state: &VersionState, dir: &Path, wal_dir: &Path) -> Result<u64> {
    let of_families = state.families.values().map(|family| family.log_number).max().unwrap_or(0);
    let mut number = state.next_file.max(state.min_log).max(of_families);
    for dir in [dir, wal_dir] {
        let io = |source| FileError::Io { path: dir.to_owned(), source };
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            number =
                number.max(file_number(&name.to_string_lossy()).map_or(0, |number| number.saturating_add(1)));
        }
    }
    Ok(number)
}

/// Writes and syncs a new file.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = own_as(&file, parent)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent)?.sync_all());
    if written.is_err() {
        // RocksDB must not replay a partial log. If the removal fails, it skips the torn end.
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, IngestExternalFileOptions, Options, SstFileWriter, WriteOptions};

    use super::*;
    use crate::lsm::Db;

    const CFS: [&str; 3] = ["default", "write", "raft"];

    fn options() -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_avoid_flush_during_shutdown(true);
        options.set_track_and_verify_wals_in_manifest(true);
        options
    }

    fn open(dir: &Path) -> DB {
        DB::open_cf(&options(), dir, CFS).unwrap()
    }

    fn put(db: &DB, cf: &str, key: &str, value: &str) {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        db.put_cf_opt(&db.cf_handle(cf).unwrap(), key, value, &options).unwrap();
    }

    fn by_rocksdb(dir: &Path, cf: &str, key: &str) -> Option<String> {
        let db = open(dir);
        let value = db.get_cf(&db.cf_handle(cf).unwrap(), key).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    fn by_us(dir: &Path, cf: &str, key: &str) -> Option<String> {
        let db = Db::open(dir, None, &Keyring::default()).unwrap();
        db.get(cf, key.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
    }

    /// Creates a database with one part of its data in SSTs and the other in a log.
    fn database() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        for (i, cf) in CFS.iter().cycle().take(90).enumerate() {
            put(&db, cf, &format!("k{i}"), "old");
        }
        db.flush_cf(&db.cf_handle("write").unwrap()).unwrap();
        put(&db, "default", "k0", "older");
        put(&db, "write", "k1", "older");
        drop(db);
        dir
    }

    fn last_log(dir: &Path) -> PathBuf {
        super::super::logs(dir).unwrap().pop().unwrap().1
    }

    const CHANGES: [Written<'_>; 4] = [
        ("default", b"k0", Some(b"new")),
        ("write", b"k1", Some(b"new")),
        ("raft", b"k2", None),
        ("write", b"fresh", Some(b"new")),
    ];

    /// Checks that RocksDB and this reader see the changes.
    fn check(dir: &Path) {
        for get in [by_us, by_rocksdb, by_us] {
            assert_eq!(get(dir, "default", "k0").as_deref(), Some("new"));
            assert_eq!(get(dir, "write", "k1").as_deref(), Some("new"));
            assert_eq!(get(dir, "raft", "k2"), None);
            assert_eq!(get(dir, "write", "fresh").as_deref(), Some("new"));
            assert_eq!(get(dir, "default", "k3").as_deref(), Some("old"), "other keys keep their values");
        }
    }

    #[test]
    fn rocksdb_reads_appended_changes_as_the_newest() {
        let dir = database();
        for round in 0..4 {
            append(dir.path(), dir.path(), &CHANGES, &Keyring::default()).unwrap();
            if round % 2 == 0 {
                append(dir.path(), dir.path(), &[("write", b"k4", None)], &Keyring::default()).unwrap();
            }
            check(dir.path());
            let gone = by_rocksdb(dir.path(), "write", "k4").is_none();
            assert_eq!(gone, round % 2 == 0, "{round}");
            let db = open(dir.path());
            for key in ["k0", "k3"] {
                put(&db, "default", key, "old");
            }
            put(&db, "write", "k4", "old");
            drop(db);
            assert_eq!(
                by_us(dir.path(), "default", "k0").as_deref(),
                Some("old"),
                "later writes of RocksDB are newer than the appended log"
            );
        }
    }

    /// Creates a database whose last log lost its last record, that of `x`.
    fn damaged(torn: bool, ingest: bool) -> tempfile::TempDir {
        let dir = database();
        let db = open(dir.path());
        put(&db, "default", "k6", "logged");
        put(&db, "raft", "x", "lost");
        if ingest {
            // No log has this change, so the sequence numbers of the logs have a gap.
            let sst = dir.path().join("in");
            let (options, ingest) = (options(), IngestExternalFileOptions::default());
            let mut writer = SstFileWriter::create(&options);
            writer.open(&sst).unwrap();
            writer.put("k1", "ingested").unwrap();
            writer.finish().unwrap();
            db.ingest_external_file_cf_opts(&db.cf_handle("write").unwrap(), &ingest, vec![sst]).unwrap();
        }
        drop(db);
        let log = last_log(dir.path());
        let mut bytes = std::fs::read(&log).unwrap();
        let at = bytes.len() - 2;
        if torn {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1
        }
        std::fs::write(&log, bytes).unwrap();
        dir
    }

    #[test]
    fn changes_after_a_torn_or_damaged_log_are_replayed() {
        for (torn, ingest) in [(true, false), (true, true), (false, false), (false, true)] {
            let dir = damaged(torn, ingest);
            let before = manifest::read(dir.path(), &Keyring::default()).unwrap();
            append(dir.path(), dir.path(), &CHANGES, &Keyring::default()).unwrap();
            let mut replay = Replay::default();
            for (number, path) in live_logs(dir.path(), &before).unwrap() {
                replay.read(&path, number, &std::fs::read(&path).unwrap(), &mut |_| {});
            }
            assert!(replay.stop.is_none() && replay.next > Some(before.last_sequence), "{torn} {ingest}");
            for get in [by_us, by_rocksdb_untracked] {
                let shown = |cf, key| get(dir.path(), cf, key);
                assert_eq!(shown("default", "k0").as_deref(), Some("new"), "{torn} {ingest}");
                assert_eq!(shown("write", "k1").as_deref(), Some("new"), "{torn} {ingest}");
                assert_eq!(shown("default", "k6").as_deref(), Some("logged"), "{torn} {ingest}");
                assert_eq!((shown("raft", "k2"), shown("raft", "x")), (None, None), "lost changes stay lost");
            }
        }
    }

    #[test]
    fn logs_after_a_torn_log_count_if_their_sequence_continues() {
        let dir = damaged(true, false);
        let log = last_log(dir.path());
        let later = |sequence| encode_log(&[encode_batch(sequence, &[(0, b"k9", Some(b"later"))])]);
        let mut replay = Replay::default();
        let bytes = std::fs::read(&log).unwrap();
        replay.read(&log, 1, &bytes, &mut |_| {});
        let next = replay.next.unwrap();
        for (sequence, counts) in [(next + 1, false), (next, true)] {
            let path = dir.path().join("999999.log");
            std::fs::write(&path, later(sequence)).unwrap();
            let want = if counts { "later" } else { "old" };
            assert_eq!(by_us(dir.path(), "default", "k9").as_deref(), Some(want));
            let copy = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
            assert_eq!(by_rocksdb_untracked(copy.path(), "default", "k9").as_deref(), Some(want));
        }
    }

    /// Reads with RocksDB, without its check of the logs' lengths: it would refuse the truncated log.
    fn by_rocksdb_untracked(dir: &Path, cf: &str, key: &str) -> Option<String> {
        let mut options = options();
        options.set_track_and_verify_wals_in_manifest(false);
        let db = DB::open_cf(&options, dir, CFS).unwrap();
        let value = db.get_cf(&db.cf_handle(cf).unwrap(), key).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn append_refuses_a_log_that_rocksdb_would_not_replay() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        put(&db, "default", "a", "1");
        drop(db);
        let log = last_log(dir.path());
        let whole = std::fs::read(&log).unwrap();
        let mut bytes = whole.clone();
        bytes[8] ^= 1;
        std::fs::write(&log, &bytes).unwrap();
        let refused = |dir: &Path| {
            append(dir, dir, &[("default", b"a", None)], &Keyring::default()).unwrap_err().to_string()
        };
        let e = refused(dir.path());
        assert!(e.contains("before its first change") && e.contains(".log at byte 0"), "{e}");
        std::fs::remove_file(&log).unwrap();
        let e = refused(dir.path());
        assert!(e.contains("rocksdb.wal-dir") && e.contains("nothing was changed"), "{e}");
        std::fs::write(&log, &whole).unwrap();
        let e = append(dir.path(), dir.path(), &[("none", b"a", None)], &Keyring::default())
            .unwrap_err()
            .to_string();
        assert!(e.contains("a column family none"), "{e}");
    }

    #[test]
    fn append_refuses_a_damaged_log_older_than_ssts() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        put(&db, "default", "a", "1");
        put(&db, "raft", "b", "1");
        let log = last_log(dir.path());
        db.flush_cf(&db.cf_handle("default").unwrap()).unwrap();
        put(&db, "default", "c", "2");
        drop(db);
        let mut bytes = std::fs::read(&log).unwrap();
        let at = bytes.len() - 2;
        bytes[at] ^= 1;
        std::fs::write(&log, &bytes).unwrap();
        let e = append(dir.path(), dir.path(), &[("default", b"a", None)], &Keyring::default())
            .unwrap_err()
            .to_string();
        assert!(e.contains("column family default") && e.contains("does not open"), "{e}");
        assert!(DB::open_cf(&options(), dir.path(), CFS).is_err(), "RocksDB refuses it, too");
    }

    #[test]
    fn append_writes_to_the_wal_dir() {
        let (dir, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut options = options();
        options.set_wal_dir(logs.path());
        let open = || DB::open_cf(&options, dir.path(), CFS).unwrap();
        put(&open(), "default", "k0", "old");
        let path = append(dir.path(), logs.path(), &[("default", b"k0", Some(b"new"))], &Keyring::default())
            .unwrap();
        assert_eq!(path.parent(), Some(logs.path()));
        assert_eq!(open().get("k0").unwrap().as_deref(), Some(&b"new"[..]));
        assert!(
            append(dir.path(), dir.path(), &[], &Keyring::default())
                .unwrap_err()
                .to_string()
                .contains("wal-dir")
        );
    }

    #[test]
    fn a_batch_of_many_blocks_is_replayed() {
        let dir = database();
        let value = vec![b'v'; 100_000];
        let keys: Vec<String> = (0..50).map(|i| format!("long{i}")).collect();
        let changes: Vec<Written<'_>> =
            keys.iter().map(|key| ("write", key.as_bytes(), Some(&value[..]))).collect();
        append(dir.path(), dir.path(), &changes, &Keyring::default()).unwrap();
        for key in &keys {
            assert!(by_us(dir.path(), "write", key).is_some_and(|read| read.len() == value.len()));
        }
        assert!(by_rocksdb(dir.path(), "write", "long49").is_some_and(|read| read.as_bytes() == value));
    }

    #[test]
    fn file_number_reads_every_kind_of_name() {
        for (name, number) in
            [("000012.sst", Some(12)), ("MANIFEST-000004", Some(4)), ("OPTIONS-7.dbtmp", Some(7))]
        {
            assert_eq!(file_number(name), number);
        }
        assert_eq!(
            (file_number("CURRENT"), file_number("LOG.old.17"), file_number("IDENTITY")),
            (None, None, None)
        );
    }
}
