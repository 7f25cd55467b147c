//! Damages a store in one place after another: every command reports it or prints its earlier output; none
//! panics.
mod common;

use std::{collections::BTreeMap, path::PathBuf};

use common::{Store, contents, ctl, fill};

const COMMANDS: &[&[&str]] = &[
    &["raft", "region", "--limit", "0"],
    &["scan", "-f", "z", "-t", "{", "--show-cf", "default,lock,write", "--key-format", "escaped"],
    &["size"],
    &["region-properties", "-r", "2"],
    &["raft", "log", "-r", "2", "-i", "7"],
];

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    dir
}

/// Runs `args` on `dir`, with the directory's own path removed from the output.
fn run(dir: &str, args: &[&str]) -> (u8, String, String) {
    let offline: Vec<&str> = ["--data-dir", dir].iter().chain(args).copied().collect();
    let (code, out, err) = ctl(&offline);
    (code, out.replace(dir, "DIR"), err.replace(dir, "DIR"))
}

/// Returns the files whose damage matters, and some offsets in each.
fn targets(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(PathBuf, Vec<usize>)> {
    let kinds = ["sst", "log", "raftlog", "rewrite"];
    let matters = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("MANIFEST")
            || name == "CURRENT"
            || path.extension().is_some_and(|extension| kinds.contains(&extension.to_str().unwrap()))
    };
    let places = |bytes: &[u8]| {
        // Preallocated bytes that were never written have no content to damage.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        (0..end).step_by((end / 12).max(1)).collect()
    };
    files
        .iter()
        .filter(|(path, _)| matters(path))
        .map(|(path, bytes)| (path.clone(), places(bytes)))
        .collect()
}

#[test]
fn a_flipped_bit_is_reported_or_changes_nothing() {
    let guard = filled();
    let dir = guard.path().display().to_string();
    let whole: Vec<_> = COMMANDS.iter().map(|args| run(&dir, args)).collect();
    let files = contents(guard.path());
    let mut reported = 0;
    for (path, places) in targets(&files) {
        for at in places {
            let mut bytes = files[&path].clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            for (args, before) in COMMANDS.iter().zip(&whole) {
                let now = run(&dir, args);
                let says = now.0 != 0 || !now.2.is_empty();
                reported += usize::from(says);
                let place = format!("{} at byte {at}, {args:?}: {now:?}", path.display());
                assert!(says || now == *before, "{place}");
            }
        }
        std::fs::write(&path, &files[&path]).unwrap();
    }
    assert!(reported > 100, "only {reported} damages were reported");
}

#[test]
fn a_truncated_file_is_reported_or_changes_nothing() {
    let guard = filled();
    let dir = guard.path().display().to_string();
    let files = contents(guard.path());
    for (path, places) in targets(&files) {
        for at in places {
            std::fs::write(&path, &files[&path][..at]).unwrap();
            for args in COMMANDS {
                let (code, out, err) = run(&dir, args);
                let torn = path.extension().is_some_and(|e| e == "log" || e == "raftlog" || e == "rewrite");
                let place = format!("{} cut to {at}, {args:?}: {out}{err}", path.display());
                // A log may end anywhere: a crash leaves it so.
                let names = ["Not Found", "not found", "no mvcc", "region", "size"];
                let says = code == 0 || !err.is_empty() || names.iter().any(|name| out.contains(name));
                assert!(says, "{place}");
                let other = path.file_name().unwrap().to_str().unwrap();
                assert!(
                    torn || code != 0 || err.contains(other) || !err.is_empty() || !out.is_empty(),
                    "{place}"
                );
            }
        }
        std::fs::write(&path, &files[&path]).unwrap();
    }
}

#[test]
fn a_bad_block_is_skipped_and_its_regions_are_named() {
    let guard = filled();
    let dir = guard.path().display().to_string();
    let scan = COMMANDS[1];
    let (code, whole, _) = run(&dir, scan);
    assert_eq!(code, 0);
    let files = contents(guard.path());
    let mut with_regions = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "sst")) {
        let mut damaged = bytes.clone();
        damaged[2] ^= 1;
        std::fs::write(path, damaged).unwrap();
        let (code, out, err) = run(&dir, scan);
        if err.contains("damage in CF") {
            assert!(code != 0 && err.contains("at byte 0") && err.contains("lost: keys"), "{err}");
            with_regions += usize::from(err.contains("; regions 2"));
            // The data in the WAL is still readable.
            assert!(out.contains("zn") && whole.contains("zn"), "{out}");
        } else {
            assert_eq!(out, whole, "{}", path.display());
        }
        std::fs::write(path, bytes).unwrap();
        std::fs::remove_file(path).unwrap();
        let (code, _, err) = run(&dir, scan);
        assert!(code == 0 || err.contains(path.file_name().unwrap().to_str().unwrap()), "{err}");
        std::fs::write(path, bytes).unwrap();
    }
    assert!(with_regions > 0);
}

#[test]
fn a_log_shows_what_follows_damage() {
    let guard = filled();
    let files = contents(guard.path());
    let (path, bytes) =
        files.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "raftlog")).unwrap();
    let text = path.display().to_string();
    let (code, whole, _) = ctl(&["log", &text]);
    assert!(code == 0 && whole.contains("region 4 entry 7"), "{whole}");
    let mut damaged = bytes.clone();
    // In the first batch, after the file's header.
    damaged[69 + 20] ^= 1;
    std::fs::write(path, &damaged).unwrap();
    let (code, out, err) = ctl(&["log", &text]);
    assert!(code != 0 && err.contains("at byte 69") && err.contains("the next batch is at byte"), "{err}");
    assert!(out.contains("region 4 entry 7") && !out.contains("region 2 entry 7"), "{out}");
}

#[test]
fn a_missing_options_file_is_one_warning() {
    let dir = filled();
    let path = dir.path().to_str().unwrap();
    let whole = run(path, &["size"]);
    assert_eq!((whole.0, whole.2.as_str()), (0, ""));
    for file in std::fs::read_dir(dir.path().join("db")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let (code, out, err) = run(path, &["size"]);
    assert_eq!((code, out), (0, whole.1));
    assert!(err.starts_with("warning: DIR/db: expected an OPTIONS file, found none"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}
