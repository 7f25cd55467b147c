//! The command line: its arguments and their help texts.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use security::TlsArgs;

mod exchange;
mod filter;
mod trace;

pub use exchange::{ExportArgs, ImportArgs, TraceFormat};
pub use filter::FilterArgs;
pub use trace::{By, DiffArgs, GrepArgs, InfoArgs, OpenArgs, RecordArgs, TopArgs, TraceArgs, TraceCommand};

/// Steps one request through the whole storage engine, stage by stage, in the terminal.
#[derive(Debug, Parser)]
#[command(name = "tikv-tui", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `step point_get`, which runs without a command
    #[command(flatten)]
    pub step: StepFlags,
}

const EXAMPLES: &str = "Without a command: tikv-tui step point_get

Examples:
  tikv-tui
      step a point get through an embedded three-store cluster
  tikv-tui --json
      print the steps of that point get as JSON
  tikv-tui step txn_2pc --gate raft_commit
      run a two-phase commit up to its quorum commit
  tikv-tui step point_get_locked --gate 'key error'
      run up to the answer that reports a lock
  tikv-tui run 'put k1 v1'
      step a put of your own
  tikv-tui step my.txt --plain
      print the steps of a scenario file as a table
  tikv-tui attach 127.0.0.1:20160 --key k1
      step the next request for k1 on a running tikv-server";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Step a recipe or a scenario file on an embedded cluster
    Step(StepArgs),
    /// Step one operation of a TiKV client on an embedded cluster, or with --pd on a running one
    Run(RunArgs),
    /// List the recipes
    List(ListArgs),
    /// Step the next matching request on any process of a running cluster
    Attach(AttachArgs),
    /// Record all requests of running tikv-servers into a file
    Record(RecordArgs),
    /// Open, search and compare recordings and saved steps (from `--json` or the palette)
    Trace(Box<TraceArgs>),
    /// Compare two runs, with their steps aligned: recipes, scenario files, saved steps, recorded requests
    Compare(CompareArgs),
    /// Serve the Debug Adapter Protocol, so that an editor steps a request
    Dap(DapArgs),
    /// Print breakpoints or probes at the stages, for other debuggers and tracers
    Scripts(ScriptsArgs),
    /// Measure the cost of recording every request on this machine, and print a receipt
    Overhead(OverheadArgs),
    #[command(flatten)]
    Manual(manual::Manual),
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Print one JSON object per recipe and line, with its name and title
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DapArgs {
    /// Listen on port N of 127.0.0.1, for several clients [default: one client on standard input and output]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
}

const SCRIPTS_EXAMPLES: &str = "Examples:
  tikv-tui scripts gdb --binary target/debug/tikv-server --trace > s.gdb
      write breakpoints that print each stage; then gdb -p PID -x s.gdb
  tikv-tui scripts bpftrace --binary /usr/bin/tikv-server > s.bt
      write probes for a stock TiKV; then bpftrace s.bt";

#[derive(Debug, Clone, Args)]
#[command(after_help = SCRIPTS_EXAMPLES)]
pub struct ScriptsArgs {
    /// Program that runs the script
    #[arg(value_enum, value_name = "TOOL")]
    pub tool: ScriptTool,
    /// The tikv-server to search: of this project or a stock TiKV, with its symbols
    #[arg(long, value_name = "PATH")]
    pub binary: PathBuf,
    /// Print each stage and continue, instead of stopping (gdb, lldb)
    #[arg(long)]
    pub trace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ScriptTool {
    Gdb,
    Lldb,
    Bpftrace,
    Perf,
}

#[derive(Debug, Clone, Args)]
pub struct OverheadArgs {
    /// Measure for about SECONDS seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Print the receipt as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The run to compare with: a recipe, a scenario file (*.txt), saved steps, or RECORDING#ID; NAME:2 is the
    /// second operation of a recipe
    #[arg(value_name = "BEFORE")]
    pub before: String,
    /// The run to compare, named in the same way
    #[arg(value_name = "AFTER")]
    pub after: String,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Args)]
pub struct StepArgs {
    /// A recipe's name (see `tikv-tui list`) or the path of a scenario file (*.txt) [default: a menu; without a terminal,
    /// point_get]
    #[arg(value_name = "NAME|FILE.txt")]
    pub name: Option<String>,
    #[command(flatten)]
    pub flags: StepFlags,
}

