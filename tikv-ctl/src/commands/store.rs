//! Commands that ask a store: a server or a data directory.
use clap::Subcommand;

use super::{
    cluster,
    data::{self, DataCmd},
    open::{open_debugger, report_damages},
    raft::{self, RaftCmd, RegionArgs},
    store_info,
};
use crate::{Online, Result, cli::Global, print::output::Output, source::Source};

/// Commands that ask a store.
#[derive(Debug, Subcommand)]
pub enum StoreCmd {
    /// Print an entry of the Raft log, or the states of regions
    Raft {
        #[command(subcommand)]
        cmd: RaftCmd,
    },
    /// Print the states and leaders of regions
    Region(RegionArgs),
    #[command(flatten)]
    Data(DataCmd),
    /// Print the regions whose Raft states keep a server from starting
    BadRegions {},
    /// Print the properties of a region, such as its number of rows
    RegionProperties {
        /// The target region id
        #[arg(short = 'r', value_name = "REGION")]
        region: u64,
    },
    /// Print the properties of a range, such as its number of rows
    RangeProperties {
        /// Hex start key, not starting with "z"
        #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
        start: String,
        /// Hex end key, not starting with "z"
        #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
        end: String,
    },
    /// Print the store's id and API version
    Store {},
    /// Print the cluster's id and, with --host or --pd, the leaders of regions
    Cluster {},
    /// Print the cluster's id
    ShowClusterId {},
}

/// Runs `cmd` on the server of `--host` or the directory of `--data-dir`.
pub fn run(cmd: &StoreCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if matches!(cmd, StoreCmd::Cluster {}) && global.pd.is_some() {
        return cluster::print_from_pd(global, out);
    }
    if let Some(host) = &global.host {
        let online = Online::connect(host, &global.security()?)?;
        return ask(cmd, global, &online, out);
    }
    let offline = open_debugger(global, out)?;
    let done = ask(cmd, global, &offline, out);
    report_damages(&offline, done, out)
}

fn ask(cmd: &StoreCmd, global: &Global, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        StoreCmd::Raft { cmd } => raft::run(cmd, source, out),
        StoreCmd::Region(args) => raft::region(args, global, source, out),
        StoreCmd::Data(cmd) => data::run(cmd, global, source, out),
        StoreCmd::BadRegions {} => store_info::bad_regions(source, out),
        StoreCmd::RegionProperties { region } => store_info::region_properties(*region, source, out),
        StoreCmd::RangeProperties { start, end } => store_info::range_properties(start, end, source, out),
        StoreCmd::Store {} => store_info::info(source, out),
        StoreCmd::Cluster {} => cluster::print_from_source(source, out),
        StoreCmd::ShowClusterId {} => store_info::cluster_id(source, out),
    }
}
