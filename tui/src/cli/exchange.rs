//! Arguments of `tikv-tui trace export` and `import`, which exchange traces with other tools.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Common, filter::FilterArgs};

const EXPORT_EXAMPLES: &str = "Examples:
  tikv-tui trace export a.trace --format perfetto -o a.pftrace
      write a file for https://ui.perfetto.dev
  tikv-tui trace export a.trace --format chrome --min-duration 5ms -o s.json
      export the slow requests
  tikv-tui trace export a.trace --to grpc://127.0.0.1:4317
      send to an OTLP collector; http://HOST:4318 works, too";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// A recording, saved steps, or a file that `trace import` reads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Format to write
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output", required_unless_present = "to")]
    pub format: Option<TraceFormat>,
    /// File to write; - is standard output
    #[arg(short, long, value_name = "OUT", requires = "format")]
    pub output: Option<PathBuf>,
    /// Send to an OTLP collector instead: grpc://HOST:PORT or http://HOST:PORT[/PATH]
    #[arg(long, value_name = "URL", conflicts_with_all = ["format", "output"])]
    pub to: Option<String>,
    #[command(flatten)]
    pub wanted: FilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// Protobuf for ui.perfetto.dev: tracks by store and thread, arrows, Raft indexes as counters
    Perfetto,
    /// Trace-event JSON for chrome://tracing, Perfetto, speedscope
    Chrome,
    /// OpenTelemetry's TracesData as protobuf
    Otlp,
    /// OpenTelemetry's TracesData as JSON, one message per line
    OtlpJson,
    /// Folded stacks `kind;stage NANOSECONDS` for flamegraph tools
    Folded,
}

#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Trace-event JSON (Chrome, TiDB's flight recorder) or OTLP (protobuf or JSON), compressed or not; - is
    /// standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Open the request ID as steps [default: list all requests]
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    /// List only requests with TEXT in a name, a thread or an attribute
    #[arg(long, value_name = "TEXT", conflicts_with = "request")]
    pub grep: Option<String>,
    /// Write the requests to a new trace file, which `tikv-tui trace` opens
    #[arg(short, long, value_name = "OUT", conflicts_with = "request")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}