#[derive(Debug, Clone, Default, Args)]
pub struct StepFlags {
    /// Keep the cluster's data in DIR [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Do not capture call stacks
    #[arg(long)]
    pub no_stacks: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = OPERATIONS)]
pub struct RunArgs {
    /// The operation, such as 'get k1'
    #[arg(value_name = "OP", required = true, num_args = 1..)]
    pub operation: Vec<String>,
    /// Address of a PD of a running cluster [default: an embedded cluster of three stores]
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["data_dir", "no_stacks"])]
    pub pd: Option<String>,
    /// Keyspace of a cluster with API V2, such as DEFAULT [default: the cluster has API V1]
    #[arg(long, value_name = "NAME", requires = "pd")]
    pub keyspace: Option<String>,
    #[command(flatten)]
    pub flags: StepFlags,
    #[command(flatten)]
    pub tls: TlsArgs,
}

const OPERATIONS: &str = "Operations:
  get KEY, put KEY VALUE [async-commit|one-pc], delete KEY
  scan FROM TO limit=N, scan-reverse FROM TO limit=N, batch-get KEY...
  raw-get KEY, raw-put KEY VALUE, raw-delete KEY, raw-cas KEY PREVIOUS|(none) VALUE
  raw-batch-scan FROM TO [FROM TO]... limit=N
  raw-coprocessor PLUGIN VERSION FROM TO
  begin [pessimistic] put KEY VALUE; get KEY; delete KEY; commit [async-commit|one-pc]|rollback
  OP | OP      two clients at the same time
A value bytes=N has N bytes.

Examples:
  tikv-tui run 'get k1'
  tikv-tui run 'begin put a 1; put b 2; commit' --gate raft_commit
  tikv-tui run 'put k1 v1 | get k1' --plain";

#[derive(Debug, Clone, Args)]
pub struct AttachArgs {
    /// Address of a tikv-server (its --addr); its cluster's other processes are found through PD
    #[arg(value_name = "HOST:PORT")]
    pub address: String,
    /// Only requests for this key: raw text, z-escaped (\ooo, \xhh) or 0x hex
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only requests in this region; the store must have a peer of it
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    pub region: u64,
    /// Only requests of this kind, e.g. kv_get, kv_prewrite, raw_put
    #[arg(long, visible_alias = "type", value_name = "KIND")]
    pub kind: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Hold the request at this gate: a stage, `STAGE#N`, FILE:LINE, a function, `any error`, `change of VALUE`, each with
    /// `if CONDITION`; may be given several times [default: at every stage]
    #[arg(long = "gate", value_name = "GATE")]
    pub gates: Vec<String>,
    /// Print the steps as a table (default if standard output is not a terminal)
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,
    /// Also print the steps inside a stage
    #[arg(long, conflicts_with = "json")]
    pub inside: bool,
    /// Print one JSON object per step and line, then a summary
    #[arg(long)]
    pub json: bool,
    /// Checkout of tikv/tikv, to show the source of TiKV's functions
    #[arg(long, value_name = "DIR")]
    pub tikv_src: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn plain_and_json_exclude_each_other() {
        assert!(Cli::try_parse_from(["tikv-tui", "step", "x", "--plain", "--json"]).is_err());
        let cli = Cli::try_parse_from(["tikv-tui", "step", "x", "--gate", "a", "--gate", "b"]).unwrap();
        let Some(Command::Step(args)) = cli.command else { panic!("step") };
        assert_eq!(
            (args.name.as_deref(), args.flags.common.gates),
            (Some("x"), vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn without_a_command_the_flags_are_those_of_step() {
        let cli = Cli::try_parse_from(["tikv-tui", "--json", "--gate", "mvcc_get"]).unwrap();
        assert!(cli.command.is_none() && cli.step.common.json);
        assert_eq!(cli.step.common.gates, ["mvcc_get"]);
        assert!(
            Cli::try_parse_from(["tikv-tui", "--json", "list"]).is_err(),
            "a flag of `step`, not of `list`"
        );
        assert!(Cli::try_parse_from(["tikv-tui", "list", "--json"]).is_ok());
    }
}
