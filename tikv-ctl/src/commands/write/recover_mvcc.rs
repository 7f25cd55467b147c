//! `recover-mvcc`: deletes records that the other column families contradict.
use clap::Args;

use super::stopped::{Name, change_store, not_in_pd, ranges};
use crate::{
    Offline, Result,
    cli::Global,
    commands::apply::WriteOptions,
    pd::Pd,
    print::output::Output,
    write::{fate::Fates, mvcc_check, plan::Plan},
};

/// The regions to check, or the whole store.
#[derive(Clone, Debug, Args)]
pub struct RecoverMvccArgs {
    /// Check all data of the store
    #[arg(short = 'a', long, conflicts_with = "regions")]
    all: bool,
    /// Region ids, separated with commas
    #[arg(short = 'r', value_name = "REGION", value_delimiter = ',', required_unless_present = "all")]
    regions: Vec<u64>,
    /// PD endpoints, to take the regions' ranges from; the store's own states if absent
    #[arg(short = 'p', value_name = "PD", value_delimiter = ',', conflicts_with = "all")]
    pd: Option<Vec<String>>,
    /// Number of reading threads, with --all
    #[arg(long, value_name = "N", requires = "all", conflicts_with = "regions", default_value_if("all", "true", "4"),
          value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Skip deleting: the same as --dry-run
    #[arg(short = 'R', long)]
    read_only: bool,
    #[command(flatten)]
    how: WriteOptions,
}

/// Runs `recover-mvcc`.
pub fn run(args: &RecoverMvccArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let name = Name { command: "recover-mvcc", done: "success!" };
    let how = WriteOptions { dry_run: args.how.dry_run || args.read_only, ..args.how.clone() };
    change_store(&name, &how, global, out, |store, out| plan(args, store, global, out))
}

fn plan(args: &RecoverMvccArgs, store: &Offline, global: &Global, out: &mut Output<'_>) -> Result<Plan> {
    let mut plan = Plan::default();
    if args.all {
        mvcc_check::check_all(store, args.threads.unwrap_or(1).into(), &mut plan)?;
        return Ok(plan);
    }
    let ranges = match args.pd.clone().or(global.pd.clone().map(|pd| vec![pd])) {
        Some(pd) => ranges_of_pd(&args.regions, &pd, global)?,
        None => ranges(store, &args.regions, &mut plan),
    };
    let mut fates = Fates::new(store)?;
    for (from, to) in &ranges {
        mvcc_check::check(store.kv(), (from, to), &mut fates, &mut || out.tick("keys"), &mut plan)?;
    }
    Ok(plan)
}

/// Returns the data-key ranges of regions as PD has them.
fn ranges_of_pd(regions: &[u64], pd: &[String], global: &Global) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let pd = Pd::connect_to(pd, global)?;
    let range = |id: &u64| {
        let region = pd.region_if_known(*id)?.ok_or_else(|| not_in_pd(*id))?;
        Ok((keys::enc_start_key(&region), keys::enc_end_key(&region)))
    };
    regions.iter().map(range).collect()
}
