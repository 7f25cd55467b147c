//! `key`, `completions`, `man`, `--output`, `--format jsonl`.
mod common;

use common::{Store, ctl, fill};

fn key_line(args: &[&str], name: &str) -> String {
    let (code, out, err) = ctl(&[&["key"], args].concat());
    assert_eq!(code, 0, "{err}");
    let line =
        out.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {out}"));
    line.trim().to_owned()
}

#[test]
fn one_key_in_any_form_is_explained() {
    assert_eq!(key_line(&["t100_r5"], "TiDB"), "t100_r5: table 100, row 5");
    let hex = "7A7480000000000000FF645F728000000000FF0000050000000000FAFFFFFFFFFFFFFFFE";
    assert_eq!(key_line(&[hex], "TiDB"), "t100_r5: table 100, row 5");
    assert_eq!(key_line(&[hex], "timestamp"), "1 (1970-01-01 00:00:00.000 UTC, logical 1)");
    assert_eq!(key_line(&["0x780000016b"], "keyspace").split(',').next(), Some("1"));
    let index = key_line(&["t1_i2_{7,\"a\"}"], "TiDB");
    assert_eq!(index, "t1_i2_{7,\"a\"}: table 1, index 2, values (7, \"a\")");
    let (code, out, _) = ctl(&["key", "6162"]);
    assert!(code == 0 && out.contains("2 ways") && out.contains("--key-format raw|hex"), "{out}");
    let (code, _, err) = ctl(&["key", "xyz", "--key-format", "hex"]);
    assert!(code == 1 && err.contains("in hexadecimal"), "{err}");
}

#[test]
fn a_value_is_shown_in_every_reading() {
    let (code, out, _) = ctl(&["key", "t1_r1", "--value", "80000100000001010007"]);
    assert!(code == 0 && out.contains("row_v2") && out.contains("column 1: int 7"), "{out}");
}

#[test]
fn a_store_adds_region_and_api_version() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    assert!(key_line(&["a", "--key-format", "raw", "--data-dir", path], "region").starts_with("2 "));
    assert!(key_line(&["n", "--key-format", "raw", "--data-dir", path], "region").starts_with("4 [m, "));
    let (code, out, _) = ctl(&["key", "xabcd", "--data-dir", path, "--format", "json"]);
    assert!(code == 0 && out.contains("\"api_version\": \"V1\""), "{out}");
}

#[test]
fn jsonl_prints_one_value_per_line() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    let (code, out, _) = ctl(&["scan", "--data-dir", path, "-f", "z", "-t", "{", "--format", "jsonl"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().is_object()));
}

#[test]
fn output_goes_to_a_file_outside_of_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let (path, other) = (dir.path().to_str().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("out.txt");
    let (code, out, _) = ctl(&["store", "--data-dir", path, "-o", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("store id: 1\n"));
    let inside = dir.path().join("db/out.txt");
    let (code, _, err) = ctl(&["store", "--data-dir", path, "-o", inside.to_str().unwrap()]);
    assert!(code == 1 && err.contains("outside of the data directory") && !inside.exists(), "{err}");
    // A command that fails before it prints does not change the file.
    let (code, ..) = ctl(&["store", "--data-dir", "/no/such", "-o", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("store id: 1\n"));
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = ctl(&["completions", shell]);
        assert!(code == 0 && out.contains("raw-scan"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (code, ..) = ctl(&["man", dir.path().to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(dir.path().join("tikv-ctl-raft-log.1").exists() && dir.path().join("tikv-ctl.1").exists());
}
