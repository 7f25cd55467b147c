//! Commands on a data directory: their text equals TiKV's, and they change nothing.
mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use common::{Store, contents, ctl, fill};
use engine_rocks::{CF_DEFAULT, CF_RAFT, CF_WRITE};
use kvproto::raft_serverpb::{SnapshotCfFile, SnapshotMeta};
use prost::Message;

fn filled() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().display().to_string();
    (dir, path)
}

fn ok(dir: &str, args: &[&str]) -> String {
    let all: Vec<&str> = ["--data-dir", dir].iter().chain(args).copied().collect();
    let (code, out, err) = ctl(&all);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

#[test]
fn text_equals_tikvs() {
    let (_guard, dir) = filled();
    assert_eq!(ok(&dir, &["store"]), "store id: 1\napi version: V1\n");
    assert_eq!(ok(&dir, &["cluster"]), "cluster id: 77\n");
    assert_eq!(ok(&dir, &["bad-regions"]), "all regions are healthy\n");
    assert_eq!(
        ok(&dir, &["raft", "log", "-r", "2", "-i", "7"]),
        "idx_key: \\001\\002\\000\\000\\000\\000\\000\\000\\000\\002\\001\\000\\000\\000\\000\\000\\000\\000\\007\n\
         region: 2\nlog index: 7\nentry term: 6 index: 7\nmsg len: 16\n\
         Normal: header { region_id: 2 } requests { cmd_type: Put put { key: 6B value: 76 } }\n"
    );
    assert_eq!(
        ok(&dir, &["mvcc", "-k", r"za\000\000\000\000\000\000\000\370", "--show-cf", "default,write,lock"]),
        "key: za\\000\\000\\000\\000\\000\\000\\000\\370\n\
         \tlock cf value: start_ts: 30 primary: 61 short_value: 6E6577\n\
         \t write cf value: start_ts: 20 commit_ts: 21 short_value: 7365636F6E64\n\
         \t write cf value: start_ts: 10 commit_ts: 11 short_value: 6669727374\n\n"
    );
    assert_eq!(
        ok(&dir, &["size", "-r", "4"]),
        "region id: 4\ncf default region size: 10B\ncf write region size: 27B\ncf lock region size: 0B\n"
    );
    // The range contains only the region's own keys, all of them in the WAL: the estimate is exact.
    assert_eq!(ok(&dir, &["size", "-r", "4", "--approximate"]), ok(&dir, &["size", "-r", "4"]));
    assert_eq!(
        ok(&dir, &["raw-scan", "-f", "zr", "-t", "zs"]),
        "key: \"zraw\\001\", value: \"plain\"\n\nTotal scanned keys: 1\n"
    );
    assert_eq!(ok(&dir, &["print", "-k", "zraw\\001"]), "value: plain\n");
}

#[test]
fn deleted_rows_and_big_values_show_as_they_are() {
    let (_guard, dir) = filled();
    let out = ok(&dir, &["scan", "-f", "za", "-t", "zz", "--show-cf", "default,write"]);
    let keys: Vec<&str> =
        out.lines().filter_map(|line| line.strip_prefix("key: ")).map(|key| &key[..3]).collect();
    assert_eq!(keys, ["za\\", "zbi", "zn\\"]);
    assert!(out.contains(&format!("\tdefault cf value: start_ts: 10 value: {}", "42".repeat(300))));
}

#[test]
fn keys_are_taken_in_any_form() {
    let (_guard, dir) = filled();
    let want = ok(&dir, &["mvcc", "-k", r"zn\000\000\000\000\000\000\000\370", "--show-cf", "write"]);
    for args in [
        &["-k", "n", "--key-format", "raw"][..],
        &["-k", "0x7a6e00000000000000f8"],
        &["-k", "7A6E00000000000000F8"],
        &["-k", "6e00000000000000f8", "--key-format", "hex"],
        &["-k", r"n\000\000\000\000\000\000\000\370", "--key-format", "escaped"],
    ] {
        let all: Vec<&str> = ["mvcc", "--show-cf", "write"].iter().chain(args).copied().collect();
        assert_eq!(ok(&dir, &all), want, "{args:?}");
    }
    let (code, out, err) = ctl(&["--data-dir", &dir, "mvcc", "-k", "n"]);
    assert_eq!((code, out.as_str()), (255, "from and to should start with \"z\"\n"));
    assert!(err.contains("ambiguous"), "{err}");
}

#[test]
fn json_is_json_for_every_command() {
    let (_guard, dir) = filled();
    for args in EVERY_COMMAND {
        let all: Vec<&str> = args.iter().chain(&["--format", "json"]).copied().collect();
        let out = ok(&dir, &all);
        let value: serde_json::Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"));
        assert!(value.is_object() || value.is_array(), "{args:?}: {out}");
    }
    let out =
        ok(&dir, &["--format", "json", "mvcc", "-k", "a", "--key-format", "raw", "--show-cf", "lock,write"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value[0]["user_key"], "a");
    assert_eq!(value[0]["writes"][0]["commit_ts"], 21);
    assert_eq!(value[0]["lock"]["start_ts"], 30);
}

const EVERY_COMMAND: &[&[&str]] = &[
    &["raft", "region"],
    &["region", "-r", "2"],
    &["raft", "log", "-r", "2", "-i", "7"],
    &["size"],
    &["scan", "-f", "z", "-t", "{", "--show-cf", "default,lock,write", "--key-format", "escaped"],
    &["mvcc", "-k", "a", "--key-format", "raw"],
    &["raw-scan", "--cf", "write"],
    &["print", "-k", "zraw\\001"],
    &["bad-regions"],
    &["region-properties", "-r", "2"],
    &["range-properties"],
    &["store"],
    &["cluster"],
    &["show-cluster-id"],
];

/// Commands that read a directory or its files; `DIR`, `SST`, `OUT` and `META` stand for paths.
const READS: &[&str] = &[
    "raft region --all-regions",
    "raft log -r 2 -i 7",
    "region -r 2",
    "size",
    "size --approximate",
    "scan -f z -t { --show-cf default,lock,write --key-format escaped",
    "raw-scan --limit 1000 --cf write",
    "raw-scan --limit 1000 --cf raft",
    "print -k zraw\\001",
    "mvcc -k a --key-format raw",
    "bad-regions",
    "bad-ssts",
    "region-properties -r 2",
    "range-properties",
    "store",
    "cluster",
    "show-cluster-id",
    "diff -r 2 --to-data-dir DIR",
    "dump-snap-meta -f META",
    "encryption-meta dump-file",
    "decrypt-file --file SST --out-file OUT/plain -y",
    "find a --key-format raw",
    "key t100_r5",
    "raft-engine-ctl -- dump --path DIR/raft-engine",
    "raft-engine-ctl -- check --path DIR/raft-engine",
    "ldb --db=DIR/db list_column_families",
    "ldb --db=DIR/db manifest_dump",
    "ldb --db=DIR/db --column_family=write --hex scan",
    "ldb --db=DIR/db --hex get 0x7A72617701",
    "ldb --db=DIR/db --key_hex multi_get 0x7A72617701 0x7A",
    "ldb --db=DIR/db --column_family=write --hex --count_only dump",
    "ldb --db=DIR/db checkconsistency",
    "sst_dump --file=SST --command=raw",
    "sst_dump --file=SST --command=scan --output_hex",
    "sst_dump --file=SST --command=check",
    "sst_dump --file=SST --command=verify",
    "sst_dump --file=SST --command=none --show_properties",
    "sst SST properties",
    "sst SST layout",
    "sst SST keys",
    "sst SST block",
    "sst SST verify",
    "sst SST recompress",
    "sst SST histogram",
    "manifest DIR",
    "manifest DIR --summary",
    "wal DIR",
    "wal DIR --keys-only",
    "lsm DIR",
    "lsm DIR --svg OUT/levels.svg",
    "log DIR",
    "log DIR --summary",
    "tombstone -r 2 --force --dry-run",
    "recover-mvcc -a --dry-run",
    "unsafe-recover remove-fail-stores -s 99 --all-regions --dry-run",
    "unsafe-recover drop-unapplied-raftlog --all-regions --dry-run",
    "reset-to-version -v 15 --dry-run",
    "flashback -v 15 --dry-run",
    "cleanup-encryption-meta --dry-run",
];

/// Commands that read no directory: they ask a server or PD, read another command's output, or print their
/// own texts.
const OTHERS: [&str; 18] = [
    "metrics",
    "consistency-check",
    "get-region-read-progress",
    "compact",
    "compact-cluster",
    "split-region",
    "fail",
    "modify-tikv-config",
    "recreate-region",
    "undo",
    "completions",
    "man",
    "inflight",
    "keep",
    "kept",
    "flamegraph",
    "help",
    "raft-engine-ctl",
];

#[test]
fn every_reading_command_is_tested() {
    let (_, help, _) = ctl(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: BTreeSet<&str> =
        // Continuation lines have a deeper indentation.
        commands.lines().filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next()).collect();
    let tried = READS.iter().map(|line| line.split(' ').next().unwrap());
    let tried: BTreeSet<&str> = tried.chain(OTHERS).collect();
    let left: Vec<_> = commands.symmetric_difference(&tried).collect();
    assert!(commands.len() > 40 && left.is_empty(), "{left:?} of {commands:?}");
}

/// Runs every command that reads the directory or its files, in all forms.
fn run_everything(dir: &std::path::Path) {
    let (path, other) = (dir.display().to_string(), tempfile::tempdir().unwrap());
    let meta = contents(dir).into_keys().find(|path| path.extension().is_some_and(|e| e == "meta"));
    let (meta, out) = (meta.unwrap().display().to_string(), other.path().display().to_string());
    for file in contents(dir).keys().filter(|path| path.extension().is_some_and(|e| e == "sst")) {
        let places = [("DIR", &path), ("SST", &file.display().to_string()), ("OUT", &out), ("META", &meta)];
        for line in READS {
            let word =
                |word: &str| places.iter().fold(word.to_owned(), |word, (name, to)| word.replace(name, to));
            let line: Vec<String> = line.split(' ').map(word).collect();
            for format in ["text", "json"] {
                let before = ["--data-dir", &path, "--format", format];
                let args: Vec<&str> = before.into_iter().chain(line.iter().map(String::as_str)).collect();
                let (code, out, err) = ctl(&args);
                assert_eq!(code, 0, "{args:?}: {out}{err}");
            }
        }
    }
}

/// Adds files to `filled`: a snapshot's `.meta`, and a `file.dict` without an encrypted file.
fn more(dir: &std::path::Path) {
    let file = SnapshotCfFile { cf: "write".into(), size: 9, checksum: 7 };
    let meta = SnapshotMeta { cf_files: vec![file], ..Default::default() }.encode_to_vec();
    std::fs::create_dir(dir.join("snap")).unwrap();
    std::fs::write(dir.join("snap/rev_2_6_7.meta"), meta).unwrap();
    let info = kvproto::encryptionpb::FileInfo { key_id: 7, iv: vec![1; 16], method: 4 };
    let files = BTreeMap::from([("/data/db/999999.sst".to_owned(), info)]);
    std::fs::write(dir.join("file.dict"), tikv_ctl::encryption::encode_files(2, &files)).unwrap();
}

/// Returns the files that only one side has, or whose bytes differ.
fn changed(a: &BTreeMap<PathBuf, Vec<u8>>, b: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let paths: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    paths.into_iter().filter(|path| a.get(*path) != b.get(*path)).cloned().collect()
}

#[test]
fn no_command_changes_a_byte() {
    let (guard, _) = filled();
    more(guard.path());
    let before = contents(guard.path());
    run_everything(guard.path());
    assert_eq!(changed(&before, &contents(guard.path())), [] as [PathBuf; 0]);
}

#[test]
fn a_running_store_is_read_without_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    fill(&store);
    more(dir.path());
    // RocksDB itself keeps writing its LOG.
    let without_log = || {
        let mut files = contents(dir.path());
        files.retain(|path, _| !path.ends_with("db/LOG"));
        files
    };
    // After a flush RocksDB still drops old logs in the background, and says so in its MANIFEST.
    let mut before = without_log();
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = without_log();
        let quiet = now == before;
        before = now;
        if quiet {
            break;
        }
    }
    run_everything(dir.path());
    assert_eq!(changed(&before, &without_log()), [] as [PathBuf; 0]);
    store.put_version(b"later", 40, 41, b"seen");
    let path = dir.path().display().to_string();
    assert!(ok(&path, &["scan", "-f", "zl", "-t", "zm", "--show-cf", "write"]).contains("commit_ts: 41"));
}

