//! Packs `scenarios/*.txt` into the program, so that it knows its recipes outside of the checkout.
use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=scenarios");
    let dir =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = fs::read_dir(&dir)
        .expect("recipes/scenarios is a folder")
        .map(|e| e.expect("recipes/scenarios can be read").path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut table = String::from("pub static RECIPES: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.file_stem().and_then(|s| s.to_str()).expect("recipe names are ASCII");
        // Not its absolute path: a build folder outlives the checkout that it was first used for.
        table.push_str(&format!(
            "({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/scenarios/{name}.txt\"))),\n"
        ));
    }
    table.push_str("];\n");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("recipes.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}
