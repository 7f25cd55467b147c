//! `tikv-tui trace`: the arguments of what reads recordings.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Common, ExportArgs, ImportArgs, TlsArgs};

const EXAMPLES: &str = "Examples:
  tikv-tui record 127.0.0.1:20160 -o a.trace
      record all requests of a server for 10 s
  tikv-tui record --pd 127.0.0.1:2379 -o a.trace
      record all stores that PD knows, with their replicas
  tikv-tui trace a.trace --request 17
      step through a request
  tikv-tui trace grep a.trace --kind kv_get --min-duration 5ms
      list the slow gets
  tikv-tui trace top a.trace --by p99
      which stages take the time
  tikv-tui trace diff before.trace after.trace
      what changed

Durations: 250us, 1.5ms, 2s, or nanoseconds. Times (UTC): 2026-11-21T06:40:20.5, 06:40:20.5 (of the day of the recording), or +1.5s after its begin.";

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
    /// A recording, or steps that `--json` printed or the palette saved
    #[arg(value_name = "FILE", required = true)]
    pub file: Option<PathBuf>,
    /// Open this request of a recording [default: list all requests]
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TraceCommand {
    /// What a recording holds: time, requests, threads, losses, damage
    Info(InfoArgs),
    /// List the requests that match
    Grep(GrepArgs),
    /// The slowest requests, or how long each stage takes
    Top(TopArgs),
    /// Compare two recordings, by request type and stage
    Diff(DiffArgs),
    /// Write requests for other tools (Perfetto, Chrome, OTLP, flamegraphs), or send them to an OTLP collector
    Export(ExportArgs),
    /// List, search, open or keep traces of other tools (Chrome JSON, OTLP)
    Import(ImportArgs),
}

#[derive(Debug, Clone, Args)]
pub struct InfoArgs {
    /// A recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// By the index only: checksums are not looked at, threads not counted
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which requests.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Wanted {
    /// The request with this number
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    /// Requests of this kind, e.g. kv_get, kv_prewrite, raw_put (may be given several times)
    #[arg(long = "kind", visible_alias = "type", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Requests in this region
    #[arg(long, value_name = "ID")]
    pub region: Option<u64>,
    /// Requests that this store served
    #[arg(long, value_name = "ID")]
    pub store: Option<u64>,
    /// Requests for this key: raw text, z-escaped (\ooo, \xhh) or 0x hex
    #[arg(long, value_name = "KEY", conflicts_with = "prefix")]
    pub key: Option<String>,
    /// Requests for keys that begin so
    #[arg(long, value_name = "KEY")]
    pub prefix: Option<String>,
    /// Requests that went through this stage (may be given several times: through all of them)
    #[arg(long = "stage", value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Requests that took at least this long; with --stage: the stage did
    #[arg(long, value_name = "TIME")]
    pub min_duration: Option<String>,
    /// Requests that began at or after this time
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Requests that began before this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct GrepArgs {
    /// A recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub wanted: Wanted,
    /// Print no more requests than this
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print only how many match
    #[arg(long, conflicts_with = "limit")]
    pub count: bool,
    /// Print one JSON object a request, a line each, with its stages
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
    pub wanted: Wanted,
    /// Rank the stages of each request type by this, instead of single requests by their duration
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<By>,
    /// How many lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The recording to compare with
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The recording that is compared
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    #[command(flatten)]
    pub wanted: Wanted,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// Addresses of tikv-servers (their --addr); with all stores of a cluster, replicas are in its requests
    #[arg(value_name = "HOST:PORT", required_unless_present = "pd", conflicts_with = "pd")]
    pub addresses: Vec<String>,
    /// Record all stores that the PD at this address knows
    #[arg(long, value_name = "HOST:PORT")]
    pub pd: Option<String>,
    /// The recording; a file that holds something is not overwritten
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How long, 1 to 600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    #[command(flatten)]
    pub tls: TlsArgs,
}