#[test]
fn bad_input_is_one_clear_line() {
    let (guard, dir) = filled();
    let missing = guard.path().join("none").display().to_string();
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display().to_string();
    let file = guard.path().join("db/CURRENT").display().to_string();
    for (args, says) in [
        (vec!["--data-dir", &missing, "store"], "no such directory"),
        (vec!["--data-dir", &empty, "store"], "has no db/"),
        (vec!["--data-dir", &file, "store"], "found a file"),
        (vec!["store"], "is not specified"),
        (vec!["--data-dir", &dir, "mvcc", "-k", "z\\9"], "escaped form"),
        (vec!["--data-dir", &dir, "size", "-c", "nope"], "doesn't exist"),
        (vec!["--data-dir", &dir, "raw-scan", "-f", "zb", "-t", "za"], "greater than from_key"),
        (vec!["sst", &file], "expected an SST"),
        (vec!["sst", &missing], "expected an SST file, found nothing"),
        (vec!["--host", "127.0.0.1:1", "store"], "cannot connect"),
        (vec!["raft-engine-ctl", "--", "dump", "--path", &missing], "no such file"),
    ] {
        let (code, out, err) = ctl(&args);
        assert!(code != 0 && out.is_empty(), "{args:?}: {code} {out}");
        assert!(err.contains(says), "{args:?}: {err}");
        assert_eq!(err.trim_end().lines().count(), 1, "{args:?}: {err}");
    }
    let (code, out, _) = ctl(&["--data-dir", &dir, "raft", "region", "-r", "9"]);
    assert_eq!((code, out.as_str()), (255, "Debugger::region_info: Not Found \"info for region 9\"\n"));
    let (code, out, _) = ctl(&["--data-dir", &dir, "--format", "json", "raft", "region", "-r", "9"]);
    assert_eq!((code, out.contains("\"error\"")), (255, true));
}

