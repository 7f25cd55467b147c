//! The Rust blocks of the guide compile.
//!
//! They use crates of TiKV, which this repository does not build. So each page with such blocks has a file in
//! `rust_blocks`, with the same path, that declares what the blocks use. A line `// block N` of that file stands for the
//! Nth block. A block that includes a file is left out: cargo compiles that file. Where a line `// Signature of TiKV:
//! ANCHOR` precedes a function, an ignored test compares it with TiKV's.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tidy::{files, root};
use tikv_tui::state::tikv::{Place, find};

/// Attribute macros of TiKV, which a file of declarations cannot declare. The compiler does not see them.
const LEFT_OUT: [&str; 1] = ["#[rpn_fn]\n"];

/// The comment before a function that has the parameters and result of TiKV's.
const SIGNATURE_OF: &str = "// Signature of TiKV: ";

/// The interface of plugins, below `components` in TiKV and below `engine` here: a plugin compiles with both.
const PLUGIN: &str =
    "coprocessor_plugin_api/src/plugin_api.rs::CoprocessorPlugin::on_raw_coprocessor_request";

/// The Rust blocks of a page, in order, without those that include a file.
fn blocks(text: &str) -> Vec<String> {
    let begins = text.split("\n```rust\n").skip(1);
    let all = begins.map(|rest| rest.split("\n```").next().unwrap_or_default());
    all.filter(|block| !block.starts_with("{{#include ")).map(|block| block.to_owned() + "\n").collect()
}

/// The pages with Rust blocks: the path below `docs/src`, without its ending, and the blocks.
fn pages() -> Vec<(PathBuf, Vec<String>)> {
    let guide = root().unwrap().join("docs/src");
    let mut found = Vec::new();
    for page in files(&guide, &["md"]).unwrap() {
        let blocks = blocks(&fs::read_to_string(&page).unwrap());
        if !blocks.is_empty() {
            found.push((page.strip_prefix(&guide).unwrap().with_extension(""), blocks));
        }
    }
    found
}

/// The file with the declarations of a page.
fn declarations(page: &Path) -> PathBuf {
    root().unwrap().join("tools/tidy/tests/rust_blocks").join(page).with_extension("rs")
}

/// Replaces the lines `// block N` by the blocks. The error names a block without a line, or a line without a block.
fn fill(declarations: &str, blocks: &[String]) -> Result<String, String> {
    let mut program = String::new();
    let mut used = vec![false; blocks.len()];
    for line in declarations.lines() {
        let Some(n) = line.trim().strip_prefix("// block ") else {
            program.push_str(line);
            program.push('\n');
            continue;
        };
        let nth = n.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|n| *n < blocks.len());
        let nth = nth.ok_or_else(|| {
            format!("expected a number from 1 to {}, found `{}`", blocks.len(), line.trim())
        })?;
        used[nth] = true;
        program.push_str(&blocks[nth]);
    }
    match used.iter().position(|used| !used) {
        Some(nth) => Err(format!("expected a line `// block {}` for the page's block, found none", nth + 1)),
        None => Ok(LEFT_OUT.iter().fold(program, |text, macro_| text.replace(macro_, ""))),
    }
}

/// Checks the types of a program, as `cargo check` does.
fn compile(name: &str, program: &str) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("{name}.rs"));
    fs::write(&file, program).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(&compiler);
    // The edition of TiKV. `--test`: also the functions with the attribute `test`.
    command.args([
        "--edition",
        "2021",
        "--test",
        "--emit",
        "metadata",
        "-A",
        "warnings",
        "--crate-name",
        name,
    ]);
    let output = command.arg("--out-dir").arg(folder).arg(&file).output();
    let output = output.map_err(|e| format!("cannot run {}: {e}", compiler.display()))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn rust_blocks_of_the_guide_compile() {
    let pages = pages();
    assert!(pages.len() >= 3, "expected the pages with Rust blocks, found {pages:?}");
    let mut mistakes = Vec::new();
    for (page, blocks) in pages {
        let path = declarations(&page);
        let name = page.to_string_lossy().replace(['/', '-'], "_");
        let result = fs::read_to_string(&path)
            .map_err(|e| format!("expected the declarations of its blocks in {}: {e}", path.display()))
            .and_then(|text| fill(&text, &blocks))
            .and_then(|program| compile(&name, &program));
        mistakes.extend(result.err().map(|why| format!("docs/src/{}.md: {why}", page.display())));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn a_block_that_does_not_compile_is_reported() {
    let page = "text\n\n```rust\nfn one() -> u8 {\n    two()\n}\n```\n";
    let declared = "fn two() -> u8 {\n    2\n}\n// block 1\n";
    compile("guide_block_good", &fill(declared, &blocks(page)).unwrap()).unwrap();
    let wrong = declared.replace("u8", "u16");
    let error = compile("guide_block_wrong", &fill(&wrong, &blocks(page)).unwrap()).unwrap_err();
    assert!(error.contains("mismatched types"), "{error}");
    assert!(fill("fn two() {}\n", &blocks(page)).unwrap_err().contains("// block 1"));
    assert!(fill("// block 2\n", &blocks(page)).unwrap_err().contains("1 to 1"));
    assert!(blocks("text\n\n```rust\n{{#include code.rs}}\n```\n").is_empty());
}

/// From the word `fn` to the body, without white space and the comma of a last parameter.
fn signature(lines: &str) -> String {
    let from = lines.find("fn ").unwrap_or_default();
    let text: String =
        lines[from..].split(['{', ';']).next().unwrap_or_default().split_whitespace().collect();
    text.replace(",)", ")")
}

/// The signature of a function in a checkout.
fn signature_at(checkout: &Path, anchor: &str) -> Result<String, String> {
    let found = find(checkout, &Place::parse(anchor))?;
    let rest: Vec<&str> = found.text.lines().skip(found.line as usize - 1).collect();
    Ok(signature(&rest.join("\n")))
}

/// `TIKV_SRC` is a checkout of tikv/tikv 8e964719: `TIKV_SRC=DIR cargo test -p tidy -- --ignored`.
#[test]
#[ignore = "needs TIKV_SRC, a checkout of tikv/tikv"]
fn declared_signatures_are_those_of_tikv() {
    let checkout =
        PathBuf::from(std::env::var_os("TIKV_SRC").expect("TIKV_SRC names a checkout of tikv/tikv"));
    let (mut compared, mut mistakes) = (0, Vec::new());
    let mut compare = |anchor: &str, ours: String| match signature_at(&checkout, anchor) {
        Ok(theirs) if theirs == ours => compared += 1,
        Ok(theirs) => mistakes.push(format!("{anchor}: expected {theirs}, found {ours}")),
        Err(why) => mistakes.push(why),
    };
    for (page, _) in pages() {
        let text = fs::read_to_string(declarations(&page)).unwrap();
        for part in text.split(SIGNATURE_OF).skip(1) {
            let (anchor, ours) = part.split_once('\n').unwrap();
            compare(anchor, signature(ours));
        }
    }
    let ours = signature_at(&root().unwrap(), &format!("engine/{PLUGIN}")).unwrap();
    compare(&format!("components/{PLUGIN}"), ours);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(compared > 15, "expected the signatures of the blocks' functions, found {compared}");
}
