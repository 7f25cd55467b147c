//! The modules of a crate import each other in one direction.
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
