//! `tombstone`: marks the peers of regions as removed.
use clap::Args;

use super::stopped::{Name, change_store, not_in_pd};
use crate::{
    Error, Offline, Result,
    cli::Global,
    commands::apply::WriteOptions,
    pd::Pd,
    print::output::Output,
    write::{plan::Plan, plans},
};

/// Regions, and where to check that their peers are gone.
#[derive(Clone, Debug, Args)]
pub struct TombstoneArgs {
    /// Region ids, separated with commas
    #[arg(short = 'r', value_name = "REGION", value_delimiter = ',', required = true)]
    regions: Vec<u64>,
    /// PD endpoints
    #[arg(short = 'p', value_name = "PD", value_delimiter = ',')]
    pd: Option<Vec<String>>,
    /// Skip the check with PD
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: WriteOptions,
}

/// Runs `tombstone`.
pub fn run(args: &TombstoneArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let name = Name { command: "tombstone", done: "success!" };
    change_store(&name, &args.how, global, out, |store, _| plan(args, store, global))
}

fn plan(args: &TombstoneArgs, store: &Offline, global: &Global) -> Result<Plan> {
    // As in TiKV: a named PD is asked even with --force.
    let of_global = global.pd.clone().filter(|_| !args.force).map(|pd| vec![pd]);
    match args.pd.clone().or(of_global) {
        Some(pd) => {
            let pd = Pd::connect_to(&pd, global)?;
            let known = |id| pd.region_if_known(id)?.ok_or_else(|| not_in_pd(id));
            plans::tombstone(store, &args.regions, Some(&known))
        }
        None if args.force => plans::tombstone(store, &args.regions, None),
        None => {
            Err(Error::other("give -p PD to check that the peers are gone, or --force to skip the check"))
        }
    }
}
