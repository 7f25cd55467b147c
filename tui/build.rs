//! Packs the project's own Rust sources into one blob, so that the source pane works outside the checkout.
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const ROOTS: [&str; 3] = ["engine", "tracepoints", "recipes"];

fn main() {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("tui/ is in the workspace").to_owned();
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for name in ROOTS {
        println!("cargo:rerun-if-changed=../{name}");
        collect(&root.join(name), &mut files);
    }
    files.sort();
    let (mut blob, mut index) = (String::new(), String::from("&[\n"));
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let path = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        writeln!(index, "({path:?}, {}, {}),", blob.len(), text.len()).expect("writing to a String");
        blob.push_str(&text);
    }
    index.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("sources.txt"), blob).expect("OUT_DIR is writable");
    fs::write(out.join("index.rs"), index).expect("OUT_DIR is writable");
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
