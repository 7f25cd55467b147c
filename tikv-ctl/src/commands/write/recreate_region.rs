//! `recreate-region`: creates an empty region in place of a lost one.
use clap::Args;

use super::stopped::{Name, change_store};
use crate::{
    Error, Offline, Result,
    cli::Global,
    commands::apply::WriteOptions,
    pd::Pd,
    print::output::Output,
    write::{plan::Plan, plans},
};

/// The lost region.
#[derive(Clone, Debug, Args)]
pub struct RecreateRegionArgs {
    /// PD endpoints
    #[arg(short = 'p', value_name = "PD", value_delimiter = ',')]
    pd: Option<Vec<String>>,
    /// The id of the lost region
    #[arg(short = 'r', value_name = "REGION")]
    region: u64,
    #[command(flatten)]
    how: WriteOptions,
}

/// Runs `recreate-region`.
pub fn run(args: &RecreateRegionArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let name = Name { command: "recreate-region", done: "success" };
    change_store(&name, &args.how, global, out, |store, out| plan(args, store, global, out))
}

fn plan(args: &RecreateRegionArgs, store: &Offline, global: &Global, out: &mut Output<'_>) -> Result<Plan> {
    plans::check_recreatable(store)?;
    let pd = match &args.pd {
        Some(pd) => Pd::connect_to(pd, global)?,
        None => Pd::connect(global)?,
    };
    let lost = pd.region_if_known(args.region)?;
    let lost = lost.ok_or_else(|| Error::Tikv(format!("no such region {} on PD", args.region)))?;
    let (id, peer) = (pd.alloc_id()?, pd.alloc_id()?);
    if !out.is_json() {
        out.line(format!("initing empty region {id} with peer_id {peer}..."))?;
    }
    plans::recreate_region(store, &lost, id, peer)
}
