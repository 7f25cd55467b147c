//! Writing commands have the same effect on every kind of directory, and the engines themselves read the
//! changes.
mod common;

use std::path::{Path, PathBuf};

use common::{
    Store,
    back::{shown, there_and_back},
    contents, copy_dir, ctl,
    encrypted::{decrypt, encrypt, key_dict, plaintext},
    fill,
    tablets::to_tablets,
    titan,
};
use engine_rocks::{CF_RAFT, CF_WRITE, DbConfig, RocksEngine};
use kvproto::{metapb::PeerRole, raft_serverpb::RaftApplyState};
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};
use tempfile::TempDir;
use tikv_ctl::{encryption::Keyring, lsm::Db};

/// A store, and the flags for reading it.
struct Kind {
    name: &'static str,
    dir: TempDir,
    flags: Vec<String>,
    /// Directory of its WAL, if it is not that of the SSTs.
    wal_dir: Option<PathBuf>,
    _others: Vec<TempDir>,
}

fn data_key(key: &[u8], ts: u64) -> Vec<u8> {
    keys::data_key(txn_types::Key::from_raw(key).append_ts(ts.into()).as_encoded())
}

/// Makes a store on which each command has something to do.
fn plain() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    fill(&store);
    for id in [2, 4] {
        store.put_peers(id, &[(id + 1, 1, PeerRole::Voter), (id + 100, 9, PeerRole::Voter)]);
    }
    store.put_version(b"big", 22, 23, &[b'N'; 400]);
    store.put_version(b"zz", 22, 23, b"right");
    store.kv.put_cf("default", &data_key(b"orphan", 7), b"no record points here").unwrap();
    let apply = RaftApplyState { applied_index: 6, commit_index: 7, commit_term: 6, ..Default::default() };
    store.kv.put_msg_cf(CF_RAFT, &keys::apply_state_key(2), &apply).unwrap();
    dir
}

fn kind(name: &'static str, dir: TempDir) -> Kind {
    let flags = vec!["--data-dir".to_owned(), dir.path().to_str().unwrap().to_owned()];
    Kind { name, dir, flags, wal_dir: None, _others: Vec::new() }
}

fn encrypted() -> Kind {
    encrypted_from(&plain())
}

fn encrypted_from(plain: &TempDir) -> Kind {
    let secret = tempfile::tempdir().unwrap();
    encrypt(plain.path(), secret.path());
    key_dict(secret.path(), &plaintext());
    kind("encrypted", secret)
}

fn tablets() -> Kind {
    tablets_from(&plain())
}

fn tablets_from(plain: &TempDir) -> Kind {
    let dir = tempfile::tempdir().unwrap();
    to_tablets(plain.path(), dir.path(), 7);
    kind("tablets", dir)
}

fn encrypted_tablets() -> Kind {
    let (plain, secret) = (tablets(), tempfile::tempdir().unwrap());
    encrypt(plain.dir.path(), secret.path());
    key_dict(secret.path(), &plaintext());
    kind("encrypted tablets", secret)
}

fn titan() -> Kind {
    let dir = plain();
    titan::keep(&dir.path().join("db"), 10_000, &data_key(b"big", 22), &[b'T'; 500]);
    kind("titan", dir)
}

fn wal_elsewhere() -> Kind {
    let (dir, wal) = (plain(), tempfile::tempdir().unwrap());
    for (path, bytes) in contents(&dir.path().join("db")) {
        if path.extension().is_some_and(|e| e == "log") {
            std::fs::write(wal.path().join(path.file_name().unwrap()), bytes).unwrap();
            std::fs::remove_file(path).unwrap();
        }
    }
    let config = wal.path().join("tikv.toml");
    std::fs::write(&config, format!("[rocksdb]\nwal-dir = \"{}\"\n", wal.path().display())).unwrap();
    let mut kind = kind("wal-dir", dir);
    kind.flags.extend(["--config".to_owned(), config.to_str().unwrap().to_owned()]);
    kind.wal_dir = Some(wal.path().to_owned());
    kind._others.push(wal);
    kind
}

fn kinds() -> Vec<Kind> {
    vec![kind("plain", plain()), encrypted(), tablets(), encrypted_tablets(), titan(), wal_elsewhere()]
}

