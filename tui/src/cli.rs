//! The command line: one truth for what it takes and what its help says.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use security::{SecurityConfig, SecurityManager};

mod exchange;
mod trace;

pub use exchange::{ExportArgs, ImportArgs, TraceFormat};
pub use trace::{
    By, DiffArgs, GrepArgs, InfoArgs, OpenArgs, RecordArgs, TopArgs, TraceArgs, TraceCommand, Wanted,
};

/// Steps one request through the whole storage engine, stage by stage, in the terminal.
#[derive(Debug, Parser)]
#[command(name = "tikv-tui", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command, those of `step point_get`
    #[command(flatten)]
    pub step: StepFlags,
}

const EXAMPLES: &str = "Without a command: tikv-tui step point_get

Examples:
  tikv-tui
      step a point get through an embedded three-store cluster
  tikv-tui --json
      the same, printed: one object a step
  tikv-tui step txn_2pc --gate raft_commit
      run a two-phase commit up to its quorum commit
  tikv-tui step my.txt --plain
      print the steps of a scenario file as a table
  tikv-tui attach 127.0.0.1:20160 --key k1
      step the next request for k1 on a running tikv-server";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Step a recipe or a scenario file on an embedded cluster
    Step(StepArgs),
    /// List the recipes
    List(ListArgs),
    /// Step the next matching request on a running tikv-server, whoever sends it; only that process's stages are shown
    Attach(AttachArgs),
    /// Record all requests of a running tikv-server into a file
    Record(RecordArgs),
    /// Open, search and compare recordings, and steps that `--json` printed or the palette saved
    Trace(Box<TraceArgs>),
    /// Measure what recording every request costs on this machine, and print a receipt
    Overhead(OverheadArgs),
    /// Print the completions of a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the man pages, one for each command
    Man {
        /// Where to: a directory, created if it is not there
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Print one JSON object a recipe, a line each: its name and its title
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct OverheadArgs {
    /// Measure for about this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Print the receipt as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct StepArgs {
    /// A recipe's name (see `tikv-tui list`) or the path of a scenario file (*.txt)
    #[arg(value_name = "NAME|FILE.txt", default_value = "point_get")]
    pub name: String,
    #[command(flatten)]
    pub flags: StepFlags,
}

#[derive(Debug, Clone, Default, Args)]
pub struct StepFlags {
    /// Keep the cluster's data here [default: a fresh temporary directory that is removed]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Do not capture call stacks
    #[arg(long)]
    pub no_stacks: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Args)]
pub struct AttachArgs {
    /// Address of a tikv-server (its --addr)
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

/// How a server is dialled: with TLS if all three are given.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// PEM file of the authority that the server's certificate must be signed by: TLS, with --cert-path and --key-path
    #[arg(long, value_name = "FILE", requires_all = ["cert_path", "key_path"])]
    pub ca_path: Option<PathBuf>,
    /// PEM file of the certificate to show to the server
    #[arg(long, value_name = "FILE", requires_all = ["ca_path", "key_path"])]
    pub cert_path: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires_all = ["ca_path", "cert_path"])]
    pub key_path: Option<PathBuf>,
}

impl TlsArgs {
    /// # Errors
    /// If a file is not what it should be.
    pub fn security(&self) -> anyhow::Result<SecurityManager> {
        let (ca, cert, key) = (self.ca_path.as_deref(), self.cert_path.as_deref(), self.key_path.as_deref());
        Ok(SecurityManager::new(SecurityConfig::from_paths(ca, cert, key))?)
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Hold the request at this stage (may be given several times) [default: at every stage]
    #[arg(long = "gate", value_name = "STAGE")]
    pub gates: Vec<String>,
    /// Print the steps as a table; so also if the output is not a terminal
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,
    /// Print one JSON object a step, a line each, and a summary last
    #[arg(long)]
    pub json: bool,
    /// A checkout of tikv/tikv, to read the source of TiKV's functions
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
            (args.name.as_str(), args.flags.common.gates),
            ("x", vec!["a".to_owned(), "b".to_owned()])
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
