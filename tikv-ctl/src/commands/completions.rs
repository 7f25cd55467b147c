//! `completions` and `man`.

use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
use serde_json::json;

use crate::{Error, Result, print::output::Output, uses::without_repeats};

/// Commands that write files about the tool itself.
#[derive(Clone, Debug, Subcommand)]
pub enum CompletionsCmd {
    /// Print a shell completion script (not in TiKV)
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the man pages, one for each command (not in TiKV)
    Man {
        /// The directory to write to, created if it does not exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Runs `cmd` for `tool`.
pub fn run(cmd: &CompletionsCmd, tool: Command, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        CompletionsCmd::Completions { shell } => script(*shell, tool, out),
        CompletionsCmd::Man { dir } => pages(dir, tool, out),
    }
}

/// Prints the completion script for `shell`.
fn script(shell: clap_complete::Shell, mut tool: Command, out: &mut Output<'_>) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut tool, "tikv-ctl", &mut text);
    if out.is_json() {
        let script = String::from_utf8_lossy(&text);
        return out.json(&json!({ "shell": shell.to_string(), "script": script }));
    }
    out.raw(&text)
}

/// Writes `tikv-ctl.1` and a page for each command into `dir`.
fn pages(dir: &Path, tool: Command, out: &mut Output<'_>) -> Result<()> {
    let fail = |e: std::io::Error| Error::other(format!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(fail)?;
    clap_mangen::generate_to(without_repeats(tool), dir).map_err(fail)?;
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
