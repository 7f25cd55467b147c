//! `tikv-tui`: see `tikv-tui --help`.
use std::process::ExitCode;

use clap::Parser;
use tikv_tui::{cli::Cli, command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tikv_tui::terminal::give_back();
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
