//! `completions` and `man`, with the forms of output of this tool.
use std::path::Path;

use clap::Command;
use manual::{Manual, Shell, completions, write_pages};
use serde_json::json;

use crate::{Error, Result, print::output::Output, uses::complete_help};

/// Runs `cmd` for `tool`.
pub fn run(cmd: &Manual, tool: Command, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        Manual::Completions { shell } => script(*shell, tool, out),
        Manual::Man { dir } => pages(dir, tool, out),
    }
}

/// Prints the completion script for `shell`.
fn script(shell: Shell, tool: Command, out: &mut Output<'_>) -> Result<()> {
    let script = completions(shell, tool);
    if out.is_json() {
        let script = String::from_utf8_lossy(&script);
        return out.json(&json!({ "shell": shell.to_string(), "script": script }));
    }
    out.raw(&script)
}

/// Writes `tikv-ctl.1` and a page for each command into `dir`.
fn pages(dir: &Path, tool: Command, out: &mut Output<'_>) -> Result<()> {
    let note = write_pages(dir, complete_help(tool)).map_err(|e| Error::other(e.to_string()))?;
    if out.is_json() {
        let fail = |source| Error::Io { path: dir.to_owned(), source };
        let pages = std::fs::read_dir(dir).map_err(fail)?.count();
        return out.json(&json!({ "dir": dir.display().to_string(), "pages": pages }));
    }
    out.note(&note);
    Ok(())
}
