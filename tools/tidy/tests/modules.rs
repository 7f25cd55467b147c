//! Each module is a file `x.rs`, and its submodules stand in the folder `x`.
use tidy::{files, root};

#[test]
fn sources_have_no_mod_rs() {
    let root = root().unwrap();
    let found: Vec<String> = files(&root, &["rs"])
        .unwrap()
        .iter()
        .filter_map(|path| path.strip_prefix(&root).ok())
        // Cargo takes each file of tests/ for a test; only a folder's mod.rs can be shared by several.
        .filter(|path| path.ends_with("mod.rs") && path.components().any(|part| part.as_os_str() == "src"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(found.is_empty(), "expected x.rs beside x/, found:\n{}", found.join("\n"));
}
