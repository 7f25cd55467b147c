//! `tikv-ctl`: inspects TiKV data directories (offline) and live servers (online), with the flags and the
//! output text of TiKV's own tool. Offline it locks, creates and writes nothing, so a server may be running
//! on the directory.
//!
//! [`run`] runs the whole tool; [`lsm`] reads RocksDB files, [`raft_engine`] raft-engine files;
//! [`source::Source`] is a store, opened from its directory or reached through its server.
#![warn(missing_docs)]

mod cli;
mod commands;
mod error;
pub mod find;
mod grpc;
mod http;
mod offline;
mod online;
mod pd;
pub mod print;
mod probe;
mod raw_row;
pub mod source;
pub mod timestamp;
mod uses;
mod write;

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches};

use kvproto::reflect as schema;
pub use store_files::{
    encryption, key_forms as key, lsm, protobuf_text as text, raft_engine, simple_write,
    snapshot_lock_file as snapshot, tidb,
};

pub use error::{DebugError, Error, Result};
pub use offline::{Offline, StoreConfig};
pub use online::Online;
pub use print::output::Format;

use print::output::Output;

/// Width of a help text that does not go to a terminal, in columns.
const HELP_WIDTH: usize = 100;
const FAILED: u8 = 1;
/// Exit code -1, as TiKV's tool returns it.
const TIKV_FAILED: u8 = 255;

/// Runs the tool with the process's arguments and standard streams.
pub fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = out.is_terminal();
    // Output on the terminal shows the progress itself.
    let streams = Streams { progress: err.is_terminal() && !terminal, terminal };
    run_with(std::env::args_os(), &mut out, &mut err, streams)
}

/// Kinds of the standard streams.
#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    /// Standard error is a terminal and standard output is not.
    progress: bool,
    /// Standard output is a terminal.
    terminal: bool,
}

/// Runs the tool: results go to `out`, notes and errors to `err`.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    run_with(args, out, err, Streams::default())
}

/// Returns the tool's arguments, for tests that walk its commands.
#[doc(hidden)]
pub fn command() -> clap::Command {
    commands::Opt::command()
}

/// Parses the arguments; writes notes about options without effect to `err`.
fn parse(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    streams: Streams,
    err: &mut dyn Write,
) -> std::result::Result<commands::Opt, clap::Error> {
    let mut tool = commands::Opt::command();
    if !streams.terminal {
        tool = tool.term_width(HELP_WIDTH);
    }
    let mut tool = uses::complete_help(tool);
    let args = without_help_of_help(&tool, args);
    let matches = tool.try_get_matches_from_mut(args)?;
    let opt = commands::Opt::from_arg_matches(&matches).map_err(|e| e.format(&mut tool))?;
    let wrong = |e: Error| tool.clone().error(clap::error::ErrorKind::ArgumentConflict, e);
    if let Some(command) = matches.subcommand_name() {
        for note in uses::check(command, &opt.global).map_err(wrong)? {
            let _ = writeln!(err, "{note}");
        }
        if opt.convert.is_some() {
            return Err(wrong(Error::other(
                "expected a conversion or a command, found both: leave one of them out",
            )));
        }
    }
    Ok(opt)
}

/// Removes `--help` from `help --help` and `raft help --help`: the command `help` has no flags, and prints the help
/// anyway.
fn without_help_of_help(
    tool: &clap::Command,
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let (mut command, mut at) = (tool, 1);
    while let Some(subcommand) =
        args.get(at).filter(|arg| *arg != "help").and_then(|arg| command.find_subcommand(arg))
    {
        (command, at) = (subcommand, at + 1);
    }
    if args.get(at).is_some_and(|arg| arg == "help") {
        args.retain(|arg| arg != "--help" && arg != "-h");
    }
    args
}

fn run_with(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    streams: Streams,
) -> ExitCode {
    let opt = match parse(args, streams, err) {
        Ok(opt) => opt,
        Err(e) => return usage(&e, out, err),
    };
    let format = opt.global.format;
    let mut file = match opt.global.open_output() {
        Ok(file) => file,
        Err(e) => return fail(&e, format, false, out, err),
    };
    let progress =
        streams.progress || (file.is_some() && streams.terminal && std::io::stderr().is_terminal());
    let terminal = streams.terminal && file.is_none();
    let (result, written) = {
        let to: &mut dyn Write = match &mut file {
            Some(file) => file,
            None => &mut *out,
        };
        let mut output = Output::new(format, to, err);
        if progress {
            output = output.with_progress();
        }
        if terminal {
            output = output.on_terminal();
        }
        let result = commands::run(opt, &mut output);
        output.done();
        // Results found before an error are printed, too.
        let (flushed, written) = (output.flush(), output.has_written());
        (result.and(flushed), written)
    };
    let written = written && file.is_none();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if reader_left(&e) => ExitCode::SUCCESS,
        Err(e) => fail(&e, format, written, out, err),
    }
}

/// Whether the reader of the output closed it, which is not a failure. The same error of another file is one.
fn reader_left(e: &Error) -> bool {
    matches!(e, Error::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Writes help and version to `out`, and a usage error to `err`.
fn usage(e: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let text = e.render();
    if e.use_stderr() {
        let _ = write!(err, "{text}");
        return ExitCode::from(e.exit_code() as u8);
    }
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(err, "tikv-ctl: {}", Error::Output(e));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(e.exit_code() as u8),
    }
}

/// Prints an error. Writes it to `err` if a document was begun on `out`, so that `out` has only one document.
fn fail(e: &Error, format: Format, written: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let is_tikvs = matches!(e, Error::Tikv(_) | Error::TikvStderr(_));
    let text = e.to_string();
    let text = String::from_utf8_lossy(&print::printable::printable(text.as_bytes())).into_owned();
    // If writing the output failed, the error cannot go there either.
    let apart = (format == Format::Json && written) || matches!(e, Error::Output(_));
    let _ = if format != Format::Text && apart {
        writeln!(err, "{}", serde_json::json!({ "error": e.to_string() }))
    } else if format != Format::Text {
        writeln!(out, "{}", serde_json::json!({ "error": e.to_string() }))
    } else if matches!(e, Error::TikvStderr(_)) {
        writeln!(err, "{text}")
    } else if is_tikvs {
        writeln!(out, "{text}")
    } else {
        writeln!(err, "tikv-ctl: {text}")
    };
    ExitCode::from(if is_tikvs { TIKV_FAILED } else { FAILED })
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;

    #[test]
    fn only_a_closed_output_ends_a_command_well() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let failed = Err::<(), _>(closed()).map_err(Error::io(Path::new("standard input"))).unwrap_err();
        assert!(!reader_left(&failed), "{failed}");
        assert_eq!(failed.to_string(), "standard input: broken pipe");
        assert!(reader_left(&Error::Output(closed())));
        assert!(!reader_left(&Error::Output(io::ErrorKind::StorageFull.into())));
    }
}
