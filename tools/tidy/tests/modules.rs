//! Each module is a file `x.rs`, and its submodules stand in the folder `x`.
use tidy::{files, root, sources};

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

/// A blank line is only between the documentation of a module and that of its first item.
#[test]
fn code_follows_the_documentation_of_its_module() {
    let mut found = Vec::new();
    for (path, text) in sources().unwrap() {
        let mut rest = text.lines().skip_while(|line| line.starts_with("//!"));
        let is_documented = text.starts_with("//!");
        let (Some(first), Some(second)) = (rest.next(), rest.next()) else { continue };
        if is_documented && first.is_empty() && !second.starts_with("//") {
            found.push(path.display().to_string());
        }
    }
    assert!(found.is_empty(), "expected no blank line after //!, found one in:\n{}", found.join("\n"));
}

#[test]
fn each_library_warns_of_items_without_documentation() {
    let libraries: Vec<_> =
        sources().unwrap().into_iter().filter(|(path, _)| path.ends_with("src/lib.rs")).collect();
    assert!(libraries.len() > 20, "found {} libraries", libraries.len());
    let silent = libraries.iter().filter(|(_, text)| !text.contains("#![warn(missing_docs)]"));
    let found: Vec<String> = silent.map(|(path, _)| path.display().to_string()).collect();
    assert!(found.is_empty(), "expected #![warn(missing_docs)] in:\n{}", found.join("\n"));
}
