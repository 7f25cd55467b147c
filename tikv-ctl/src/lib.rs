//! `tikv-ctl`: looks into TiKV data directories (offline) and live servers (online), with the words, the flags and the
//! text of TiKV's own tool. Offline nothing is locked, created or written: the directory may be a running server's.
//!
//! [`run`] is the whole tool; [`lsm`] reads RocksDB files, [`raft_engine`] raft-engine's, [`source::Source`] is a
//! store, by its directory or by its server.

mod cli;
mod commands;
mod error;
mod flamegraph;
mod http;
pub mod key;
pub mod lsm;
mod offline;
mod online;
mod output;
pub mod raft_engine;
mod schema;
pub mod source;
pub mod text;

use std::{ffi::OsString, io::Write, process::ExitCode};

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
    run(std::env::args_os(), &mut std::io::stdout(), &mut std::io::stderr())
}

/// Runs the tool: results go to `out`, notes and our own errors to `err`.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let opt = match cli::Opt::try_parse_from(args) {
        Ok(opt) => opt,
        Err(e) => return usage(&e, out, err),
    };
    let format = opt.global.format;
    let result = {
        let mut output = Output::new(format, out, err);
        commands::run(opt, &mut output).and_then(|()| output.flush())
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has enough.
        Err(Error::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => fail(&e, format, out, err),
    }
}

/// Help and version go to `out`; wrong flags to `err`.
fn usage(e: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let text = e.render();
    let _ = if e.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
    ExitCode::from(e.exit_code() as u8)
}

fn fail(e: &Error, format: Format, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let is_tikvs = matches!(e, Error::Tikv(_));
    let _ = if format == Format::Json {
        writeln!(out, "{}", serde_json::json!({ "error": e.to_string() }))
    } else if is_tikvs {
        writeln!(out, "{e}")
    } else {
        writeln!(err, "tikv-ctl: {e}")
    };
    ExitCode::from(if is_tikvs { TIKV_FAILED } else { FAILED })
}