impl Kind {
    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    fn is_titan(&self) -> bool {
        self.dir.path().join("db/titandb").is_dir()
    }

    /// Checks that RocksDB and raft-engine open a copy and read the same as our readers.
    fn engines_agree(&self) {
        let copy = tempfile::tempdir().unwrap();
        if self.dir.path().join("file.dict").is_file() {
            decrypt(self.dir.path(), copy.path());
        } else {
            copy_dir(self.dir.path(), copy.path());
        }
        if let Some(wal_dir) = &self.wal_dir {
            copy_dir(wal_dir, &copy.path().join("db"));
        }
        let tablets = std::fs::read_dir(copy.path().join("tablets"));
        let dbs: Vec<PathBuf> = match tablets {
            Ok(dirs) => dirs.map(|dir| dir.unwrap().path()).collect(),
            Err(_) => vec![copy.path().join("db")],
        };
        for db in dbs {
            self.rocksdb_agrees(&db);
        }
        let raft = copy.path().join("raft-engine");
        let ours = tikv_ctl::raft_engine::RaftEngineDir::open(&raft, None, &Keyring::default()).unwrap();
        let theirs = RaftLogEngine::open(&raft, &RaftEngineConfig::small()).unwrap();
        for group in ours.groups() {
            let state = theirs.get_raft_state(group).unwrap();
            let state = state.map(|state| prost::Message::encode_to_vec(&state));
            assert_eq!(state.as_deref(), ours.get(group, b"R"), "{}: region {group}", self.name);
        }
        assert_eq!(theirs.raft_groups(), ours.groups().collect::<Vec<_>>(), "{}", self.name);
    }

    fn rocksdb_agrees(&self, db: &Path) {
        let ours = Db::open(db, None, &Keyring::default()).unwrap();
        let families: Vec<String> = ours.families().map(|family| family.name().to_owned()).collect();
        let mut read = Vec::new();
        for cf in &families {
            let (mut iter, mut all) = (ours.scan(cf, b"", b"").unwrap(), Vec::new());
            while iter.advance().unwrap() {
                all.push((iter.key().to_vec(), iter.value().to_vec()));
            }
            read.push(all);
        }
        let options = rocksdb::Options::default();
        let theirs = match self.is_titan() {
            // RocksDB does not flush the records of Titan's WAL.
            true => rocksdb::DB::open_cf_for_read_only(&options, db, &families, false).unwrap(),
            false => rocksdb::DB::open_cf(&options, db, &families).unwrap(),
        };
        for (cf, ours) in families.iter().zip(read) {
            if self.is_titan() && cf == "default" {
                // RocksDB alone does not read blobs: only the other keys are compared.
                let handle = theirs.cf_handle(cf).unwrap();
                let plain = ours.iter().filter(|(key, _)| theirs.get_cf(&handle, key).is_ok());
                assert!(plain.clone().count() + 1 >= ours.len() || self.name == "given");
                for (key, value) in plain {
                    assert_eq!(theirs.get_cf(&handle, key).unwrap().as_ref(), Some(value));
                }
                continue;
            }
            let handle = theirs.cf_handle(cf).unwrap();
            let iter = theirs.iterator_cf(&handle, rocksdb::IteratorMode::Start).map(Result::unwrap);
            let all: Vec<_> = iter.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            assert!(all == ours, "{}: CF {cf} of {}", self.name, db.display());
        }
    }
}

const COMMANDS: &[&[&str]] = &[
    &["tombstone", "-r", "4", "--force"],
    &["unsafe-recover", "remove-fail-stores", "-s", "9", "-r", "2,4"],
    &["unsafe-recover", "drop-unapplied-raftlog", "-r", "2"],
    &["recover-mvcc", "--all"],
    &["reset-to-version", "-v", "15"],
    &["flashback", "-v", "15"],
];

