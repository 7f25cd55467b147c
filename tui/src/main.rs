//! `tikv-tui`: see `tikv-tui --help`.
#![forbid(unsafe_code)]
use std::process::ExitCode;

use clap::Parser;
use tikv_tui::{cli::Cli, command, terminal, terminal::signals::Stopped};
use tracepoints::printable::note;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => return manual::print_help(&help, "error"),
    };
    let Err(e) = command::run(cli) else { return ExitCode::SUCCESS };
    terminal::give_back();
    if let Some(stopped) = e.downcast_ref::<Stopped>() {
        note(stopped);
        return ExitCode::from(stopped.exit_code());
    }
    note(format_args!("error: {e:#}"));
    ExitCode::FAILURE
}
