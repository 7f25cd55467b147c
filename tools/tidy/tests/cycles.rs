//! The modules of a crate import each other in one direction, and each from the module that defines the item.
use std::fs;

use tidy::{files, modules::Modules, root};

/// Cycles that stay: the crate, a module of the cycle, its greatest size, and why.
const ALLOWED: &[(&str, &str, usize, &str)] = &[];

#[test]
fn modules_do_not_import_each_other() {
    let mut found = Vec::new();
    for manifest in files(&root().unwrap(), &["toml"]).unwrap().iter().filter(|p| p.ends_with("Cargo.toml")) {
        let src = manifest.parent().unwrap().join("src");
        let text = fs::read_to_string(manifest).unwrap();
        let name = text.lines().find_map(|l| l.strip_prefix("name = \"")).map(|n| n.trim_end_matches('"'));
        let (Some(name), true) = (name, src.is_dir()) else { continue };
        for cycle in Modules::read(&src).unwrap().cycles() {
            let cycle: Vec<String> = cycle.iter().map(|module| module.join("::")).collect();
            let allowed = |(of, module, most, _): &(&str, &str, usize, &str)| {
                *of == name && cycle.len() <= *most && cycle.iter().any(|m| m == module)
            };
            if !ALLOWED.iter().any(allowed) {
                found.push(format!("{name}: {} modules: {}", cycle.len(), cycle.join(", ")));
            }
        }
    }
    assert!(found.is_empty(), "modules that import each other:\n{}", found.join("\n"));
}

/// An import through the parent hides which sibling a module needs, and makes the parent a hub.
#[test]
fn siblings_are_imported_directly() {
    let mut found = Vec::new();
    for manifest in files(&root().unwrap(), &["toml"]).unwrap().iter().filter(|p| p.ends_with("Cargo.toml")) {
        let src = manifest.parent().unwrap().join("src");
        if src.is_dir() {
            for detour in Modules::read(&src).unwrap().detours {
                let [importer, path, direct] =
                    [detour.importer, detour.path, detour.direct].map(|p| p.join("::"));
                found.push(format!("{}: {importer}: expected {direct}, found {path}", src.display()));
            }
        }
    }
    assert!(found.is_empty(), "{} imports through an enclosing module:\n{}", found.len(), found.join("\n"));
}
