//! `reset-to-version`: deletes the locks and the versions committed after a timestamp.
use clap::Args;
use serde_json::json;

use super::stopped::{Name, change_store};
use crate::{
    Error, Online, Result,
    cli::Global,
    commands::apply::{WriteOptions, confirm},
    print::output::Output,
    write::plans,
};

/// Arguments of `reset-to-version`.
#[derive(Clone, Debug, Args)]
pub struct ResetToVersionArgs {
    /// The timestamp to reset the store to
    #[arg(short = 'v', value_name = "TS")]
    version: u64,
    #[command(flatten)]
    how: WriteOptions,
}

/// Runs `reset-to-version` on the server of `--host` or the directory of `--data-dir`.
pub fn run(args: &ResetToVersionArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if let Some(host) = &global.host {
        return reset_online(host, args.version, &args.how, global, out);
    }
    let name = Name { command: "reset-to-version", done: "" };
    change_store(&name, &args.how, global, out, |store, _| plans::reset_to_version(store, args.version))
}

fn reset_online(
    host: &str,
    version: u64,
    how: &WriteOptions,
    global: &Global,
    out: &mut Output<'_>,
) -> Result<()> {
    if how.dry_run {
        return Err(Error::other("a server cannot list what it would delete: --dry-run needs --data-dir"));
    }
    let online = Online::connect(host, &global.security()?)?;
    let what = format!(
        "{host} deletes all locks and all versions committed after {version}. There is no undo file for a server."
    );
    confirm("reset-to-version", &what, how, out)?;
    online.reset_to_version(version).map_err(|e| e.into_error("DebugClient::reset_to_version"))?;
    match out.is_json() {
        true => out.json(&json!({ "command": "reset-to-version", "dry_run": false, "version": version })),
        false => Ok(()),
    }
}
