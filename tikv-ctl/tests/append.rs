//! Appends after damage: RocksDB and raft-engine then read the appended change, and the same rows as our readers.
mod common;
#[path = "common/random.rs"]
mod random;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use common::{Store, contents, fill};
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};
use random::Random;
use rocksdb::{DB, IteratorMode, Options};
use tikv_ctl::{
    encryption::Keyring,
    lsm::{self, Db},
    raft_engine::{self, RaftEngineDir},
};

const CFS: [&str; 3] = ["default", "write", "raft"];

/// Column family and key, with the value.
type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_avoid_flush_during_shutdown(true);
    options.set_avoid_flush_during_recovery(true);
    options
}

fn open(dir: &Path) -> Result<DB, rocksdb::Error> {
    DB::open_cf(&options(), dir, CFS)
}

/// Makes a database with some SSTs and several logs with unflushed data, written by RocksDB and by `append`.
fn database(dir: &Path, random: &mut Random) {
    let put = |db: &DB, key: usize, value: &str| {
        for (i, cf) in CFS.iter().enumerate() {
            db.put_cf(&db.cf_handle(cf).unwrap(), format!("k{}", (key + i) % 40), value).unwrap();
        }
    };
    let db = open(dir).unwrap();
    (0..40).for_each(|key| put(&db, key, "first"));
    if random.below(2) == 0 {
        CFS.iter().for_each(|cf| db.flush_cf(&db.cf_handle(cf).unwrap()).unwrap());
    } else if random.below(3) == 0 {
        db.flush_cf(&db.cf_handle("write").unwrap()).unwrap();
    }
    drop(db);
    for round in 0..random.below(5) {
        let (value, key) = (format!("round {round}"), random.below(40));
        if random.below(2) == 0 {
            let keys = [format!("k{key}"), format!("k{}", (key + 7) % 40)];
            let changes =
                [("raft", keys[0].as_bytes(), Some(value.as_bytes())), ("write", keys[1].as_bytes(), None)];
            lsm::append(dir, dir, &changes, &Keyring::default()).unwrap();
        } else {
            let db = open(dir).unwrap();
            (0..=random.below(9)).for_each(|more| put(&db, key + more, &value));
        }
    }
}

fn ours(dir: &Path) -> Rows {
    let (db, mut rows) = (Db::open(dir, None, &Keyring::default()).unwrap(), Rows::new());
    for cf in CFS {
        let mut iter = db.scan(cf, b"", b"").unwrap();
        while iter.advance().unwrap() {
            rows.insert((cf.to_owned(), iter.key().to_vec()), iter.value().to_vec());
        }
    }
    rows
}

fn theirs(dir: &Path) -> Result<Rows, rocksdb::Error> {
    let (db, mut rows) = (open(dir)?, Rows::new());
    for cf in CFS {
        for row in db.iterator_cf(&db.cf_handle(cf).unwrap(), IteratorMode::Start) {
            let (key, value) = row?;
            rows.insert((cf.to_owned(), key.to_vec()), value.to_vec());
        }
    }
    Ok(rows)
}

/// Truncates a log that is not empty, or flips a bit of it.
fn damage(dir: &Path, random: &mut Random) -> Option<PathBuf> {
    let logs: Vec<_> = lsm::logs(dir).unwrap().into_iter().map(|(_, path)| path).collect();
    let logs: Vec<_> = logs.iter().filter(|path| std::fs::metadata(path).unwrap().len() > 0).collect();
    let log = (*logs.get(random.below(logs.len()))?).clone();
    let mut bytes = std::fs::read(&log).unwrap();
    let at = random.below(bytes.len());
    if random.below(2) == 0 {
        bytes.truncate(at)
    } else {
        bytes[at] ^= 1 << random.below(8)
    }
    std::fs::write(&log, bytes).unwrap();
    Some(log)
}

fn count(or: usize) -> usize {
    std::env::var("DAMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(or)
}

#[test]
fn rocksdb_reads_writes_after_any_damage_of_logs() {
    let (count, mut random) = (count(20), Random(0x9e37_79b9_7f4a_7c15));
    let (mut written, mut refused) = (0, 0);
    for _ in 0..count {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dir, copy) = (dir.path(), copy.path());
        database(dir, &mut random);
        let damaged = (0..random.below(3)).filter_map(|_| damage(dir, &mut random)).collect::<Vec<_>>();
        let before = contents(dir);
        let changes: [lsm::Written<'_>; 3] =
            [("default", b"k1", Some(b"new")), ("write", b"k2", None), ("raft", b"fresh", Some(b"new"))];
        if let Err(e) = lsm::append(dir, dir, &changes, &Keyring::default()) {
            assert!(before == contents(dir), "nothing was changed: {e}");
            refused += 1;
            continue;
        }
        let rows = ours(dir);
        let at = |cf: &str, key: &str| rows.get(&(cf.to_owned(), key.as_bytes().to_vec()));
        assert_eq!(at("default", "k1"), Some(&b"new".to_vec()), "{damaged:?}");
        assert_eq!((at("write", "k2"), at("raft", "fresh")), (None, Some(&b"new".to_vec())), "{damaged:?}");
        for (path, bytes) in contents(dir) {
            std::fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
        }
        assert!(theirs(copy).unwrap() == rows, "{damaged:?}");
        written += 1;
    }
    println!("{count} databases: {written} written, {refused} refused");
    assert!(written > count / 2);
}

#[test]
fn raft_engine_reads_writes_after_damage_of_its_newest_file() {
    let (count, mut random) = (count(100), Random(0x2545_f491_4f6c_dd1d));
    let store = tempfile::tempdir().unwrap();
    fill(&Store::open(store.path()));
    let whole = contents(&store.path().join("raft-engine"));
    let (mut written, mut refused) = (0, 0);
    for index in 0..count as u64 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (path, bytes) in &whole {
            std::fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        let newest = raft_engine::log_files(dir)
            .unwrap()
            .into_iter()
            .rfind(|file| file.queue == raft_engine::Queue::Append);
        let newest = newest.unwrap().path;
        let mut bytes = std::fs::read(&newest).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let at = random.below(end);
        if random.below(2) == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << random.below(8)
        }
        std::fs::write(&newest, &bytes).unwrap();
        let state = kvproto::raft_serverpb::RaftLocalState { last_index: index, hard_state: None };
        let value = prost::Message::encode_to_vec(&state);
        let engine = RaftEngineDir::open(dir, None, &Keyring::default()).unwrap();
        if let Err(e) = raft_engine::append(&engine, &[(2, b"R", Some(&value)), (77, b"R", Some(&value))]) {
            assert!(std::fs::read(&newest).unwrap() == bytes, "nothing was changed: {e}");
            refused += 1;
            continue;
        }
        let ours = RaftEngineDir::open(dir, None, &Keyring::default()).unwrap();
        assert_eq!((ours.get(2, b"R"), ours.get(77, b"R")), (Some(&value[..]), Some(&value[..])));
        let theirs = RaftLogEngine::open(dir, &RaftEngineConfig::small()).unwrap();
        assert_eq!(theirs.get_raft_state(2).unwrap().as_ref(), Some(&state), "at {at} of {end}");
        assert_eq!(theirs.get_raft_state(77).unwrap().as_ref(), Some(&state));
        assert_eq!(theirs.raft_groups(), ours.groups().collect::<Vec<_>>(), "at {at} of {end}");
        written += 1;
    }
    println!("{count} logs: {written} written, {refused} refused");
    assert!(written > 0 && refused > 0);
}
