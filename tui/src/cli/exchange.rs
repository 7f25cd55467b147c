//! `tikv-tui trace export` and `import`: the arguments of what speaks to other tools.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Common, Wanted};

const EXPORT_EXAMPLES: &str = "Examples:
  tikv-tui trace export a.trace --format perfetto -o a.pftrace
      for https://ui.perfetto.dev
  tikv-tui trace export a.trace --format chrome --min-duration 5ms -o s.json
      the slow requests
  tikv-tui trace export a.trace --to grpc://127.0.0.1:4317
      to an OTLP collector; http://HOST:4318 as well";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// A recording, steps that `--json` printed, or a file that `trace import` reads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output", required_unless_present = "to")]
    pub format: Option<TraceFormat>,
    /// Where to write it; - is standard output
    #[arg(short, long, value_name = "OUT", requires = "format")]
    pub output: Option<PathBuf>,
    /// Send it to an OTLP collector instead: grpc://HOST:PORT or http://HOST:PORT[/PATH]
    #[arg(long, value_name = "URL", conflicts_with_all = ["format", "output"])]
    pub to: Option<String>,
    #[command(flatten)]
    pub wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// Protobuf for ui.perfetto.dev: tracks by store and thread, arrows, Raft's indexes as counters
    Perfetto,
    /// Trace-event JSON for chrome://tracing, Perfetto, speedscope
    Chrome,
    /// OpenTelemetry's TracesData as protobuf
    Otlp,
    /// The same as JSON, a message a line
    OtlpJson,
    /// Stacks `kind;stage NANOSECONDS` for flamegraph tools
    Folded,
}

#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Trace-event JSON (Chrome, TiDB's flight recorder) or OTLP (protobuf or JSON), compressed or not; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Open this one as steps [default: list them]
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    /// List only those with this text in a name, a thread or an attribute
    #[arg(long, value_name = "TEXT", conflicts_with = "request")]
    pub grep: Option<String>,
    /// Keep them in a new trace file, which `tikv-tui trace` opens
    #[arg(short, long, value_name = "OUT", conflicts_with = "request")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}
