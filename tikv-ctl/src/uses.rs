//! Table of the global options that each command honours. Others are refused, and the command's help lists
//! only these.
use clap::Command;

use crate::{Error, Result, cli::Global, key::KeyFormat};

/// A global option that a command honours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    DataDir,
    Config,
    Host,
    Pd,
    KeyFormat,
    NoOutput,
}

use Use::{Config, DataDir, Host, NoOutput, Pd};

const STORE: &[Use] = &[DataDir, Config, Host];
const KEYED: &[Use] = &[DataDir, Config, Host, Use::KeyFormat];
const FILES: &[Use] = &[DataDir, Config];
// A directory gets the error that TiKV's tool has for it.
const SERVER: &[Use] = &[Host, DataDir, Config];
const WRITES: &[Use] = &[DataDir, Config, Host];
const WRITES_BY_PD: &[Use] = &[DataDir, Config, Pd, Host];

/// Every command, its options, and whether TiKV's tool has it.
const COMMANDS: &[(&str, &[Use], bool)] = &[
    ("raft", STORE, true),
    ("region", &[DataDir, Config, Host, Pd], false),
    ("size", STORE, true),
    ("scan", KEYED, true),
    ("raw-scan", KEYED, true),
    ("print", KEYED, true),
    ("mvcc", KEYED, true),
    ("bad-regions", STORE, true),
    ("region-properties", STORE, true),
    ("range-properties", STORE, true),
    ("store", STORE, true),
    ("cluster", &[DataDir, Config, Host, Pd], true),
    ("show-cluster-id", STORE, true),
    ("metrics", SERVER, true),
    ("consistency-check", SERVER, true),
    ("get-region-read-progress", SERVER, true),
    ("raft-engine-ctl", FILES, true),
    ("encryption-meta", FILES, true),
    ("decrypt-file", FILES, true),
    ("compact", STORE, true),
    ("compact-cluster", &[Pd], true),
    ("split-region", &[Pd], true),
    ("fail", SERVER, true),
    ("modify-tikv-config", SERVER, true),
    ("tombstone", WRITES_BY_PD, true),
    ("recover-mvcc", WRITES_BY_PD, true),
    ("unsafe-recover", WRITES, true),
    ("recreate-region", WRITES_BY_PD, true),
    ("reset-to-version", STORE, true),
    ("flashback", WRITES_BY_PD, true),
    ("cleanup-encryption-meta", WRITES, true),
    ("undo", &[DataDir, Config, Pd], false),
    ("diff", STORE, true),
    ("dump-snap-meta", FILES, true),
    ("ldb", FILES, true),
    ("sst_dump", FILES, true),
    ("bad-ssts", &[DataDir, Config, Pd], true),
    ("sst", &[DataDir, Config, Use::KeyFormat], false),
    ("find", &[DataDir, Config, Use::KeyFormat], false),
    ("key", KEYED, false),
    ("reuse-readonly-remains", FILES, true),
    ("compact-log-backup", &[], true),
    ("completions", &[], false),
    ("man", &[NoOutput], false),
    ("manifest", FILES, false),
    ("wal", FILES, false),
    ("lsm", FILES, false),
    ("log", FILES, false),
    ("inflight", &[Host], false),
    ("keep", &[Host], false),
    ("kept", &[Host], false),
    ("flamegraph", &[Host, Pd], false),
];

fn find_uses(command: &str) -> Option<(&'static [Use], bool)> {
    COMMANDS.iter().find(|(name, ..)| *name == command).map(|(_, uses, tikvs)| (*uses, *tikvs))
}

/// Fails if an option was given that `command` does not honour. Returns notes about options that TiKV's tool
/// accepts and ignores too.
pub fn check(command: &str, global: &Global) -> Result<Vec<String>> {
    let (uses, tikvs) = find_uses(command).unwrap_or((&[], false));
    let has = |wanted: &[Use]| wanted.iter().any(|wanted| uses.contains(wanted));
    let asks = has(&[Host, Pd]);
    let given = [
        ("--data-dir", global.data_dir.is_some(), has(&[DataDir]), true),
        ("--host", global.host.is_some(), has(&[Host]), true),
        ("--pd", global.pd.is_some(), has(&[Pd]), true),
        ("--config", global.config.is_some(), has(&[Config]), true),
        ("--ca-path", global.tls.ca_path.is_some(), asks, true),
        ("--key-format", global.key_format != KeyFormat::Auto, has(&[Use::KeyFormat]), false),
        ("--output", global.output.is_some(), !has(&[NoOutput]), false),
    ];
    let mut notes = Vec::new();
    for (flag, _, _, of_tikv) in given.into_iter().filter(|(_, given, honoured, _)| *given && !*honoured) {
        if !(tikvs && of_tikv) {
            return Err(Error::other(format!(
                "{flag} has no effect on {command}: leave it out. {}",
                sentence(uses)
            )));
        }
        notes.push(format!("note: {flag} has no effect on {command}"));
    }
    if global.host.is_some() && global.data_dir.is_some() {
        return Err(Error::other("--host and --data-dir cannot be given together: give one of them"));
    }
    Ok(notes)
}

/// Formats the options of a command for its help.
fn sentence(uses: &[Use]) -> String {
    let mut all = Vec::new();
    if uses.contains(&DataDir) {
        all.push("--data-dir DIR, a directory".to_owned());
    }
    if uses.contains(&Host) {
        all.push("--host ADDR, the gRPC address of one server (its --addr)".to_owned());
    }
    if uses.contains(&Pd) {
        all.push("--pd ADDR, the address of PD".to_owned());
    }
    match all.as_slice() {
        [] => "It uses no other options.".to_owned(),
        all => format!("It uses: {}.", all.join("; ")),
    }
}

/// Completes the help of commands by the table: marks those that TiKV's tool does not have, and replaces the list
/// of the global options by the names of the honoured ones.
pub fn complete_help(mut tool: Command) -> Command {
    // `build` copies the global options into the commands.
    tool.build();
    tool.mut_subcommands(|command| {
        let Some((uses, tikvs)) = find_uses(command.get_name()) else { return shorten(command, "") };
        let command = if tikvs { command } else { mark(command) };
        shorten(command, &format!("{} ", sentence(uses)))
    })
}

/// Marks a command as an addition to TiKV's tool.
fn mark(command: Command) -> Command {
    match command.get_about().map(|about| format!("{about} (not in TiKV)")) {
        Some(about) => command.about(about),
        None => command,
    }
}

fn shorten(command: Command, uses: &str) -> Command {
    let more = format!("{uses}Options of every command: tikv-ctl --help.");
    let text = match command.get_after_help() {
        Some(own) => format!("{own}\n\n{more}"),
        None => more,
    };
    command
        .mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
        .after_help(text)
        .mut_subcommands(|inner| shorten(inner, uses))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::commands::Opt;

    #[test]
    fn each_command_lists_its_options() {
        let tool = Opt::command();
        for command in tool.get_subcommands().filter(|command| command.get_name() != "help") {
            assert!(find_uses(command.get_name()).is_some(), "{}", command.get_name());
        }
        for (name, ..) in COMMANDS {
            assert!(tool.find_subcommand(name).is_some(), "{name}");
        }
    }
}
