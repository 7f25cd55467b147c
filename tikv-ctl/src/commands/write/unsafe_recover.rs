//! `unsafe-recover`: removes failed stores from regions, or Raft logs that were not applied.
use clap::{Args, Subcommand};

use super::stopped::{Name, change_store};
use crate::{Result, cli::Global, commands::apply::WriteOptions, print::output::Output, write::plans};

/// A list of regions, or all regions; one of the two is required.
#[derive(Clone, Debug, Args)]
pub struct RegionSelector {
    /// Only for these regions
    #[arg(
        short = 'r',
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "all_regions",
        required_unless_present = "all_regions"
    )]
    regions: Option<Vec<u64>>,
    /// Change all regions of this store
    #[arg(long)]
    all_regions: bool,
}

/// `unsafe-recover remove-fail-stores` and `drop-unapplied-raftlog`.
#[derive(Clone, Debug, Subcommand)]
pub enum UnsafeRecoverCmd {
    /// Remove the peers on failed stores from regions
    RemoveFailStores {
        /// The failed stores
        #[arg(short = 's', value_name = "STORE", value_delimiter = ',', required = true)]
        stores: Vec<u64>,
        #[command(flatten)]
        which: RegionSelector,
        /// Make the only learner a voter if no voter is left
        #[arg(long)]
        promote_learner: bool,
        #[command(flatten)]
        how: WriteOptions,
    },
    /// Remove the entries that are not applied from the Raft logs of regions
    DropUnappliedRaftlog {
        #[command(flatten)]
        which: RegionSelector,
        #[command(flatten)]
        how: WriteOptions,
    },
}

/// Runs `cmd`.
pub fn run(cmd: &UnsafeRecoverCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        UnsafeRecoverCmd::RemoveFailStores { stores, which, promote_learner, how } => {
            let name = Name { command: "remove-fail-stores", done: "success" };
            change_store(&name, how, global, out, |store, out| {
                if !out.is_json() {
                    out.line(format!("removing stores {stores:?} from configurations..."))?;
                }
                plans::remove_fail_stores(store, stores, which.regions.as_deref(), *promote_learner)
            })
        }
        UnsafeRecoverCmd::DropUnappliedRaftlog { which, how } => {
            let name = Name { command: "drop-unapplied-raftlog", done: "success" };
            change_store(&name, how, global, out, |store, out| {
                if !out.is_json() {
                    out.line(format!("removing unapplied raftlog on region {:?} ...", which.regions))?;
                }
                plans::drop_unapplied(store, which.regions.as_deref())
            })
        }
    }
}