/// Tests run as a user who may read every file: links in a circle and directories stand for files that cannot be
/// read.
#[cfg(unix)]
#[test]
fn what_cannot_be_opened_is_named() {
    let other = tempfile::tempdir().unwrap();
    let circle = other.path().join("circle");
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    let text = circle.display().to_string();
    for args in [["--data-dir", &text, "store"], ["--data-dir", &text, "bad-ssts"]] {
        let (code, out, err) = ctl(&args);
        assert!(code != 0 && out.is_empty() && err.trim_end().lines().count() == 1, "{args:?}: {out}{err}");
        assert!(err.contains("circle") && !err.contains("no such directory"), "{args:?}: {err}");
    }
    for is_link in [false, true] {
        let (guard, dir) = filled();
        let files = std::fs::read_dir(guard.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
        let sst = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).min().unwrap();
        std::fs::remove_file(&sst).unwrap();
        if is_link {
            std::os::unix::fs::symlink(sst.file_name().unwrap(), &sst).unwrap();
        } else {
            std::fs::create_dir(&sst).unwrap();
        }
        let (code, out, err) = ctl(&["--data-dir", &dir, "bad-ssts"]);
        let name = sst.file_name().unwrap().to_str().unwrap();
        assert!(code != 0 && format!("{out}{err}").contains(name), "{code} {out}{err}");
    }
}

