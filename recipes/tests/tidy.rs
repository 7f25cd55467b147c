//! Holds the house: who may import whom, that every stage and recipe is used, that the guide is whole.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tracepoints::catalogue::STAGES;

/// Floor of each crate: a crate imports crates on lower floors, or beside it where TiKV's layers do.
const FLOORS: &[(&str, u32)] = &[
    ("prerequisites", 1),
    ("tracepoints-input", 9),
    ("tracepoints", 10),
    ("tracepoints-profile", 11),
    ("tracepoints-export", 12),
    ("kvproto", 20),
    ("security", 20),
    ("keys", 21),
    ("txn_types", 22),
    ("engine_rocks", 23),
    ("raft_log_engine", 23),
    ("tikv_kv", 24),
    ("pd", 30),
    ("storage", 30),
    ("raftstore", 30),
    ("server", 31),
    ("recipes", 40),
    ("tikv-ctl", 40),
    ("tikv-ctl-fuzz", 41),
    ("tikv-tui", 50),
];

/// Files allowed to be longer than 800 lines, with the reason.
const LONG: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All files below a folder with an extension, build output and hidden folders left out.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "book" {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    files(&root(), "rs").into_iter().map(|p| (p.clone(), fs::read_to_string(&p).unwrap())).collect()
}

#[test]
fn crates_import_downwards_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut seen = 0;
    for manifest in files(&root(), "toml").into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(&manifest).unwrap();
        let Some(name) =
            text.lines().find_map(|l| l.strip_prefix("name = \"")).map(|n| n.trim_end_matches('"'))
        else {
            continue;
        };
        let floor = *floors.get(name).unwrap_or_else(|| panic!("{name} has no floor in {}", file!()));
        seen += 1;
        let dependencies =
            text.split("[dependencies]").nth(1).unwrap_or("").split("\n[dev").next().unwrap_or("");
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            if let Some(below) = floors.get(dependency) {
                assert!(*below < floor, "{name} (floor {floor}) may not import {dependency} (floor {below})");
            }
        }
    }
    assert_eq!(seen, FLOORS.len(), "every crate of the list exists");
}

#[test]
fn every_stage_is_stamped_somewhere() {
    let all: String =
        sources().into_iter().filter(|(p, _)| !p.ends_with("tidy.rs")).map(|(_, t)| t).collect();
    for stage in STAGES {
        let name = stage.name.to_uppercase();
        let used =
            ["stamp!(", "step!(", "step_thread!("].iter().any(|m| all.contains(&format!("{m}{name},")))
                || all.contains(&format!(" {name}, "))
                || all.contains(&format!(" {name},\n"));
        assert!(used, "no stamp names the stage {}", stage.name);
    }
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(p, _)| path.ends_with(p));
        assert!(lines <= 800 || excused, "{} has {lines} lines: is it one idea?", path.display());
    }
}

#[test]
fn every_recipe_is_in_the_guide() {
    let guide: String =
        files(&root().join("docs/src"), "md").iter().map(|p| fs::read_to_string(p).unwrap()).collect();
    for (name, _) in recipes::library::RECIPES {
        assert!(guide.contains(&format!("scenarios/{name}.txt}}}}")), "no chapter shows the recipe {name}");
    }
}

#[test]
fn links_in_the_guide_and_the_readme_lead_somewhere() {
    let mut pages = files(&root().join("docs/src"), "md");
    pages.push(root().join("README.md"));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or("");
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: the link to {link} leads nowhere", page.display());
        }
        for include in text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(
                page.parent().unwrap().join(include).exists(),
                "{}: cannot include {include}",
                page.display()
            );
        }
    }
}

#[test]
fn the_guide_has_the_catalogue() {
    let path = root().join("docs/src/stages.md");
    let wanted = stage_page();
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "docs/src/stages.md is old: REWRITE=1 cargo test -p recipes --test tidy");
}

/// The catalogue as a page of the guide.
fn stage_page() -> String {
    let mut page = String::from(
        "# The stages\n\nMade from `tracepoints/core/catalogue.toml`. TiKV's functions are those of tikv/tikv 8e964719. *Held* says \
         what waits when a gate holds a request there, *time* what the time from the stage to the next goes to.\n",
    );
    let mut layer = "";
    for stage in STAGES {
        if stage.layer != layer {
            layer = stage.layer;
            page.push_str(&format!("\n## {layer}\n\n| stage | what happens | time | in TiKV | TiKV's metric | held |\n|---|---|---|---|---|---|\n"));
        }
        let metric = if stage.metric.is_empty() { String::new() } else { format!("`{}`", stage.metric) };
        let held = format!("{:?}", stage.hold).to_lowercase().replace("await", "task");
        page.push_str(&format!(
            "| `{}` | {} | {} | `{}` | {metric} | {held} |\n",
            stage.name,
            stage.meaning,
            stage.class.name(),
            stage.tikv
        ));
    }
    page
}
