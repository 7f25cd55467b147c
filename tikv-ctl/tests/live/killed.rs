//! Data directories as kill -9 leaves them, or copied while the server writes.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use security::SecurityConfig;
use serde_json::Value;
use tempfile::TempDir;
use tikv_client::RawClient;

use crate::{cluster::Cluster, common::ctl};

type Said = (u8, String, String);

fn run(mode: [&str; 2], line: &str) -> Said {
    ctl(&mode.into_iter().chain(line.split(' ')).collect::<Vec<_>>())
}

fn json(mode: [&str; 2], line: &str) -> Value {
    let (code, out, err) = run(mode, &format!("--format json {line}"));
    assert_eq!(code, 0, "{line}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// Copies the files of `from` while a server may be writing; skips files that vanish during the copy.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else if let Ok(bytes) = std::fs::read(&path) {
            std::fs::write(place, bytes).unwrap();
        }
    }
}

fn copied(from: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}

/// Commands with the same output on a server and on its directory.
const SHARED: &[&str] = &[
    "raft region --all-regions",
    "size",
    "size -c default,write,lock",
    "scan -f z -t { --show-cf default,lock,write",
    "scan -f z --limit 7 --show-cf write",
    "scan -f zk -t zl --show-cf lock,write --start-ts 1",
    "raw-scan -f z -t { --limit 100000",
    "raw-scan -f z -t { --limit 100000 --cf write",
    "raw-scan -f z -t { --limit 100000 --cf lock",
    "raw-scan --limit 100000 --cf raft",
    "mvcc -k k0007 --key-format raw --show-cf default,lock,write",
    "mvcc -k gone --key-format raw --show-cf default,lock,write",
    "print -k zraw:keep",
    "print -k zraw:gone3",
    "bad-regions",
    "store",
    "show-cluster-id",
];

/// Returns the shared commands, and one for each log entry of all regions.
fn lines(regions: &Value) -> Vec<String> {
    let mut lines: Vec<String> = SHARED.iter().map(|line| (*line).to_owned()).collect();
    for (id, info) in regions["region_infos"].as_object().unwrap() {
        let first = info["raft_apply_state"]["truncated_state"]["index"].as_u64().unwrap_or(0) + 1;
        let last = info["raft_local_state"]["last_index"].as_u64().unwrap_or(0);
        lines.extend((first..=last).map(|index| format!("raft log -r {id} -i {index}")));
        lines.push(format!("region -r {id}"));
        lines.push(format!("size -r {id}"));
    }
    lines
}

/// Writes values of all sizes, deletes, a deleted range, four regions, several SSTs and logs.
fn written(cluster: &Cluster) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut truth: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    let mut put = |key: String, value: Option<Vec<u8>>| {
        cluster.write(&[(key.as_bytes(), value.as_deref())]);
        truth.insert(key.into_bytes(), value);
    };
    let flush = |cf: &str| assert_eq!(run(["--host", &cluster.host()], &format!("compact -c {cf}")).0, 0);
    let split = |region: &str, key: &str| {
        let (code, out, err) = run(["--pd", &cluster.pd()], &format!("split-region -r {region} -k {key}"));
        assert_eq!(code, 0, "{out}{err}");
    };
    for (number, len) in [0, 1, 100, 254, 255, 256, 257, 5000, 200_000].into_iter().enumerate() {
        put(format!("k{number:04}"), Some(vec![number as u8; len]));
    }
    put("gone".into(), Some(b"x".to_vec()));
    flush("write");
    split("2", "k0004");
    put("gone".into(), None);
    for number in 0..60 {
        put(format!("m{number:04}"), Some(vec![b'm'; number * 40]));
    }
    flush("default");
    for number in 0..10 {
        put(format!("k{number:04}"), (number % 3 > 0).then(|| vec![b'2'; 300 * number]));
    }
    cluster.block_on(async {
        let raw = RawClient::new(vec![cluster.pd()]).await.unwrap();
        raw.put(b"raw:keep".to_vec(), vec![7; 1000]).await.unwrap();
        for number in 0..5 {
            raw.put(format!("raw:gone{number}").into_bytes(), b"r".to_vec()).await.unwrap();
        }
        raw.delete_range(b"raw:gone".to_vec()..b"raw:gonf".to_vec()).await.unwrap();
        raw.put(b"raw:gone3".to_vec(), b"again".to_vec()).await.unwrap();
        raw.delete(b"raw:none".to_vec()).await.unwrap();
    });
    split("2", "m0030");
    truth
}

/// Returns the kinds of entries in the logs.
fn kinds(mode: [&str; 2], lines: &[String]) -> BTreeSet<String> {
    let entries = lines.iter().filter(|line| line.starts_with("raft log"));
    let kind = |line: &String| {
        let entry = json(mode, line);
        let request = &entry["request"];
        match entry["entry_type"].as_str().unwrap() {
            "EntryNormal" if request.is_null() => "empty".to_owned(),
            "EntryNormal" => match request["admin_request"]["cmd_type"].as_str() {
                Some(kind) => kind.to_owned(),
                None => request["requests"][0]["cmd_type"].as_str().unwrap_or("none").to_owned(),
            },
            other => other.to_owned(),
        }
    };
    entries.map(kind).collect()
}

#[test]
fn a_killed_servers_directory_prints_the_same_as_the_server() {
    check_copy(1);
}

/// Acknowledged writes are on a quorum: with two stores, on both.
#[test]
fn one_of_two_directories_prints_the_same_as_the_servers() {
    check_copy(2);
}

