//! `completions` and `man`.

use std::path::Path;

use clap::CommandFactory;
use serde_json::json;

use crate::{Error, Result, cli::Opt, output::Output, uses::without_repeats};

/// Prints the completion script for `shell`.
pub fn completions(shell: clap_complete::Shell, out: &mut Output<'_>) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Opt::command(), "tikv-ctl", &mut text);
    if out.is_json() {
        let script = String::from_utf8_lossy(&text);
        return out.json(&json!({ "shell": shell.to_string(), "script": script }));
    }
    out.raw(&text)
}

/// Writes `tikv-ctl.1` and a page for each command into `dir`.
pub fn pages(dir: &Path, out: &mut Output<'_>) -> Result<()> {
    let fail = |e: std::io::Error| Error::other(format!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(fail)?;
    clap_mangen::generate_to(without_repeats(Opt::command()), dir).map_err(fail)?;
    let pages = std::fs::read_dir(dir).map_err(fail)?.count();
    if out.is_json() {
        return out.json(&json!({ "dir": dir, "pages": pages }));
    }
    out.note(&format!(
        "{}: {pages} pages; read them with man -l {}/tikv-ctl.1",
        dir.display(),
        dir.display()
    ));
    Ok(())
}
