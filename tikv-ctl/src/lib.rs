//! `tikv-ctl`: looks into TiKV data directories (offline) and live servers (online), with the words, the flags and the
//! text of TiKV's own tool. Offline nothing is locked, created or written: the directory may be a running server's.
//!
//! [`run`] is the whole tool; [`lsm`] reads RocksDB files, [`raft_engine`] raft-engine's, [`source::Source`] is a
//! store, by its directory or by its server.

mod cli;
mod commands;
pub mod encryption;
pub mod entry_lines;
mod error;
pub mod find;
mod flamegraph;
mod http;
pub mod key;
mod key_styles;
mod key_text;
pub mod line;
pub mod lsm;
mod offline;
mod online;
mod output;
mod pd;
mod printable;
mod probe;
pub mod raft_engine;
mod schema;
pub mod simple_write;
pub mod snapshot;
pub mod source;
pub mod text;
pub mod tidb;
pub mod timestamp;
mod uses;
mod write;

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches};

pub use error::{DebugError, Error, Result};
pub use offline::{Offline, StoreConfig};
pub use online::Online;
pub use output::Format;

use output::Output;

/// Columns of a help text that is not for a terminal.
const HELP_WIDTH: usize = 100;
const FAILED: u8 = 1;
/// -1, as TiKV's tool exits.
const TIKV_FAILED: u8 = 255;

/// Runs the tool with the process's arguments and standard streams.
pub fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = out.is_terminal();
    // What is printed to the terminal shows itself how far it is.
    let look = Look { progress: err.is_terminal() && !terminal, terminal };
    run_with(std::env::args_os(), &mut out, &mut err, look)
}

/// Who looks at the streams.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// Standard error is a terminal, standard output is none.
    progress: bool,
    /// Standard output is a terminal.
    terminal: bool,
}

/// Runs the tool: results go to `out`, notes and our own errors to `err`.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    run_with(args, out, err, Look::default())
}

/// The arguments, and the name of the command; what should be known of them is noted on `err`.
fn parse(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    look: Look,
    err: &mut dyn Write,
) -> std::result::Result<cli::Opt, clap::Error> {
    let mut tool = cli::Opt::command();
    if !look.terminal {
        tool = tool.term_width(HELP_WIDTH);
    }
    let mut tool = uses::without_repeats(tool);
    let matches = tool.try_get_matches_from_mut(args)?;
    let opt = cli::Opt::from_arg_matches(&matches).map_err(|e| e.format(&mut tool))?;
    let wrong = |e: Error| tool.clone().error(clap::error::ErrorKind::ArgumentConflict, e);
    if let Some(command) = matches.subcommand_name() {
        for note in uses::check(command, &opt.global).map_err(wrong)? {
            let _ = writeln!(err, "{note}");
        }
        if opt.convert.is_some() {
            return Err(wrong(Error::other(
                "a key is converted, or a command is run: leave one of them out",
            )));
        }
    }
    Ok(opt)
}

fn run_with(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    look: Look,
) -> ExitCode {
    let opt = match parse(args, look, err) {
        Ok(opt) => opt,
        Err(e) => return usage(&e, out, err),
    };
    let format = opt.global.format;
    let mut file = match opt.global.open_output() {
        Ok(file) => file,
        Err(e) => return fail(&e, format, false, out, err),
    };
    let progress = look.progress || (file.is_some() && look.terminal && std::io::stderr().is_terminal());
    let terminal = look.terminal && file.is_none();
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
        // What was found before an error is a result, too.
        let (flushed, written) = (output.flush(), output.has_written());
        (result.and(flushed), written)
    };
    let written = written && file.is_none();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has enough.
        Err(Error::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => fail(&e, format, written, out, err),
    }
}

/// Help and version go to `out`; wrong flags to `err`.
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

/// A document that was begun on `out` gets no second one behind it: the error is on `err` then.
fn fail(e: &Error, format: Format, written: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let is_tikvs = matches!(e, Error::Tikv(_) | Error::TikvStderr(_));
    let text = e.to_string();
    let text = String::from_utf8_lossy(&printable::printable(text.as_bytes())).into_owned();
    // Where the output cannot be written the error is not either.
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
