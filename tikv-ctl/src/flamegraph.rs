//! `flamegraph`
use std::path::PathBuf;

use clap::Args;

use crate::{Result, cli::Global, output::Output};

/// Where the stacks come from, and where the picture goes.
#[derive(Clone, Debug, Args)]
pub struct FlamegraphArgs {
    /// Where to write
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub fn run(_args: &FlamegraphArgs, _global: &Global, _out: &mut Output<'_>) -> Result<()> {
    Ok(())
}
