//! `recipes [--rewrite] [FILE]...`: runs scenario files and compares, or rewrites, their outputs.
#![forbid(unsafe_code)]
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use recipes::Scenario;

const HELP: &str = "\
Runs scenario files and compares what they print with the outputs in the files.

Usage: recipes [--rewrite] [FILE]...

Without FILE, runs all files of recipes/scenarios.

Options:
      --rewrite  Write the outputs into the files
  -h, --help     Print help";

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let rewrite = args.iter().any(|a| a == "--rewrite");
    args.retain(|a| a != "--rewrite");
    if let Some(flag) = args.iter().find(|a| a.starts_with('-')) {
        bail!("expected recipes [--rewrite] [FILE]..., found `{flag}`; see recipes --help");
    }
    let files = if args.is_empty() { own_scenarios()? } else { args.iter().map(PathBuf::from).collect() };
    let mut different = 0;
    for file in &files {
        different += usize::from(!run(file, rewrite)?);
    }
    if different > 0 && !rewrite {
        bail!(
            "{different} of {} scenarios print another output than their files expect; --rewrite updates the files",
            files.len()
        );
    }
    Ok(())
}

/// The recipes of the checkout, if the program runs in its root.
fn own_scenarios() -> Result<Vec<PathBuf>> {
    let dir = Path::new("recipes/scenarios");
    let entries = std::fs::read_dir(dir)
        .context("cannot read recipes/scenarios: give FILE arguments, or run in the root of the checkout")?;
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
    files.sort();
    Ok(files)
}

fn run(file: &Path, rewrite: bool) -> Result<bool> {
    let original =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let scenario = Scenario::parse(file, &original)?;
    let outputs = recipes::runner::run_all(scenario.clone())?;
    let new = scenario.rewrite(&original, &outputs);
    let same = new == original;
    println!("{} {}", if same { "same     " } else { "different" }, file.display());
    if !same && rewrite {
        std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))?;
    } else if !same {
        for (block, output) in scenario.blocks.iter().zip(&outputs).filter(|(b, o)| b.expected != **o) {
            println!(
                "{}:{}: `{}`\n-- expected\n{}-- printed\n{output}",
                file.display(),
                block.line,
                block.text,
                block.expected
            );
        }
    }
    Ok(same)
}
