//! `raft-engine-ctl -- dump`, `check`, `repair` and `try-purge`, with the arguments of raft-engine's own tool.
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use serde_json::json;

use raft_log_engine::RepairQueue;

use super::apply::{self, WriteOptions};
use crate::{
    Error, Result, cli::Global, encryption::Keyring, print::output::Output, raft_engine, write::repair,
};

/// Arguments of raft-engine's own tool.
#[derive(Clone, Debug, Args)]
pub struct RaftEngineArgs {
    /// Arguments, after `--`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Inspects the files of raft-engine
#[derive(Debug, Parser)]
#[command(name = "raft-engine-ctl", no_binary_name = true)]
pub enum Ctl {
    /// Print the items of log files
    Dump {
        /// Path of a log file, or of a directory with log files
        #[arg(short, long)]
        path: PathBuf,
        /// Raft groups; all if absent
        #[arg(short, long, value_delimiter = ',')]
        raft_groups: Vec<u64>,
    },
    /// Remove files that are no longer needed; no other process may use the directory
    TryPurge {
        /// Path of the directory
        #[arg(short, long)]
        path: PathBuf,
    },
    /// Repair holes in the entries by a script: items that its functions omit are lost
    Repair {
        /// Path of the directory
        #[arg(short, long)]
        path: PathBuf,
        /// Queue whose files are repaired: append, rewrite or all
        #[arg(short, long, default_value = "append", value_parser = ["append", "rewrite", "all"])]
        queue: String,
        /// Path of the Rhai script; see raft-engine's README for the functions it may define
        #[arg(short, long)]
        script: PathBuf,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Check log files for damage and for holes in the entries
    Check {
        /// Path of the directory
        #[arg(short, long)]
        path: PathBuf,
    },
}

impl Ctl {
    /// Returns the file or directory that the tool reads.
    pub fn path(&self) -> &Path {
        match self {
            Ctl::Dump { path, .. }
            | Ctl::Check { path }
            | Ctl::Repair { path, .. }
            | Ctl::TryPurge { path } => path,
        }
    }
}

/// Parses the arguments after `--`; prints the help, and returns none, if they ask for it.
pub fn parse(args: &RaftEngineArgs, out: &mut Output<'_>) -> Result<Option<Ctl>> {
    match Ctl::try_parse_from(&args.args) {
        Ok(ctl) => Ok(Some(ctl)),
        Err(e) if e.use_stderr() => Err(Error::other(e.render().to_string().trim_end())),
        Err(e) => out.bytes(e.render().to_string().as_bytes()).map(|()| None),
    }
}

/// Runs the tool.
pub fn run(ctl: Ctl, keyring: &Keyring, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match ctl {
        Ctl::Dump { path, raft_groups } => dump(&path, &raft_groups, keyring, out),
        Ctl::Check { path } => check(&path, keyring, out),
        Ctl::TryPurge { path } => {
            refuse_encrypted(&path, keyring)?;
            let engine = crate::write::open_raft(&path)?;
            let groups = engine.manual_purge().map_err(|e| Error::other(e.to_string()))?;
            out.either(
                || format!("purge_expired_files() returns {groups:?}"),
                || json!({ "groups_to_rewrite": groups }),
            )
        }
        Ctl::Repair { path, queue, script, how } => {
            let script = tracepoints_input::read_text(&script)
                .map_err(|e| Error::other(format!("--script {}: {e}", script.display())))?;
            let queue = match queue.as_str() {
                "append" => RepairQueue::Append,
                "rewrite" => RepairQueue::Rewrite,
                _ => RepairQueue::All,
            };
            let plan = repair::plan(&path, queue, &script, keyring)?;
            let global = Global { data_dir: Some(path), ..global.clone() };
            apply::show_or_apply("raft-engine-repair", &how, &plan, "Repair is done", &global, out)
        }
    }
}

/// Fails if a log is encrypted: raft-engine itself would read it as damaged.
fn refuse_encrypted(dir: &Path, keyring: &Keyring) -> Result<()> {
    for file in raft_engine::log_files(dir).unwrap_or_default() {
        if keyring.cipher_of(&file.path)?.is_some() {
            return Err(Error::other(format!(
                "{}: expected an unencrypted log, found one encrypted at rest: let the running server purge it; \
                 nothing was changed",
                file.path.display()
            )));
        }
    }
    Ok(())
}

fn dump(path: &Path, groups: &[u64], keyring: &Keyring, out: &mut Output<'_>) -> Result<()> {
    let files = raft_engine::log_files(path)?;
    // raft-engine always has a .raftlog file to append to.
    if path.is_dir() && files.iter().all(|file| file.queue == raft_engine::Queue::Rewrite) {
        let dir = path.display();
        out.note(&format!(
            "warning: {dir}: expected .raftlog files, found none, only .rewrite files: their entries are lost"
        ));
    }
    let damages = if out.is_json() {
        let mut list = out.list();
        let damages = raft_engine::dump(path, groups, keyring, |line| list.push(out, &line))??;
        list.end(out)?;
        damages
    } else {
        raft_engine::dump(path, groups, keyring, |line| out.line(line))??
    };
    if damages > 0 { Err(Error::Damaged(damages)) } else { Ok(()) }
}

fn check(path: &Path, keyring: &Keyring, out: &mut Output<'_>) -> Result<()> {
    let raft_engine::Checked { broken, damages } = raft_engine::check(path, keyring)?;
    let texts: Vec<String> = damages.iter().map(ToString::to_string).collect();
    if out.is_json() {
        let groups: Vec<_> = broken
            .iter()
            .map(|(id, last)| json!({ "raft_group_id": id, "last_intact_index": last }))
            .collect();
        let damaged: Vec<_> = damages.iter().map(crate::offline::damage::json).collect();
        out.json(&json!({ "broken_groups": groups, "damaged_files": damaged }))?;
    } else if broken.is_empty() && damages.is_empty() {
        return out.line("All data is Ok");
    } else {
        out.line("Corrupted info are as follows:\nraft_group_id, last_intact_index\n")?;
        for (group, last) in &broken {
            out.line(format!("{group}, {last}"))?;
        }
    }
    match damages.is_empty() && broken.is_empty() {
        true => Ok(()),
        false => Err(Error::other(format!("{} Raft groups are broken; {}", broken.len(), texts.join("; ")))),
    }
}
