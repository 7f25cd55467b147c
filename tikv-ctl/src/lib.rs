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
mod key_text;
pub mod line;
pub mod lsm;
mod offline;
mod online;
mod output;
mod pd;
pub mod raft_engine;
mod schema;
pub mod simple_write;
pub mod snapshot;
pub mod source;
pub mod text;
pub mod tidb;
pub mod timestamp;
mod write;

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;

pub use error::{DebugError, Error, Result};
pub use offline::{Offline, StoreConfig};
pub use online::Online;
pub use output::Format;

use output::Output;

const FAILED: u8 = 1;
/// -1, as TiKV's tool exits.
const TIKV_FAILED: u8 = 255;

/// Runs the tool with the process's arguments and standard streams.
pub fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    // What is printed to the terminal shows itself how far it is.
    let progress = err.is_terminal() && !out.is_terminal();
    run_with(std::env::args_os(), &mut out, &mut err, progress)
}

/// Runs the tool: results go to `out`, notes and our own errors to `err`.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    run_with(args, out, err, false)
}

fn run_with(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    progress: bool,
) -> ExitCode {
    let opt = match cli::Opt::try_parse_from(args) {
        Ok(opt) => opt,
        Err(e) => return usage(&e, out, err),
    };
    let format = opt.global.format;
    let mut file = match opt.global.open_output() {
        Ok(file) => file,
        Err(e) => return fail(&e, format, false, out, err),
    };
    let progress = progress || (file.is_some() && std::io::stderr().is_terminal());
    let (result, written) = {
        let to: &mut dyn Write = match &mut file {
            Some(file) => file,
            None => &mut *out,
        };
        let mut output = Output::new(format, to, err);
        if progress {
            output = output.with_progress();
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
    let _ = if e.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
    ExitCode::from(e.exit_code() as u8)
}

/// A document that was begun on `out` gets no second one behind it: the error is on `err` then.
fn fail(e: &Error, format: Format, written: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let is_tikvs = matches!(e, Error::Tikv(_) | Error::TikvStderr(_));
    let _ = if format == Format::Json && written {
        writeln!(err, "{}", serde_json::json!({ "error": e.to_string() }))
    } else if format != Format::Text {
        writeln!(out, "{}", serde_json::json!({ "error": e.to_string() }))
    } else if matches!(e, Error::TikvStderr(_)) {
        writeln!(err, "{e}")
    } else if is_tikvs {
        writeln!(out, "{e}")
    } else {
        writeln!(err, "tikv-ctl: {e}")
    };
    ExitCode::from(if is_tikvs { TIKV_FAILED } else { FAILED })
}
