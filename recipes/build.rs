//! Packs `scenarios/*.txt` into the program and generates a test for each, so that the program has its recipes
//! outside of the checkout.
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
    let names: Vec<&str> = files
        .iter()
        .map(|f| f.file_stem().and_then(|s| s.to_str()).expect("recipe names are ASCII"))
        .collect();
    // A relative path: a build folder may outlive the checkout that first used it.
    let text =
        |name| format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/scenarios/{name}.txt\"))");
    let rows = names.iter().map(|name| format!("({name:?}, {}),\n", text(name)));
    let rows: String = rows.collect();
    write(
        "recipes.rs",
        &format!(
            "/// The name and the text of each recipe.\npub static RECIPES: &[(&str, &str)] = &[\n{rows}];\n"
        ),
    );
    let tests: String =
        names.iter().map(|name| format!("#[test]\nfn {name}() {{ check({name:?}); }}\n")).collect();
    write("recipe_tests.rs", &tests);
}

fn write(name: &str, text: &str) {
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join(name);
    fs::write(out, text).expect("OUT_DIR is writable");
}
