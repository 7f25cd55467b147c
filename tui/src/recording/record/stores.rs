//! Records several stores at once and merges the recordings, so that replicas' stages join their requests.
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use kvproto::metapb::StoreState;
use tokio::task::JoinSet;
use tracepoints::{
    printable::note,
    trace_file::{self, Ended, TraceFile},
};

use super::{Source, record as record_one, runtime};
use crate::{
    cli::RecordArgs,
    recording::output,
    source::{attached::endpoint, pd},
    terminal::signals::{Signals, Stopped},
};

/// Addresses of the stores to record: the given ones without duplicates, or all that PD returns.
pub(super) fn addresses(args: &RecordArgs) -> Result<Vec<String>> {
    let Some(server) = &args.pd else {
        let mut seen = BTreeSet::new();
        return Ok(args.addresses.iter().filter(|a| seen.insert(a.as_str())).cloned().collect());
    };
    let security = args.tls.security()?;
    let endpoint = endpoint(server, &security).context("--pd")?;
    runtime()?.block_on(async {
        let stores = pd::stores(server, endpoint, &security).await?;
        let alive = stores.into_iter().filter(|store| store.state != StoreState::Tombstone as i32);
        let addresses: Vec<String> = alive.map(|store| store.address).collect();
        if addresses.is_empty() {
            bail!("the PD at {server} has no store; start one, or give another PD");
        }
        Ok(addresses)
    })
}

/// Records all stores at the same time and merges the recordings, even if some of them ended early.
pub(super) fn record(
    addresses: &[String],
    args: &RecordArgs,
    output: &File,
    signals: &'static Signals,
) -> Result<()> {
    let parts: Vec<PathBuf> = (1..=addresses.len()).map(|n| part(&args.output, n)).collect();
    let mut failures = runtime()?.block_on(all(addresses, &parts, args, signals))?;
    let files: Vec<(usize, TraceFile)> =
        parts.iter().enumerate().filter_map(|(i, part)| Some((i, TraceFile::open(part).ok()?))).collect();
    for (i, early) in files.iter().filter_map(|(i, file)| Some((i, file.ending()?))) {
        if early != Ended::Stopped {
            failures.push(anyhow!("{}: the recording {early}; the part before is kept", addresses[*i]));
        }
    }
    let files: Vec<TraceFile> = files.into_iter().map(|(_, file)| file).collect();
    let merged = output
        .try_clone()
        .map_err(anyhow::Error::from)
        .and_then(|output| Ok(trace_file::merge(&files, Box::new(output), &args.output)?));
    merged
        .with_context(|| format!("the recordings of the stores are in {}.*.part", args.output.display()))?;
    // A part that cannot be removed does no harm.
    parts.iter().for_each(|part| drop(std::fs::remove_file(part)));
    join_failures(addresses.len(), failures)
}

/// Records all stores into `parts`; returns their failures in the order of their ends.
async fn all(
    addresses: &[String],
    parts: &[PathBuf],
    args: &RecordArgs,
    signals: &'static Signals,
) -> Result<Vec<anyhow::Error>> {
    let mut tasks = JoinSet::new();
    for (address, path) in addresses.iter().zip(parts) {
        let (address, path, seconds) = (address.clone(), path.clone(), args.seconds);
        let security = args.tls.security()?;
        let mut file = output::claim(&path)?;
        tasks.spawn(async move {
            let from = Source { address: &address, seconds, security: &security };
            record_one(from, &path, &mut file, signals).await
        });
    }
    let mut failures = Vec::new();
    while let Some(done) = tasks.join_next().await {
        failures.extend(done.context("a recording panicked")?.err());
    }
    Ok(failures)
}

fn part(output: &Path, n: usize) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{n}.part"));
    output.with_file_name(name)
}

/// Returns the signal that ended the recordings, or the last failure; reports other failures as warnings.
fn join_failures(stores: usize, mut failures: Vec<anyhow::Error>) -> Result<()> {
    if let Some(i) = failures.iter().position(|failure| failure.is::<Stopped>()) {
        return Err(failures.swap_remove(i));
    }
    let Some(first) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| note(format_args!("warning: {failure:#}")));
    let failed = failures.len() + 1;
    Err(first.context(format!("{failed} of {stores} stores were not recorded to the end")))
}