#[test]
fn each_command_is_undone_on_each_kind_of_directory() {
    let all = kinds();
    for args in COMMANDS {
        let mut plain = None;
        for kind in &all {
            // States of tablets have their own indexes, the store's state is not data, and Titan's directory
            // has another value.
            let is_data = |line: &&str| line.starts_with("key: \"z");
            let data = |shown: String| shown.lines().filter(is_data).map(str::to_owned).collect::<Vec<_>>();
            let between = there_and_back(&kind.flags(), args, &mut || kind.engines_agree());
            kind.engines_agree();
            // The tablet of a tombstone belongs to no region.
            if kind.is_titan() || args[0] == "tombstone" {
                continue;
            }
            let between = data(between);
            assert_eq!(plain.get_or_insert(between.clone()), &between, "{args:?} on {}", kind.name);
        }
    }
}

#[test]
fn flashed_back_values_are_read_from_each_kind_of_directory() {
    for kind in kinds() {
        let undo = kind.dir.path().with_extension("undo");
        let how = ["--yes", "--undo-file", undo.to_str().unwrap(), "--start-ts", "100"];
        let (code, out, err) = ctl(&[&["flashback", "-v", "15"][..], &how, &kind.flags()].concat());
        assert!(code == 0 && out.contains("start_ts 100"), "{}: {out}{err}", kind.name);
        let find = ["find", "big", "--key-format", "raw", "--format", "json"];
        let (_, out, err) = ctl(&[&find[..], &kind.flags()].concat());
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        let value = found[0]["read"]["returned_value"].to_string();
        assert!(value.contains(&"42".repeat(300)), "{}: {value}{err}", kind.name);
        let (code, out, err) =
            ctl(&[&["undo", undo.to_str().unwrap(), "--yes"][..], &kind.flags()[2..]].concat());
        assert_eq!(code, 0, "{}: {out}{err}", kind.name);
        let (_, out, _) = ctl(&[&find[..], &kind.flags()].concat());
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        let value = found[0]["read"]["returned_value"].to_string();
        let now = if kind.is_titan() { "54".repeat(500) } else { "4E".repeat(400) };
        assert!(value.contains(&now), "{}: {value}", kind.name);
        std::fs::remove_file(undo).unwrap();
    }
}

#[test]
fn a_rollback_is_marked_in_the_commit_at_its_timestamp() {
    // The transaction that holds the lock started at 24, when another one was committed.
    let overlapped = || {
        let dir = plain();
        let store = Store::open(dir.path());
        store.put_version(b"over", 22, 24, b"old");
        store.put_version(b"over", 26, 27, b"next");
        store.put_version(b"over", 28, 29, b"last");
        store.put_lock(b"over", 24);
        dir
    };
    let (first, second) = (overlapped(), overlapped());
    for kind in [kind("plain", overlapped()), encrypted_from(&first), tablets_from(&second)] {
        let found = || ctl(&[&["find", "over", "--key-format", "raw"][..], &kind.flags()].concat()).1;
        assert!(!found().contains("and a rollback at this timestamp"), "{}: {}", kind.name, found());
        there_and_back(&kind.flags(), &["flashback", "-v", "25"], &mut || {
            let out = found();
            assert!(
                out.contains("started at 22, value here, and a rollback at this timestamp, GC fence 27"),
                "{out}"
            );
            kind.engines_agree();
            // The mark ends the transaction: a second run finds nothing of it to do.
            let again = ["flashback", "-v", "25", "--dry-run"];
            let (code, out, err) = ctl(&[&again[..], &kind.flags()].concat());
            assert!(code == 0 && !out.contains("transaction 24 "), "{}: {out}{err}", kind.name);
        });
    }
}

#[test]
fn a_tombstone_is_written_where_tikv_reads_it() {
    let kind = tablets();
    let (code, out, err) =
        ctl(&[&["tombstone", "-r", "4", "--force", "--dry-run"][..], &kind.flags()].concat());
    // The newest state is at index 300.
    let key = format!("key 03{:016X}", 300);
    assert!(code == 0 && out.contains(&key) && out.contains("state: Tombstone"), "{out}{err}");
    let args = ["recover-mvcc", "--all", "--dry-run"];
    let (_, out, _) = ctl(&[&args[..], &kind.flags()].concat());
    assert!(out.contains("tablets/4_5, CF default, key") && out.contains("1 changes"), "{out}");
    let args = ["recreate-region", "-r", "4", "-p", "127.0.0.1:1"];
    let (code, _, err) = ctl(&[&args[..], &kind.flags()].concat());
    assert!(code == 1 && err.contains("needs a tablet") && err.contains("pd-ctl"), "{err}");
}

