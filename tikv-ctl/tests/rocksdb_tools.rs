//! `ldb`, `sst_dump` and `bad-ssts` with the flags of RocksDB and TiKV.
mod common;

use std::path::{Path, PathBuf};

use common::{Store, contents, ctl, fill};
use engine_rocks::CF_DEFAULT;

fn store() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    fill(&store);
    store.kv.put_cf(CF_DEFAULT, b"A", b"before z").unwrap();
    store.kv.put_cf(CF_DEFAULT, b"zraw:0001", b"one").unwrap();
    store.kv.put_cf(CF_DEFAULT, b"zraw:0002", b"\x1b[31mtwo").unwrap();
    store.kv.flush_cfs(&[CF_DEFAULT], true).unwrap();
    drop(store);
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

fn ok(args: &[&str]) -> String {
    let (code, out, err) = ctl(args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

fn fails(args: &[&str]) -> String {
    let (code, out, err) = ctl(args);
    assert_eq!(code, 1, "{args:?}: {out}{err}");
    err
}

/// Returns the SSTs of CF default, in the order of their numbers.
fn ssts(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = contents(&dir.join("db")).into_keys().collect();
    all.retain(|path| path.extension().is_some_and(|e| e == "sst"));
    all.sort();
    all
}

fn manifest(dir: &Path) -> PathBuf {
    let current = std::fs::read_to_string(dir.join("db/CURRENT")).unwrap();
    dir.join("db").join(current.trim_end())
}

#[test]
fn keys_of_ldb_are_exact_bytes() {
    let (_dir, path) = store();
    let db = format!("--db={path}/db");
    // ldb adds no prefix: `A` sorts before all data.
    let count = |from: &[&str]| ok(&[&["ldb", &db, "--count_only"][..], from, &["dump"]].concat());
    assert_eq!(count(&["--from=A"]), count(&["--hex", "--from=0x41"]));
    assert_eq!(ok(&["ldb", &db, "--from=A", "--to=B", "scan"]), "A ==> before z\n");
    assert_eq!(ok(&["ldb", &db, "get", "zraw:0001"]), "one\n");
    assert!(fails(&["ldb", &db, "get", "raw:0001"]).contains("NotFound"));
    assert_eq!(ok(&["ldb", &db, "--from=zraw:", "--to=zraw:0002", "scan"]), "zraw:0001 ==> one\n");
    let hex = ["--key_hex", "--from=0x7A7261773A30303031", "--max_keys=1", "--no_value"];
    assert_eq!(ok(&[&["ldb", &db][..], &hex, &["scan"]].concat()), "0x7A7261773A30303031\n");
    let all = ["ldb", &db, "--from=zraw:", "--to=zraw:0002", "--max_keys=-1", "scan"];
    assert_eq!(ok(&all), "zraw:0001 ==> one\n");
    assert_eq!(ok(&["ldb", &db, "--value_hex", "get", "zraw:0001"]), "0x6F6E65\n");
    let found = ok(&["ldb", &db, "multi_get", "zraw:0001", "raw:0001"]);
    assert_eq!(found, "zraw:0001 ==> one\nKey not found: raw:0001\n");
    assert_eq!(ok(&["ldb", &db, "--from=zraw:", "--count_only", "dump"]), "Keys in range: 2\n");
    assert_eq!(ok(&["ldb", &db, "--cf=lock", "--count_only", "dump"]), "Keys in range: 1\n");
    assert_eq!(ok(&["ldb", &db, "checkconsistency"]), "OK\n");
}

#[test]
fn ldb_refuses_unsupported_arguments_in_one_sentence() {
    let (_dir, path) = store();
    let db = format!("--db={path}/db");
    for (args, why) in [
        (&["--ttl", "scan"][..], "TTL DB"),
        (&["--bloom_bits=10", "scan"], "this tool writes nothing"),
        (&["--from=a", "get", "b"], "--from is not an option of get"),
        (&["--column_family=write", "manifest_dump"], "--column_family is not an option of manifest_dump"),
        (&["--nonsense", "scan"], "unknown option --nonsense"),
        (&["--max_keys=many", "scan"], "expected a number"),
        (&["put", "a", "b"], "only reading commands"),
        (&["dump_wal"], "`tikv-ctl wal FILE`"),
        (&["get"], "number of words after get: expected 1, found 0"),
        (&["scan", "more"], "number of words after scan: expected 0, found 1"),
    ] {
        let error = fails(&[&["ldb", db.as_str()][..], args].concat());
        assert!(error.contains(why) && error.lines().count() == 1, "{args:?}: {error}");
    }
    assert!(fails(&["ldb", "scan"]).contains("expected --db=DIR"));
    assert!(ok(&["ldb", "--help"]).contains("--column_family=NAME"));
    assert!(ok(&["sst_dump", "--help"]).contains("--command=check|scan"));
}

#[test]
fn a_manifest_is_dumped_by_its_path() {
    let (dir, path) = store();
    let manifest = manifest(dir.path());
    let by_path = ok(&["ldb", "manifest_dump", &format!("--path={}", manifest.display())]);
    assert_eq!(by_path, ok(&["ldb", &format!("--db={path}/db"), "manifest_dump"]));
    assert!(by_path.contains("Column family \"write\""), "{by_path}");
    let number = ssts(dir.path())[0].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let one = ok(&[
        "ldb",
        &format!("--db={path}/db"),
        &format!("--sst_file_number={number}"),
        "--hex",
        "manifest_dump",
    ]);
    assert!(
        one.starts_with(&format!("{number}:")) && one.contains("] at level 0 for Column family"),
        "{one}"
    );
    let edits = ok(&["ldb", &format!("--path={}", manifest.display()), "manifest_dump", "--verbose"]);
    assert!(edits.contains("last sequence") && edits.contains("+ level 0"), "{edits}");
    assert!(fails(&["ldb", "manifest_dump", "--path=/no/such/file"]).contains("/no/such/file"));
}

#[test]
fn sst_dump_takes_ranges_directories_and_every_command() {
    let (dir, path) = store();
    let with_raw = ssts(dir.path()).into_iter().rev().find(|sst| {
        let rows = ok(&["sst_dump", &format!("--file={}", sst.display()), "--command=scan", "--output_hex"]);
        rows.contains("'7A7261773A30303031'")
    });
    let file = format!("--file={}", with_raw.unwrap().display());
    let rows = |args: &[&str]| {
        let out = ok(&[&["sst_dump", &file, "--command=scan"][..], args].concat());
        out.lines().filter(|line| line.contains(" => ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rows(&["--from=zraw:0001", "--to=zraw:0002"]).len(), 1);
    assert_eq!(rows(&["--from=0x7A7261773A30303031", "--input_key_hex"]).len(), 2);
    assert_eq!(rows(&["--prefix=zraw:"]).len(), 2);
    assert_eq!(rows(&["--read_num=1"]).len(), 1);
    assert!(rows(&["--from=zraw:0002", "--output_hex"])[0].starts_with("'7A7261773A30303032'"));
    // The default command reads without printing entries.
    let checked = ok(&["sst_dump", &file]);
    assert!(checked.ends_with("from [] to []\n"), "{checked}");
    assert!(ok(&["sst_dump", &file, "--command=verify"]).ends_with("The file is ok\n"));
    let raw = ok(&["sst_dump", &file, "--command=raw"]);
    assert!(
        raw.contains("Data Block # 0") && raw.contains("rocksdb.num.entries") && raw.contains("zraw:0001"),
        "{raw}"
    );
    assert!(ok(&["sst_dump", &file, "--command=recompress"]).contains("zstd"));
    let recompress = |args: &[&str]| ok(&[&["sst_dump", &file, "--command=recompress"][..], args].concat());
    let two = recompress(&["--compression_types=kNoCompression,kZSTD"]);
    assert!(two.contains("none") && two.contains("zstd-3"), "{two}");
    assert!(!two.contains("snappy") && !two.contains("zstd-9"), "{two}");
    let plain_bytes = |size: &str| {
        let out = recompress(&["--compression_types=kNoCompression", size]);
        let line = out.lines().find(|line| line.starts_with("none")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // A block for each entry has a list of restart points for each.
    assert!(plain_bytes("--set_block_size=1") > plain_bytes("--set_block_size=1048576"));
    assert!(ok(&["sst_dump", &file, "--command=none", "--list_meta_blocks"]).contains("rocksdb.properties"));
    let all = ok(&["sst_dump", &format!("--file={path}/db"), "--command=check", "--show_summary"]);
    assert_eq!(all.matches("Process ").count(), ssts(dir.path()).len(), "{all}");
    assert!(all.contains(&format!("total number of files: {}", ssts(dir.path()).len())), "{all}");
    assert_eq!(ok(&["sst_dump", "--parse_internal_key=0x610105000000000000"]), "{'61' seq:5, type:1}\n");
    for (args, why) in [
        (&["--command=scan", "--from=a", "--prefix=b"][..], "cannot be given with --from"),
        (&["--command=verify", "--from=a"], "--from is not an option of verify"),
        (&["--command=dance"], "expected one of"),
        (&["--set_block_size=4096"], "belongs to recompress"),
        (&["--command=recompress", "--set_block_size=0"], "expected 1 to"),
        (&["--command=recompress", "--compression_types=kZSTD,kBZip2Compression"], "found kBZip2Compression"),
        (&["--compression_level=3"], "leave it out"),
        (&["--read_num=x"], "expected a number"),
        (&["word"], "unexpected word"),
    ] {
        let error = fails(&[&["sst_dump", file.as_str()][..], args].concat());
        assert!(error.contains(why) && error.lines().count() == 1, "{args:?}: {error}");
    }
    // A file that is not an SST is reported, and the others are read.
    std::fs::write(dir.path().join("db/000001.sst"), b"not an SST").unwrap();
    let (code, out, err) = ctl(&["sst_dump", &format!("--file={path}/db"), "--command=check"]);
    assert!(code == 1 && err.contains("000001.sst") && out.matches("Process ").count() > 1, "{out}{err}");
}

#[test]
fn bad_ssts_reads_the_manifest_that_is_given() {
    let (dir, path) = store();
    let sst = ssts(dir.path()).remove(0);
    let mut bytes = std::fs::read(&sst).unwrap();
    bytes[3] ^= 0xff;
    std::fs::write(&sst, bytes).unwrap();
    let other = tempfile::tempdir().unwrap();
    let moved = other.path().join("mf");
    std::fs::rename(manifest(dir.path()), &moved).unwrap();
    let args = ["--data-dir", &path, "bad-ssts", "--pd", "127.0.0.1:1", "--manifest"];
    let (code, out, _) = ctl(&[&args[..], &[moved.to_str().unwrap()]].concat());
    let number = sst.file_stem().unwrap().to_str().unwrap();
    assert!(code == 1 && out.contains("] at level 0 for Column family"), "{out}");
    assert!(
        out.contains(&format!("\n{}:", number.trim_start_matches('0'))),
        "sequence numbers and size are known: {out}"
    );
    assert!(out.contains("tombstone -r 2 -p 127.0.0.1:1\n"), "{out}");
    let (code, _, err) = ctl(&[&args[..], &["/no/such/file"]].concat());
    assert!(code == 1 && err.contains("/no/such/file"), "{err}");
}

#[test]
fn commands_of_bad_ssts_are_valid_and_undone() {
    let (dir, path) = store();
    let sst = ssts(dir.path()).remove(0);
    let mut bytes = std::fs::read(&sst).unwrap();
    bytes[3] ^= 0xff;
    std::fs::write(&sst, bytes).unwrap();
    let (_, out, _) = ctl(&["--data-dir", &path, "bad-ssts"]);
    let advice = out.lines().find(|line| line.contains("unsafe_remove_sst_file")).unwrap().to_owned();
    let words: Vec<&str> = advice.split(' ').skip(1).collect();
    let before = contents(dir.path());
    let (code, out, err) = ctl(&[&words[..], &["--dry_run"]].concat());
    assert!(code == 0 && out.contains("is no longer live") && before == contents(dir.path()), "{out}{err}");
    let undo = dir.path().with_extension("undo");
    let undo_flag = format!("--undo_file={}", undo.display());
    let held = Store::open(dir.path());
    let error = fails(&[&words[..], &["--yes", &undo_flag]].concat());
    assert!(error.contains("stop the server"), "{error}");
    drop(held);
    let before = contents(dir.path());
    assert_eq!(ok(&[&words[..], &["--yes", &undo_flag]].concat()), "unsafely removed SST file\n");
    let (code, out, err) = ctl(&["--data-dir", &path, "bad-ssts"]);
    assert_eq!(code, 0, "{out}{err}");
    // RocksDB reads the new MANIFEST.
    drop(Store::open(dir.path()));
    for (path, bytes) in &before {
        std::fs::write(path, bytes).unwrap();
    }
    let now: Vec<PathBuf> =
        contents(dir.path()).into_keys().filter(|path| !before.contains_key(path)).collect();
    now.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    std::fs::remove_file(&undo).unwrap();
    ok(&[&words[..], &["--yes", &undo_flag]].concat());
    ok(&["undo", undo.to_str().unwrap(), "--yes"]);
    assert!(before == contents(dir.path()), "undo restores every byte");
    std::fs::remove_file(undo).unwrap();
    let error = fails(&["ldb", &format!("--db={path}/db"), "unsafe_remove_sst_file", "999999", "--yes"]);
    assert!(error.contains("no SST 999999 is live"), "{error}");
}

#[test]
fn logs_in_another_directory_are_read_or_reported_missing() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    let away = tempfile::tempdir().unwrap();
    let config = away.path().join("c.toml");
    std::fs::write(&config, format!("[rocksdb]\nwal-dir = {:?}\n", away.path())).unwrap();
    let config = config.to_str().unwrap();
    let here = [ok(&["--data-dir", path, "lsm"]), ok(&["--data-dir", path, "wal", "--keys-only"])];
    for (from, bytes) in contents(&dir.path().join("db")) {
        if from.extension().is_some_and(|e| e == "log") {
            std::fs::write(away.path().join(from.file_name().unwrap()), bytes).unwrap();
            std::fs::remove_file(from).unwrap();
        }
    }
    let there = ok(&["--data-dir", path, "--config", config, "lsm"]);
    assert_eq!(there, here[0]);
    let batches = |text: &str| text.lines().last().unwrap().to_owned();
    let wal = ok(&["--data-dir", path, "--config", config, "wal", "--keys-only"]);
    assert_eq!(batches(&wal), batches(&here[1]));
    let db = format!("--db={path}/db");
    let count = |args: &[&str]| ok(&[args, &["ldb", &db, "--count_only", "--cf=lock", "dump"]].concat());
    assert_eq!(count(&["--config", config]), "Keys in range: 1\n");
    // Without the configuration the rows in the log are missing, and a note reports that.
    for args in [&["scan", "-f", "z", "-t", "zz"][..], &["lsm"], &["wal"]] {
        let (_, _, err) = ctl(&[&["--data-dir", path][..], args].concat());
        assert!(err.contains("expected a log (WAL") && err.contains("rocksdb.wal-dir"), "{args:?}: {err}");
    }
    // The MANIFEST of a new database has no log number yet.
    let new = tempfile::tempdir().unwrap();
    drop(Store::open(new.path()));
    for (path, _) in contents(&new.path().join("db")) {
        if path.extension().is_some_and(|e| e == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (_, _, err) = ctl(&["ldb", &format!("--db={}/db", new.path().display()), "scan"]);
    assert!(err.contains("expected a log (WAL"), "{err}");
}
