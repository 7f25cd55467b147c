//! A crate imports crates on lower floors only, and a file holds one idea.
use std::{collections::BTreeMap, fs};

use tidy::{files, root, sources};

const FLOORS: &[(&str, u32)] = &[
    ("workspace-hack", 0),
    ("histories", 1),
    ("manual", 1),
    ("prerequisites", 1),
    ("tracepoints-input", 9),
    ("tracepoints", 10),
    ("tracepoints-profile", 11),
    ("tracepoints-export", 12),
    ("tracepoints-sampler", 13),
    ("kvproto", 20),
    ("security", 20),
    ("coprocessor_plugin_api", 20),
    ("keys", 21),
    ("txn_types", 22),
    ("api_version", 22),
    ("engine_rocks", 23),
    ("raft_log_engine", 23),
    ("store_files", 23),
    ("tikv_kv", 24),
    ("store_files_checks", 24),
    ("store_files-fuzz", 25),
    ("pd", 30),
    ("storage", 30),
    ("raftstore", 30),
    ("server", 31),
    ("recipes", 40),
    ("tikv-ctl", 40),
    ("tikv-tui", 50),
    ("tidy", 60),
];

/// Files that may be longer than 800 lines, with the reason.
const LONG: &[(&str, &str)] = &[];

#[test]
fn crates_import_downwards_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut seen = 0;
    for manifest in files(&root().unwrap(), &["toml"]).unwrap().iter().filter(|p| p.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(manifest).unwrap();
        let name = text.lines().find_map(|l| l.strip_prefix("name = \"")).map(|n| n.trim_end_matches('"'));
        let Some(name) = name else { continue };
        let floor = *floors.get(name).unwrap_or_else(|| panic!("{name} has no floor in {}", file!()));
        seen += 1;
        for dependency in dependencies(&text) {
            if let Some(below) = floors.get(dependency) {
                assert!(*below < floor, "{name} (floor {floor}) may not import {dependency} (floor {below})");
            }
        }
    }
    assert_eq!(seen, FLOORS.len(), "every crate of the list exists");
}

/// The names under `[dependencies]` in a manifest.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let table = manifest.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    table.lines().filter_map(|line| line.split(['.', ' ', '=']).next())
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    for (path, text) in sources().unwrap() {
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(p, _)| path.ends_with(p));
        assert!(
            lines <= 800 || excused,
            "{}: expected at most 800 lines, found {lines}: split the file by idea",
            path.display()
        );
    }
}

#[test]
fn the_guide_lists_each_crate_with_its_floor() {
    let page = fs::read_to_string(root().unwrap().join("docs/src/architecture.md")).unwrap();
    for (name, floor) in FLOORS {
        let row = format!("| {floor} | `{name}` |");
        assert!(page.contains(&row), "docs/src/architecture.md has no row with {row}");
    }
    let rows = page.lines().filter(|line| line.split(" | ").nth(1).is_some_and(|n| n.parse::<u32>().is_ok()));
    assert_eq!(rows.count(), FLOORS.len(), "the guide lists no other crates");
}

#[test]
fn each_crate_has_its_invariants() {
    let page = fs::read_to_string(root().unwrap().join("docs/src/architecture.md")).unwrap();
    let (_, invariants) = page.split_once("\n## Invariants\n").unwrap();
    let headings: Vec<&str> = invariants.lines().filter(|line| line.starts_with("### ")).collect();
    for (name, _) in FLOORS {
        let quoted = format!("`{name}`");
        assert!(
            headings.iter().any(|heading| heading.contains(&quoted)),
            "docs/src/architecture.md: expected a heading with {quoted} below Invariants, found none"
        );
    }
}