#[test]
fn half_written_directories_are_reported() {
    let (guard, dir) = filled();
    for name in ["CURRENT", "MANIFEST"] {
        let copy = copy_of(guard.path());
        let db = copy.path().join("db");
        for entry in std::fs::read_dir(&db).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(name) {
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
            }
        }
        let (code, _, err) = ctl(&["--data-dir", &copy.path().display().to_string(), "raft", "region"]);
        // Without CURRENT, the newest MANIFEST is read, and a note says so.
        assert!((code != 0 || name == "CURRENT") && err.contains(name), "{name}: {err}");
    }
    // A missing SST is named.
    let copy = copy_of(guard.path());
    let ssts: Vec<_> =
        contents(copy.path()).into_keys().filter(|p| p.extension().is_some_and(|e| e == "sst")).collect();
    std::fs::remove_file(&ssts[0]).unwrap();
    let (code, _, err) = ctl(&["--data-dir", &copy.path().display().to_string(), "size"]);
    assert!(code != 0 && err.contains(".sst"), "{err}");
    // A flipped bit in a block is found by its checksum.
    let damaged = guard.path().join("damaged.sst");
    let mut bytes =
        std::fs::read(ssts.last().unwrap().to_str().unwrap().replace(copy.path().to_str().unwrap(), &dir))
            .unwrap();
    bytes[3] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    let (code, out, err) = ctl(&["sst", damaged.to_str().unwrap(), "verify"]);
    assert!(
        code != 0 && out.contains("checksum") && err.contains("damaged places reported above: 1;"),
        "{out}{err}"
    );
    // The whole records of a torn WAL are read.
    let copy = copy_of(guard.path());
    let wal = contents(copy.path()).into_keys().rfind(|p| p.extension().is_some_and(|e| e == "log")).unwrap();
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::write(&wal, &bytes[..bytes.len() - 3]).unwrap();
    let out = ok(&copy.path().display().to_string(), &["scan", "-f", "z", "-t", "{", "--show-cf", "write"]);
    assert!(out.contains("commit_ts: 21"));
}

