//! A directory copied from a running store, as `kill -9` leaves one. Unflushed WAL data counts as in TiKV's
//! tool, which opens the directory for writing and so flushes it to SSTs.
mod common;

use std::path::Path;

use common::{Store, contents, copy_dir, ctl, fill};
use engine_rocks::{DbConfig, RocksEngine};

fn properties(dir: &Path, args: &[&str]) -> Vec<(String, String)> {
    let (code, out, err) = ctl(&[args, &["--data-dir", dir.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{out}{err}");
    out.lines().map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// Returns the numbers of files: `000012.sst` is 12.
fn numbers(names: &str) -> Vec<u64> {
    names.split(", ").map(|name| name.trim_end_matches(".sst").parse().unwrap()).collect()
}

#[test]
fn unflushed_wal_data_counts_as_the_sst_it_becomes() {
    let (running, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(running.path());
    fill(&store);
    store.put_version(b"n", 30, 31, b"newer");
    copy_dir(running.path(), dead.path());
    drop(store);
    let of = |list: &[(String, String)], name: &str| {
        list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    };
    let commands: [&[&str]; 3] =
        [&["range-properties"], &["region-properties", "-r", "2"], &["region-properties", "-r", "4"]];
    let before: Vec<_> = commands.iter().map(|args| properties(dead.path(), args)).collect();
    let last = contents(&dead.path().join("db"))
        .keys()
        .filter_map(|path| path.file_stem()?.to_str()?.rsplit('-').next()?.parse::<u64>().ok())
        .max()
        .unwrap();
    let all = &before[0];
    assert_eq!((of(all, "mvcc.max_ts"), of(all, "mvcc.max_row_versions")), ("31".into(), "2".into()));
    let write_files = numbers(&of(all, "writecf.sst_files"));
    assert_eq!(write_files.len(), 2);
    assert!(write_files.iter().filter(|number| **number > last).count() == 1, "{write_files:?} after {last}");
    // RocksDB opens the directory and creates the SSTs.
    let mut config = DbConfig::small();
    for cf in [&mut config.defaultcf, &mut config.lockcf, &mut config.writecf, &mut config.raftcf] {
        cf.disable_auto_compactions = true;
    }
    drop(RocksEngine::open(dead.path().join("db"), &config).unwrap());
    for (args, before) in commands.iter().zip(&before) {
        let after = properties(dead.path(), args);
        assert_eq!(before.len(), after.len());
        for ((name, was), (_, is)) in before.iter().zip(&after) {
            if name.ends_with(".sst_files") {
                assert_eq!(numbers(was).len(), numbers(is).len(), "{args:?} {name}");
            } else {
                assert_eq!(was, is, "{args:?} {name}");
            }
        }
    }
}
