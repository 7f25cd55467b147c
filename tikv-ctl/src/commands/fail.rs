//! `fail`: sets and removes the fail points of a server.
use std::path::PathBuf;

use clap::Subcommand;
use kvproto::debugpb::list_fail_points_response;
use prost::Message;
use serde_json::json;

use super::open::connect;
use crate::{Error, Online, Result, cli::Global, print::output::Output, text::message_text};

/// `fail inject`, `recover`, `list`.
#[derive(Clone, Debug, Subcommand)]
pub enum FailCmd {
    /// Set fail points
    Inject {
        /// Fail points and their actions: NAME=ACTIONS
        args: Vec<String>,
        /// Read a file of fail points, one NAME=ACTIONS a line
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Remove fail points; all that are set if none is named
    Recover {
        /// Fail points
        args: Vec<String>,
        /// Read a file of fail points
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List all fail points that are set
    List {},
}

/// Runs `fail` on the server of `--host`.
pub fn run(cmd: &FailCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (_, online) = connect(global, "command fail requires host")?;
    match cmd {
        FailCmd::Inject { args, file } => inject(&fail_points(args, file.as_ref())?, &online, out),
        FailCmd::Recover { args, file } => recover(fail_points(args, file.as_ref())?, &online, out),
        FailCmd::List {} => print_list(&online, out),
    }
}

/// Reads fail points from the command line and from a file.
fn fail_points(args: &[String], file: Option<&PathBuf>) -> Result<Vec<(String, String)>> {
    let text = match file {
        Some(path) => tracepoints_input::read_text(path)
            .map_err(|e| Error::other(format!("-f {}: {e}", path.display())))?,
        None => String::new(),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all = args.iter().map(String::as_str).chain(lines);
    let pair = |point: &str| {
        let (name, actions) = point.split_once('=').unwrap_or((point, ""));
        (name.to_owned(), actions.to_owned())
    };
    Ok(all.map(pair).collect())
}

fn list(online: &Online) -> Result<Vec<(String, String)>> {
    online.fail_points().map_err(|e| e.into_error("DebugClient::list_fail_points"))
}

fn inject(points: &[(String, String)], online: &Online, out: &mut Output<'_>) -> Result<()> {
    let mut injected = Vec::new();
    for (name, actions) in points {
        if actions.is_empty() {
            let passed_over = format!("No action for fail point {name}");
            if out.is_json() {
                out.note(&passed_over)
            } else {
                out.line(passed_over)?
            }
            continue;
        }
        let done = online.inject_fail_point(name, actions);
        done.map_err(|e| e.into_error("DebugClient::inject_fail_point"))?;
        injected.push(json!({ "name": name, "actions": actions }));
    }
    if out.is_json() { out.json(&json!({ "injected": injected })) } else { Ok(()) }
}

/// Recovers `points`; all that are set if it is empty.
fn recover(points: Vec<(String, String)>, online: &Online, out: &mut Output<'_>) -> Result<()> {
    let points = if points.is_empty() { list(online)? } else { points };
    for (name, _) in &points {
        let done = online.recover_fail_point(name);
        done.map_err(|e| e.into_error("DebugClient::recover_fail_point"))?;
    }
    let names = || points.iter().map(|(name, _)| name).collect::<Vec<_>>();
    if out.is_json() { out.json(&json!({ "recovered": names() })) } else { Ok(()) }
}

fn print_list(online: &Online, out: &mut Output<'_>) -> Result<()> {
    let points = list(online)?;
    let entry = |(name, actions): &(String, String)| {
        let (name, actions) = (name.clone(), actions.clone());
        let entry = list_fail_points_response::Entry { name, actions };
        message_text("debugpb.ListFailPointsResponse.Entry", &entry.encode_to_vec())
    };
    let text = points.iter().map(entry).collect::<std::result::Result<Vec<_>, _>>()?;
    let object = |(name, actions): &(String, String)| json!({ "name": name, "actions": actions });
    out.either(|| format!("[{}]", text.join(", ")), || points.iter().map(object).collect::<Vec<_>>())
}