fn copy_of(dir: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in contents(dir) {
        let to = copy.path().join(path.strip_prefix(dir).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
    copy
}

/// A pipe whose reader has closed it.
struct Closed;

impl std::io::Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let (_guard, dir) = filled();
    let mut err = Vec::new();
    let code = tikv_ctl::run(["tikv-ctl", "--data-dir", &dir, "raft", "region"], &mut Closed, &mut err);
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
    assert!(err.is_empty());
}

#[test]
fn approximate_sizes_are_close_if_a_border_divides_a_file() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().display().to_string();
    let store = Store::open(tmp.path());
    for i in 0..4000 {
        store.put_version(format!("k{i:05}").as_bytes(), 10, 11, &vec![b'v'; i % 400]);
    }
    store.put_region(2, b"", b"k01000");
    store.put_region(4, b"k01000", b"");
    store.kv.flush_cfs(&[CF_DEFAULT, CF_WRITE, CF_RAFT], true).unwrap();
    let sizes = |args: &[&str]| {
        let (code, out, err) =
            ctl(&[&["--data-dir", &dir, "--format", "json", "size", "-c", "default,write"], args].concat());
        assert_eq!((code, err.as_str()), (0, ""));
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["approximate"].as_bool().is_some(), !args.is_empty());
        let cfs = json["regions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|region| ["default", "write"].map(|cf| region["cfs"][cf].as_f64().unwrap()));
        cfs.collect::<Vec<f64>>()
    };
    for (exact, near) in sizes(&[]).into_iter().zip(sizes(&["--approximate"])) {
        // The block that contains the border counts on both sides.
        assert!((exact - near).abs() < exact * 0.05 + 36_000.0, "{exact} exact, {near} near");
    }
}