/// Removes the leaders, which only a server has.
fn without_leaders(text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(infos) = value.get_mut("region_infos").and_then(Value::as_object_mut) {
        infos.values_mut().filter_map(Value::as_object_mut).for_each(|info| drop(info.remove("leader")));
    }
    value.to_string()
}

/// Copies the directory when writing has stopped: heartbeats and log truncations come in between. Returns the command
/// lines, what the server answers to them before and after the copy, and the copy.
fn settled(cluster: &Cluster, server: [&str; 2]) -> (Vec<String>, Vec<Said>, TempDir) {
    for _ in 0..30 {
        let lines = lines(&json(server, "raft region --all-regions"));
        let answers = || lines.iter().map(|line| run(server, line)).collect::<Vec<Said>>();
        let before = answers();
        let dir = copied(&cluster.data_dir());
        if before == answers() {
            return (lines, before, dir);
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    panic!("the server does not come to rest");
}

fn check_copy(stores: usize) {
    let cluster = Cluster::start(stores, SecurityConfig::default());
    let truth = written(&cluster);
    let host = cluster.host();
    let server = ["--host", host.as_str()];
    // Before the logs are truncated, and after the entries that a split writes.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let early = copied(&cluster.data_dir());
    let early = ["--data-dir", early.path().to_str().unwrap()];
    let mut known = kinds(early, &lines(&json(early, "raft region --all-regions")));
    cluster.until("a log is truncated", || {
        let (_, out, _) = run(server, "--format json raft region --all-regions");
        let regions: Value = serde_json::from_str(&out).unwrap_or_default();
        let infos = regions["region_infos"].as_object().cloned().unwrap_or_default();
        infos.values().any(|info| info["raft_apply_state"]["truncated_state"]["index"].as_u64() > Some(5))
    });
    let (lines, before, dir) = settled(&cluster, server);
    let path = dir.path().to_str().unwrap();
    let copy = ["--data-dir", path];
    let mut failed = Vec::new();
    for (line, (code, out, err)) in lines.iter().zip(&before) {
        // Names of functions differ between the modes.
        let bare = |text: &str| text.replace("DebugClient", "Debugger").replace("RpcFailure: ", "");
        let (found, text, notes) = run(copy, line);
        if found != *code
            || (*code == 0 && bare(&without_leaders(&text)) != bare(&without_leaders(out)))
            || !notes.is_empty()
            || !err.is_empty()
        {
            failed.push(format!("{line}: {code} {out}{err}\n  in the copy: {found} {text}{notes}"));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), lines.len(), failed.join("\n"));
    known.extend(kinds(copy, &lines));
    for kind in ["Put", "Delete", "DeleteRange", "BatchSplit", "CompactLog", "empty"] {
        assert!(known.contains(kind), "{kind} in {known:?}");
    }
    for (key, value) in &truth {
        let key = std::str::from_utf8(key).unwrap();
        let found = json(copy, &format!("find {key} --key-format raw"));
        let read = found[0]["read"]["returned_value"].as_str().map(|hex| keys::hex_decode(hex).unwrap());
        assert!(read == *value, "{key}: {found}");
    }
    for line in ["bad-ssts", "lsm", "manifest", "wal", "log", "range-properties"] {
        let (code, _, err) = run(copy, line);
        assert!(code == 0 && err.is_empty(), "{line}: {err}");
    }
}

/// Returns the commits of each key by start timestamp, and the lock on it.
fn rows(copy: [&str; 2]) -> BTreeMap<String, (BTreeSet<u64>, Option<u64>)> {
    let rows = json(copy, "scan -f zx -t zz --show-cf write,lock");
    let row = |row: &Value| {
        let writes = row["writes"].as_array().cloned().unwrap_or_default();
        let starts = writes.iter().map(|write| write["start_ts"].as_u64().unwrap()).collect();
        (row["user_key"].as_str().unwrap().to_owned(), (starts, row["lock"]["start_ts"].as_u64()))
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_copy_of_a_running_server_is_consistent_or_reports_gaps() {
    let cluster = Cluster::start(1, SecurityConfig::default());
    cluster.write(&[(b"x", Some(b"0")), (b"y", Some(b"0"))]);
    let (host, stop) = (cluster.host(), AtomicBool::new(false));
    let copies: Vec<TempDir> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u32;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                // Both keys are in one write batch.
                let value = vec![number as u8; 3000];
                cluster.write(&[(b"x", Some(&value)), (b"y", Some(&value))]);
                if number.is_multiple_of(9) {
                    run(["--host", &host], ["compact -c write", "compact -c default"][number as usize % 2]);
                }
            }
        });
        let copies = (0..12).map(|_| copied(&cluster.data_dir())).collect();
        stop.store(true, Ordering::Relaxed);
        copies
    });
    let mut whole = 0;
    for dir in &copies {
        let copy = ["--data-dir", dir.path().to_str().unwrap()];
        for line in SHARED {
            let (code, out, err) = run(copy, line);
            assert!(code == 0 || !format!("{out}{err}").is_empty(), "{line}");
        }
        let (code, _, notes) = run(copy, "scan -f zx -t zz --show-cf write");
        if code != 0 || !notes.is_empty() {
            assert!(notes.contains(".sst") || notes.contains(".log") || notes.contains("raft"), "{notes}");
            continue;
        }
        whole += 1;
        let rows = rows(copy);
        let ((x, x_lock), (y, y_lock)) = (&rows["x"], &rows["y"]);
        // A transaction commits its primary key first: before that both are locked, after that only the other
        // one.
        assert!(x.difference(y).all(|start| Some(*start) == *y_lock), "{rows:?}");
        assert!(y.difference(x).all(|start| Some(*start) == *x_lock), "{rows:?}");
    }
    println!("{whole} of {} copies are consistent", copies.len());
}
