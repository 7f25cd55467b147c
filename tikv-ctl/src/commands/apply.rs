//! Shows or applies a plan of changes: asks for confirmation and writes an undo file.
use std::{
    io::BufRead,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::open::store_config;
use crate::{
    Error, Result,
    cli::Global,
    print::output::Output,
    write::{Change, Engines, UndoFile, plan::Plan},
};

/// Options of a command that changes something.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Write options (not in TiKV)")]
pub struct WriteOptions {
    /// Print exactly what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Skip the confirmation prompt
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// The path of the undo file; a new file in the working directory if absent
    #[arg(long, value_name = "FILE")]
    pub undo_file: Option<PathBuf>,
}

/// Asks the user to type the command's name.
pub fn confirm(name: &str, what: &str, how: &WriteOptions, out: &mut Output<'_>) -> Result<()> {
    if how.yes {
        return Ok(());
    }
    out.flush()?;
    out.note(&format!("{what}\nType \"{name}\" to continue; anything else aborts:"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io(Path::new("standard input")))?;
    if answer.trim() == name {
        return Ok(());
    }
    Err(Error::other("nothing was changed: the command was not confirmed (--yes skips the prompt)"))
}

fn print_changes(changes: &[Change], out: &mut Output<'_>) -> Result<()> {
    changes.iter().try_for_each(|change| out.line(change.text()))
}

fn show(name: &str, plan: &Plan, out: &mut Output<'_>) -> Result<()> {
    if !out.is_json() {
        print_changes(&plan.changes, out)?;
        return out.line(format!("{} changes; nothing was changed (--dry-run)", plan.changes.len()));
    }
    let regions = plan.errors.iter().map(|(id, e)| json!({ "region_id": id, "error": e }));
    let errors: Vec<_> = regions.chain(plan.failures.iter().map(|e| json!({ "error": e }))).collect();
    out.json(&json!({ "command": name, "dry_run": true, "changes": plan.changes, "errors": errors }))
}

/// Prints the plan, or applies it. `done` is TiKV's message of success.
pub fn show_or_apply(
    name: &str,
    how: &WriteOptions,
    plan: &Plan,
    done: &str,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    plan.notes.iter().for_each(|note| out.note(note));
    if how.dry_run {
        show(name, plan, out)?;
        return plan.error();
    }
    if plan.all_or_nothing {
        plan.error()?;
    }
    let mut undo_path = None;
    if !plan.changes.is_empty() {
        undo_path = Some(apply_plan(name, how, plan.changes.clone(), true, global, out)?);
    }
    plan.error()?;
    if out.is_json() {
        return out.json(&json!({
            "command": name, "dry_run": false, "changes": plan.changes.len(),
            "undo_file": undo_path.map(|path| path.display().to_string()),
        }));
    }
    if done.is_empty() { Ok(()) } else { out.line(done) }
}

/// Locks the store, checks the plan against it, writes the undo file if `with_undo`, and applies the changes.
/// Returns the path of the undo file.
pub fn apply_plan(
    name: &str,
    how: &WriteOptions,
    changes: Vec<Change>,
    with_undo: bool,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<PathBuf> {
    let dir = global.data_dir.as_ref().ok_or_else(|| Error::other("expected --data-dir DIR, found none"))?;
    let config = store_config(global)?;
    let path = how.undo_file.clone().unwrap_or_else(|| UndoFile::default_path(name));
    let what = format!("{} changes of {} (--dry-run shows them).", changes.len(), dir.display());
    confirm(name, &what, how, out)?;
    let engines = Engines::open(dir, &config, &changes)?;
    let changes = engines.pending(changes, !with_undo)?;
    // Fails here, before anything is written, if the changes cannot be applied.
    let prepared = engines.prepare(&changes)?;
    if !with_undo {
        prepared.apply()?;
        return Ok(path);
    }
    UndoFile::new(name, dir, &changes).write(&path)?;
    out.note(&format!("to undo it: tikv-ctl undo {}", path.display()));
    // Databases are changed one by one: a failure may leave some of them changed.
    prepared.apply().map_err(|e| {
        Error::other(format!(
            "{e}; some changes may have been made: `tikv-ctl undo {}` reverts them",
            path.display()
        ))
    })?;
    Ok(path)
}
