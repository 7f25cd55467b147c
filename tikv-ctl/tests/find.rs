//! `find`: places of a key's versions, and the result of a read.
mod common;

use common::{Store, contents, ctl, fill};
use serde_json::Value;

fn found(path: &str, args: &[&str]) -> Value {
    let (code, out, err) = ctl(&[&["find", "--data-dir", path, "--format", "json"], args].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str::<Value>(&out).unwrap()[0].clone()
}

#[test]
fn versions_are_found_in_the_sst_and_the_wal_in_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    let before = contents(dir.path());
    let key = found(path, &["a", "--key-format", "raw"]);
    let events: Vec<(String, String, u64)> = key["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&event["cf"]), text(&event["places"][0]["in"]), event["time"]["ts"].as_u64().unwrap())
        })
        .collect();
    let want = |cf: &str, place: &str, ts| (cf.to_owned(), place.to_owned(), ts);
    assert_eq!(events, [want("write", "sst", 11), want("write", "wal", 21), want("lock", "wal", 30)]);
    assert_eq!(key["read"]["returned_commit_ts"], 21);
    assert!(key["read"]["lock"].as_str().unwrap().contains("started at 30"));
    let older = found(path, &["a", "--key-format", "raw", "--ts", "15"]);
    assert_eq!(older["read"]["returned_commit_ts"], 11);
    assert_eq!(older["read"]["lock"], Value::Null);
    // The deletion is in the WAL, and the deleted version in the SST.
    let gone = found(path, &["gone", "--key-format", "raw"]);
    assert_eq!(gone["events"].as_array().unwrap().len(), 2, "{gone}");
    assert!(before == contents(dir.path()), "nothing was changed");
}

#[test]
fn the_raft_log_and_raw_keys_are_searched() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().to_str().unwrap();
    // Entry 7 of both regions puts the raw key k.
    let key = found(path, &["k"]);
    let places = key["events"][0]["places"].as_array().unwrap();
    assert_eq!(places.len(), 2, "{key}");
    assert_eq!(places[0]["in"], "raft_log");
    assert_eq!((&places[0]["term"], &places[0]["index"]), (&Value::from(6), &Value::from(7)));
    let (code, out, _) = ctl(&["find", r"raw\001", "--data-dir", path]);
    assert!(code == 0 && out.contains("The key's value now: \"plain\""), "{out}");
}

#[test]
fn a_missing_key_is_reported_with_its_search_forms() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let (code, out, err) = ctl(&["find", "t100_r5", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(code == 1 && out.is_empty() && err.contains(r"t\200") && err.contains("--key-format"), "{err}");
    let (code, _, err) = ctl(&["find", "a", "--host", "127.0.0.1:1"]);
    assert!(code == 2 && err.contains("--host has no effect on find") && err.contains("--data-dir"), "{err}");
}
