//! `record`: records all requests of running servers into a file.
mod stores;

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use kvproto::tracecontrol::{RecordChunk, RecordRequest, trace_control_client::TraceControlClient};
use security::SecurityManager;
use tokio::runtime::Runtime;
use tonic::{Code, Status, Streaming, transport::Channel};
use tracepoints::{
    printable::{note, print},
    trace_file::{Ended, TraceFile},
};

use super::output;
use crate::{
    cli::RecordArgs,
    source::attached::{endpoint, unreachable},
    state::units,
    terminal::signals::{self, Signals, Stopped},
};

/// Interval of the checks for a signal.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Records until the time is over or a signal arrives; prints a summary.
///
/// # Errors
/// If a server or the output fails, or a signal ended the recording. The file keeps what was recorded before.
pub fn run(args: &RecordArgs) -> Result<()> {
    let signals = signals::listen().context("cannot listen for signals")?;
    let addresses = stores::addresses(args)?;
    let path = &args.output;
    let mut output = output::claim(path)?;
    let began = Instant::now();
    let done = match addresses.as_slice() {
        [address] => {
            let from = Source { address, seconds: args.seconds, security: &args.tls.security()? };
            runtime()?.block_on(record(from, path, &mut output, signals))
        }
        many => stores::record(many, args, &output, signals),
    };
    let took = units::duration(began.elapsed().as_nanos() as u64);
    match done {
        Ok(()) => finished(path),
        Err(e) => {
            note(kept(path, &took));
            Err(e)
        }
    }
}

fn finished(path: &Path) -> Result<()> {
    let file = super::open(path)?;
    print(&format!("{}\n", contents(path, &file))).context("cannot write to standard output")?;
    match file.ending() {
        Some(Ended::Stopped) | None => Ok(()),
        Some(early) => bail!(
            "the recording {early}; {} contains the part before. The server records to its temporary directory (TMPDIR): \
             free space there, or record for a shorter time",
            path.display()
        ),
    }
}

fn contents(path: &Path, file: &TraceFile) -> String {
    let shown = path.display();
    format!(
        "{shown}: {} requests, {} stamps, {} dropped; `tikv-tui trace {shown}` lists them",
        file.request_count(),
        file.stamp_count(),
        file.dropped()
    )
}

/// Describes an interrupted recording. Removes the file if nothing was recorded.
fn kept(path: &Path, took: &str) -> String {
    let file = TraceFile::open(path).ok();
    match file.filter(|f| f.stamp_count() > 0) {
        Some(file) => format!("recorded for {took}: {}", contents(path, &file)),
        None => {
            // An empty file does not block the name, so a failure does not matter.
            let _ = std::fs::remove_file(path);
            format!("nothing was recorded; removed {}", path.display())
        }
    }
}

pub(super) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the network runtime")
}

/// A store to record, and the duration in seconds.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub address: &'a str,
    pub seconds: u32,
    pub security: &'a SecurityManager,
}

/// Writes one store's recording into `output`, the file at `path`.
pub(super) async fn record(
    from: Source<'_>,
    path: &Path,
    output: &mut File,
    signals: &Signals,
) -> Result<()> {
    let Source { address, seconds, security } = from;
    let endpoint = endpoint(address, security)?;
    note(format_args!("recording {address} for {seconds} s ..."));
    let refused = |status: Status| match status.code() {
        Code::Unimplemented => {
            anyhow!("{address} has no TraceControl service: expected a tikv-server of this project")
        }
        Code::Unavailable | Code::Unknown => {
            anyhow!("{address} closed the connection: {}{}", status.message(), security.hint())
        }
        _ => anyhow!("{address} cannot record: {}", status.message()),
    };
    let cannot = || format!("cannot write {}", path.display());
    let begin = async {
        let channel = endpoint.connect().await.map_err(|e| unreachable(address, &e, security.hint()))?;
        begin(channel, seconds).await.map_err(refused)
    };
    let mut chunks = unless_stopped(signals, begin).await??;
    while let Some(chunk) = unless_stopped(signals, chunks.message()).await?.map_err(refused)? {
        output.write_all(&chunk.data).with_context(cannot)?;
    }
    output.sync_all().with_context(cannot)
}

async fn begin(channel: Channel, seconds: u32) -> Result<Streaming<RecordChunk>, Status> {
    let mut client = TraceControlClient::new(channel);
    Ok(client.record(RecordRequest { seconds }).await?.into_inner())
}

/// Waits for `work`, or for a signal that asks the program to end.
async fn unless_stopped<T>(signals: &Signals, work: impl Future<Output = T>) -> Result<T, Stopped> {
    let stopped = async {
        loop {
            if let Some(signal) = signals.end() {
                return Stopped(signal);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        stopped = stopped => Err(stopped),
        done = work => Ok(done),
    }
}