#[test]
fn any_lock_protects_a_directory_in_use() {
    let tombstone = ["tombstone", "-r", "4", "--force", "--yes", "--undo-file", "/dev/null/x"];
    let recover = ["recover-mvcc", "--all", "--yes", "--undo-file", "/dev/null/x"];
    let kind = tablets();
    let refused = |args: &[&str]| {
        let (code, _, err) = ctl(&[args, &kind.flags()].concat());
        assert!(code == 1 && err.contains("LOCK") && err.contains("stop the server"), "{err}");
    };
    let held = RaftLogEngine::open(kind.dir.path().join("raft-engine"), &RaftEngineConfig::small()).unwrap();
    refused(&tombstone);
    drop(held);
    let held = RocksEngine::open(kind.dir.path().join("tablets/4_5"), &DbConfig::small()).unwrap();
    refused(&recover);
    drop(held);
    let held = std::fs::File::create(kind.dir.path().join("LOCK")).unwrap();
    held.try_lock().unwrap();
    refused(&tombstone);
}

#[test]
fn unreplayable_changes_are_refused_before_any_write() {
    let kind = kind("plain", plain());
    for (path, bytes) in contents(&kind.dir.path().join("db")) {
        // The first record of the oldest log is damaged: the store's states are in SSTs.
        if path.extension().is_some_and(|e| e == "log") {
            let mut bytes = bytes;
            bytes.iter_mut().take(20).for_each(|byte| *byte ^= 1);
            std::fs::write(path, bytes).unwrap();
        }
    }
    let before = contents(kind.dir.path());
    let undo = kind.dir.path().with_extension("undo");
    let args = ["tombstone", "-r", "4", "--force", "--yes", "--undo-file", undo.to_str().unwrap()];
    let (code, _, err) = ctl(&[&args[..], &kind.flags()].concat());
    assert!(code == 1 && err.contains("before its first change"), "{err}");
    assert!(before == contents(kind.dir.path()) && !undo.exists(), "not even an undo file");
}

