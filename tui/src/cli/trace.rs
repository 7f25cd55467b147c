//! Arguments of `tikv-tui record` and `tikv-tui trace`.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use security::TlsArgs;

use super::{
    Common,
    exchange::{ExportArgs, ImportArgs},
    filter::FilterArgs,
};

const EXAMPLES: &str = "Examples:
  tikv-tui record 127.0.0.1:20160 -o a.trace
      record all requests of a server for 10 s
  tikv-tui record --pd 127.0.0.1:2379 -o a.trace
      record all stores registered in PD, with their replicas
  tikv-tui trace a.trace --request 17
      step through a request
  tikv-tui trace grep a.trace --kind kv_get --min-duration 5ms
      list the slow gets
  tikv-tui trace top a.trace --by p99
      rank the stages by their p99
  tikv-tui trace diff before.trace after.trace
      show what changed

Durations: 250us, 1.5ms, 2s, or nanoseconds. Times (UTC): 2026-11-21T06:40:20.5, 06:40:20.5 (of the day of the recording), or +1.5s (since it began).";

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true, after_help = EXAMPLES)]
pub struct TraceArgs {
    #[command(subcommand)]
    pub command: Option<TraceCommand>,
    #[command(flatten)]
    pub open: OpenArgs,
}

#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// A recording, or saved steps (from `--json` or the palette)
    #[arg(value_name = "FILE", required = true)]
    pub file: Option<PathBuf>,
    /// Open the request ID of a recording [default: list all requests]
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TraceCommand {
    /// Summarise a recording: time, requests, threads, losses, damage
    Info(InfoArgs),
    /// List the requests that match
    Grep(GrepArgs),
    /// List the slowest requests, or rank the stages
    Top(TopArgs),
    /// Compare two recordings by request kind and stage
    Diff(DiffArgs),
    /// Write requests for other tools (Perfetto, Chrome, OTLP, flamegraphs), or send them to an OTLP
    /// collector
    Export(ExportArgs),
    /// List, search, open or keep traces of other tools (Chrome JSON, OTLP)
    Import(ImportArgs),
}

#[derive(Debug, Clone, Args)]
pub struct InfoArgs {
    /// A recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Read only the index: skip checksums and the stamps per thread
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct GrepArgs {
    /// A recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub wanted: FilterArgs,
    /// Print at most N requests
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print only the number of matching requests
    #[arg(long, conflicts_with = "limit")]
    pub count: bool,
    /// Print one JSON object per request and line, with its stages
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    Total,
    Count,
    P50,
    P99,
    Max,
}

#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// A recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub wanted: FilterArgs,
    /// Rank the stages of each request kind by WHAT, instead of single requests by duration
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<By>,
    /// Print at most N lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The recording to compare against
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The recording to compare
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    #[command(flatten)]
    pub wanted: FilterArgs,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// Addresses of tikv-servers (their --addr); give all stores of a cluster to record the replicas' stages
    #[arg(value_name = "HOST:PORT", required_unless_present = "pd", conflicts_with = "pd")]
    pub addresses: Vec<String>,
    /// Record all stores registered in the PD at this address
    #[arg(long, value_name = "HOST:PORT")]
    pub pd: Option<String>,
    /// File for the recording; a file with contents is not overwritten
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Record for N seconds, 1 to 600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    #[command(flatten)]
    pub tls: TlsArgs,
}
