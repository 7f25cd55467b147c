//! `undo`: reverts the changes that an undo file lists.
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    Result,
    cli::Global,
    commands::{
        apply::{WriteOptions, apply_plan},
        flashback,
    },
    print::output::Output,
    write::{Change, UndoFile},
};

/// The undo file.
#[derive(Clone, Debug, Args)]
pub struct UndoArgs {
    /// The undo file that the command wrote
    file: PathBuf,
    /// Print exactly what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation prompt
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Runs `undo`.
pub fn run(args: &UndoArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let how = &WriteOptions { dry_run: args.dry_run, yes: args.yes, undo_file: None };
    let saved = UndoFile::read(&args.file)?;
    if let Some(back) = &saved.flashback {
        let pd = global.pd.clone().or(back.pd.clone());
        return flashback::run(back, true, how, &Global { pd, ..global.clone() }, out);
    }
    let changes = saved.inverse();
    if how.dry_run {
        return out.either(
            || {
                let texts: Vec<String> = changes.iter().map(Change::text).collect();
                format!("{}\n{} changes; nothing was changed (--dry-run)", texts.join("\n"), changes.len())
            },
            || json!({ "command": "undo", "dry_run": true, "changes": changes, "errors": [] }),
        );
    }
    let data_dir = global.data_dir.clone().or(Some(saved.data_dir));
    let global = Global { data_dir, ..global.clone() };
    let (count, none) = (changes.len(), None::<PathBuf>);
    apply_plan("undo", how, changes, false, &global, out)?;
    out.either(
        || format!("{count} changes of {} undone", saved.command),
        || json!({ "command": "undo", "dry_run": false, "changes": count, "undo_file": none }),
    )
}
