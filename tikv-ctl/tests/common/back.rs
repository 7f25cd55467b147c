//! Runs writing commands and undoes them.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{contents, ctl};

/// Returns all output of the tool for the store that `flags` name.
pub fn shown(flags: &[&str]) -> String {
    let text = |args: &[&str]| {
        let (code, out, err) = ctl(&[args, flags].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    let scan = |cf: &str| text(&["raw-scan", "--cf", cf, "--limit", "1000"]);
    [text(&["region"]), scan("default"), scan("write"), scan("lock")].concat()
}

fn of_kind(files: &BTreeMap<PathBuf, Vec<u8>>, kinds: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let is = |path: &Path| path.extension().is_some_and(|e| kinds.contains(&e.to_str().unwrap()));
    files.iter().filter(|(path, _)| is(path)).map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

/// Runs `args` with an undo file, calls `check`, and undoes the change; returns the output in between.
/// `flags` start with --data-dir.
pub fn there_and_back(flags: &[&str], args: &[&str], check: &mut dyn FnMut()) -> String {
    let before = shown(flags);
    let dir = Path::new(flags[1]);
    let other = tempfile::tempdir().unwrap();
    let undo = other.path().join("undo.json");
    let undo = undo.to_str().unwrap();
    let undo = [&["undo", undo, "--yes"], &flags[2..]].concat();
    let bytes = contents(dir);
    let run = |more: &[&str]| ctl(&[args, more, flags].concat());
    let (code, out, err) = run(&["--dry-run"]);
    assert!(code == 0 && out.contains("nothing was changed"), "{args:?}: {out}{err}");
    assert!(bytes == contents(dir), "--dry-run changes no byte");
    let (code, out, err) = run(&["--yes", "--undo-file", undo[1]]);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    let between = shown(flags);
    assert_ne!(before, between, "{args:?} changed something");
    let kept = ["sst", "blob", "rewrite"];
    assert!(of_kind(&bytes, &kept) == of_kind(&contents(dir), &kept), "SSTs stay as they were");
    check();
    let (code, out, err) = ctl(&undo);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    assert_eq!(before, shown(flags), "undo restores {args:?}");
    // A second undo fails: the current values are not those in the undo file.
    let (code, _, err) = ctl(&undo);
    assert!(code == 1 && err.contains("changed since"), "{err}");
    between
}
