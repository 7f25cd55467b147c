//! `flashback`: of a running cluster, or of one stopped store.
use clap::Args;

use super::stopped::{Name, change_store, ranges};
use crate::{
    Error, Offline, Result,
    cli::Global,
    commands::{apply::WriteOptions, flashback as cluster},
    key::hex,
    print::output::Output,
    write::{
        Flashback,
        flashback::{self, Stamps},
        plan::Plan,
        plans,
    },
};

/// A version, and the data to flash back.
#[derive(Clone, Debug, Args)]
pub struct FlashbackArgs {
    /// The version to flash back to
    #[arg(short = 'v', value_name = "TS")]
    version: u64,
    /// Only these regions
    #[arg(short = 'r', alias = "region", value_name = "REGION", value_delimiter = ',')]
    regions: Vec<u64>,
    /// Hex start key, as `raft region` shows it
    #[arg(
        long,
        value_name = "HEX",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "regions"
    )]
    start: String,
    /// Hex end key
    #[arg(
        long,
        value_name = "HEX",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "regions"
    )]
    end: String,
    /// Timestamp of the new versions; later than all others of the store if absent (not in TiKV)
    #[arg(long, value_name = "TS")]
    start_ts: Option<u64>,
    #[command(flatten)]
    how: WriteOptions,
}

/// Runs `flashback` on the directory of `--data-dir` or the cluster of `--pd`.
pub fn run(args: &FlashbackArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if global.data_dir.is_none() {
        return flash_cluster(args, global, out);
    }
    let name = Name { command: "flashback", done: "flashback all stores success!" };
    change_store(&name, &args.how, global, out, |store, out| plan(args, store, out))
}

fn flash_cluster(args: &FlashbackArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if global.pd.is_none() {
        return Err(Error::other(
            "flashback: give --pd ADDR for a running cluster, or --data-dir DIR for a store that is stopped",
        ));
    }
    if args.start_ts.is_some() {
        return Err(Error::other("--start-ts is for --data-dir: timestamps of a cluster come from its PD"));
    }
    let (start, end) = (hex(&args.start)?, hex(&args.end)?);
    let wanted = Flashback { pd: None, version: args.version, regions: args.regions.clone(), start, end };
    cluster::run(&wanted, false, &args.how, global, out)
}

fn plan(args: &FlashbackArgs, store: &Offline, out: &mut Output<'_>) -> Result<Plan> {
    plans::check_flushed(store, &args.regions)?;
    let (version, stamps) = (args.version, Stamps::new(store, args.version, args.start_ts)?);
    let mut plan = Plan::whole();
    let ranges = if args.regions.is_empty() {
        vec![(keys::data_key(&hex(&args.start)?), keys::data_end_key(&hex(&args.end)?))]
    } else {
        ranges(store, &args.regions, &mut plan)
    };
    if !out.is_json() {
        let Stamps { start, commit } = stamps;
        out.line(format!("flashback to {version}: new versions have start_ts {start}, commit_ts {commit}"))?;
    }
    flashback::plan(store, version, &ranges, stamps, &mut plan)?;
    Ok(plan)
}