#[test]
fn half_applied_changes_are_undone() {
    let dir = plain();
    let path = dir.path().to_str().unwrap();
    let (flags, undo) = (["--data-dir", path], dir.path().with_extension("undo"));
    let before = shown(&flags);
    let raft = contents(&dir.path().join("raft-engine"));
    let args = ["unsafe-recover", "drop-unapplied-raftlog", "-r", "2", "--yes", "--undo-file"];
    let (code, out, err) = ctl(&[&args[..], &[undo.to_str().unwrap()], &flags].concat());
    assert_eq!(code, 0, "{out}{err}");
    // Simulates a failure before the change of raft-engine.
    for (path, bytes) in &raft {
        std::fs::write(path, bytes).unwrap();
    }
    assert_ne!(before, shown(&flags));
    let (code, out, err) = ctl(&["undo", undo.to_str().unwrap(), "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(before, shown(&flags));
    std::fs::remove_file(undo).unwrap();
}

#[test]
fn the_raft_state_in_rocksdb_is_written() {
    let dir = plain();
    let engine = tikv_ctl::raft_engine::RaftEngineDir::open(
        &dir.path().join("raft-engine"),
        None,
        &Keyring::default(),
    )
    .unwrap();
    let raft = RocksEngine::open(dir.path().join("raft"), &DbConfig::small()).unwrap();
    for id in engine.groups() {
        raft.put(&keys::raft_state_key(id), engine.get(id, b"R").unwrap()).unwrap();
        for index in 6..=7 {
            let entry = engine.entry(id, index).unwrap().unwrap();
            raft.put_msg(&keys::raft_log_key(id, index), &entry).unwrap();
        }
    }
    drop(raft);
    std::fs::remove_dir_all(dir.path().join("raft-engine")).unwrap();
    let flags = ["--data-dir", dir.path().to_str().unwrap()];
    let args = ["unsafe-recover", "drop-unapplied-raftlog", "-r", "2"];
    let between = there_and_back(&flags, &args, &mut || {
        let raft = RocksEngine::open(dir.path().join("raft"), &DbConfig::small()).unwrap();
        let state: Option<kvproto::raft_serverpb::RaftLocalState> =
            raft.get_msg(&keys::raft_state_key(2)).unwrap();
        assert_eq!(state.map(|state| state.last_index), Some(6));
    });
    assert!(between.contains("\"last_index\": 6"), "{between}");
}

#[test]
fn an_encrypted_raft_log_is_repaired_and_undone() {
    let kind = encrypted();
    let raft = kind.dir.path().join("raft-engine");
    let other = tempfile::tempdir().unwrap();
    let place = |name: &str| other.path().join(name).to_str().unwrap().to_owned();
    let (script, undo) = (place("script.rhai"), place("undo.json"));
    let text = "fn filter_append(id, first, count, rewrite_count, queue, ifirst, ilast) { if id == 4 { 1 } else { 0 } }";
    std::fs::write(&script, text).unwrap();
    let path = raft.to_str().unwrap();
    let repair = |args: &[&str]| {
        ctl(&[&["raft-engine-ctl", "--", "repair", "-p", path, "-q", "all", "-s", &script], args].concat())
    };
    let entry =
        |region: &str| ctl(&[&["raft", "log", "-r", region, "-i", "7"][..], &kind.flags()].concat()).0;
    let plain_files = || {
        let copy = tempfile::tempdir().unwrap();
        decrypt(kind.dir.path(), copy.path());
        contents(&copy.path().join("raft-engine")).into_values().collect::<Vec<_>>()
    };
    let before = plain_files();
    let (code, out, err) = repair(&["--dry-run"]);
    assert!(code == 0 && out.contains("- group 4: entry 6") && !out.contains("- group 2"), "{out}{err}");
    let (code, out, err) = repair(&["--yes", "--undo-file", &undo]);
    assert_eq!((code, out.as_str()), (0, "Repair is done\n"), "{err}");
    assert_eq!((entry("2"), entry("4")), (0, 255));
    kind.engines_agree();
    let (code, out, err) = ctl(&["undo", &undo, "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(before == plain_files(), "undo restores every byte");
    assert_eq!(entry("4"), 0);
}

/// Runs on directories of another program: `WRITE_DIRS=DIR[:DIR...]`. Only copies of them are changed.
#[test]
fn copies_of_given_directories_are_written_and_restored() {
    for given in std::env::var_os("WRITE_DIRS").iter().flat_map(|dirs| std::env::split_paths(dirs)) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&given, copy.path());
        let mut kind = kind("given", copy);
        let config = given.with_extension("toml");
        if config.is_file() {
            kind.flags.extend(["--config".to_owned(), config.to_str().unwrap().to_owned()]);
        }
        for args in [&["reset-to-version", "-v", "1"][..], &["flashback", "-v", "1"]] {
            there_and_back(&kind.flags(), args, &mut || kind.engines_agree());
            kind.engines_agree();
            println!("{}: {args:?}", given.display());
        }
    }
}

#[test]
fn a_write_record_is_where_rocksdb_reads_it() {
    let kind = encrypted();
    let (code, _, err) =
        ctl(&[&["reset-to-version", "-v", "15", "--yes", "--undo-file", "/dev/null/x"][..], &kind.flags()]
            .concat());
    assert!(code == 1 && err.contains("undo file") && err.contains("nothing was changed"), "{err}");
    let undo = kind.dir.path().with_extension("undo");
    let args = ["reset-to-version", "-v", "15", "--yes", "--undo-file", undo.to_str().unwrap()];
    assert_eq!(ctl(&[&args[..], &kind.flags()].concat()).0, 0);
    let copy = tempfile::tempdir().unwrap();
    decrypt(kind.dir.path(), copy.path());
    let kv = RocksEngine::open(copy.path().join("db"), &DbConfig::small()).unwrap();
    let at = |key: &[u8], ts| kv.get_value_cf(CF_WRITE, &data_key(key, ts)).unwrap();
    assert!(at(b"a", 11).is_some() && at(b"a", 21).is_none() && at(b"zz", 23).is_none());
    std::fs::remove_file(undo).unwrap();
}
