//! `tikv-tui`: see `tikv-tui --help`.
#![forbid(unsafe_code)]
use std::process::ExitCode;

use clap::Parser;
use tikv_tui::{cli::Cli, command, terminal, terminal::signals::Stopped};
use tracepoints::printable::{note, unless_closed};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => return say(&help),
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

/// Prints the requested help, or the error in the command line.
fn say(help: &clap::Error) -> ExitCode {
    match unless_closed(help.print()) {
        Err(e) if !help.use_stderr() => {
            note(format_args!("error: cannot write to standard output: {e}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(help.exit_code().try_into().unwrap_or(2)),
    }
}
