//! Parts of a store in other places by configuration: the Raft log in a RocksDB, logs and the Raft log in
//! other directories.
mod common;

use std::path::{Path, PathBuf};

use common::{Store, ctl, fill};
use engine_rocks::{CF_DEFAULT, DbConfig, RocksEngine};
use prost::Message;
use tikv_ctl::{Offline, StoreConfig, source::Source};

const COMMANDS: [&[&str]; 6] = [
    &["raft", "region", "--all-regions"],
    &["raft", "log", "-r", "4", "-i", "7"],
    &["raft", "log", "-r", "2", "-i", "6"],
    &["bad-regions"],
    &["scan", "-f", "z", "--limit", "9", "--show-cf", "default,lock,write", "--key-format", "escaped"],
    &["size"],
];

fn outputs(dir: &Path, config: &Path) -> Vec<(u8, String)> {
    let place = ["--data-dir", dir.to_str().unwrap(), "--config", config.to_str().unwrap()];
    COMMANDS
        .iter()
        .map(|args| {
            let (code, out, err) = ctl(&[*args, &place].concat());
            assert_eq!(code, 0, "{args:?}: {out}{err}");
            (code, out)
        })
        .collect()
}

/// Writes the Raft log of both regions as TiKV stores it in a RocksDB.
fn to_rocksdb(dir: &Path, raft_dir: &Path) {
    let store = Offline::open(dir, &StoreConfig::default()).unwrap();
    let db = RocksEngine::open(raft_dir, &DbConfig::small()).unwrap();
    for region in [2, 4] {
        let state = store.region_info(region).unwrap().raft_local_state.unwrap();
        db.put_cf(CF_DEFAULT, &keys::raft_state_key(region), &state.encode_to_vec()).unwrap();
        for index in [6, 7] {
            let entry = store.raft_log(region, index).unwrap().encode_to_vec();
            db.put_cf(CF_DEFAULT, &keys::raft_log_key(region, index), &entry).unwrap();
        }
    }
}

fn move_logs(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let logs = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<PathBuf> = logs.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    assert!(!logs.is_empty());
    logs.iter().for_each(|path| std::fs::rename(path, to.join(path.file_name().unwrap())).unwrap());
}

#[test]
fn parts_in_other_places_are_read() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, away) = (home.path(), away.path());
    fill(&Store::open(dir));
    let config = away.join("tikv.toml");
    let set = |text: &str| std::fs::write(&config, text).unwrap();
    set("");
    let want = outputs(dir, &config);
    // raft-engine's directory, and its spill directory.
    let engine = away.join("engine");
    std::fs::rename(dir.join("raft-engine"), &engine).unwrap();
    let (code, _, err) = ctl(&["store", "--data-dir", dir.to_str().unwrap()]);
    assert!(code == 1 && err.contains("raft-engine.dir"), "{err}");
    set(&format!("[raft-engine]\ndir = {engine:?}\n"));
    assert_eq!(outputs(dir, &config), want);
    let spilled = away.join("spilled");
    std::fs::create_dir(&spilled).unwrap();
    let log = "0000000000000001.raftlog";
    std::fs::rename(engine.join(log), spilled.join(log)).unwrap();
    set(&format!("[raft-engine]\ndir = {engine:?}\nspill-dir = {spilled:?}\n"));
    assert_eq!(outputs(dir, &config), want);
    std::fs::rename(spilled.join(log), engine.join(log)).unwrap();
    std::fs::rename(&engine, dir.join("raft-engine")).unwrap();
    // The Raft log in a RocksDB is found, and in another place without configuration it is reported missing.
    to_rocksdb(dir, &dir.join("raft"));
    std::fs::remove_dir_all(dir.join("raft-engine")).unwrap();
    set("");
    assert_eq!(outputs(dir, &config), want);
    let raft = away.join("raftdb");
    std::fs::rename(dir.join("raft"), &raft).unwrap();
    let wals = (away.join("kv-wal"), away.join("raft-wal"));
    move_logs(&dir.join("db"), &wals.0);
    move_logs(&raft, &wals.1);
    let text = "[raft-engine]\nenable = false\n";
    set(&format!(
        "{text}[raftstore]\nraftdb-path = {raft:?}\n[rocksdb]\nwal-dir = {:?}\n[raftdb]\nwal-dir = {:?}\n",
        wals.0, wals.1
    ));
    assert_eq!(outputs(dir, &config), want);
}

/// Runs a command on a directory of any name; returns standard output and whether the command succeeded.
#[cfg(target_os = "linux")]
fn at_any_path(args: &[&str], dir: &Path) -> (String, bool) {
    let words = ["tikv-ctl"].iter().chain(args).chain(&["--data-dir"]).map(std::ffi::OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = tikv_ctl::run(words.chain([dir.as_os_str().to_owned()]), &mut out, &mut err);
    let is_success = format!("{code:?}") == format!("{:?}", std::process::ExitCode::SUCCESS);
    (String::from_utf8(out).unwrap(), is_success)
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_not_utf_8_is_shown_in_json() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = tempfile::tempdir().unwrap();
    let (plain, dir) =
        (home.path().join("plain"), home.path().join(std::ffi::OsStr::from_bytes(b"store-\xff")));
    std::fs::create_dir(&plain).unwrap();
    fill(&Store::open(&plain));
    // RocksDB's library opens paths of UTF-8 only.
    std::fs::rename(&plain, &dir).unwrap();
    let (out, found) = at_any_path(&["find", "a", "--key-format", "raw", "--format", "json"], &dir);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(found && json.is_array() && out.contains("store-\u{fffd}/db/"), "{out}");
    let ssts = std::fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let sst = ssts.filter(|path| path.extension().is_some_and(|e| e == "sst")).min().unwrap();
    let mut bytes = std::fs::read(&sst).unwrap();
    bytes[3] ^= 0xff;
    std::fs::write(&sst, bytes).unwrap();
    let (out, sound) = at_any_path(&["bad-ssts", "--format", "json"], &dir);
    assert!(!sound && out.contains("store-\u{fffd}/db/"), "{out}");
}
