//! `record`: all requests of a running server, into a file.
use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use kvproto::tracecontrol::{RecordRequest, trace_control_client::TraceControlClient};
use tonic::{Code, Status};
use tracepoints::trace_file::Ended;

use crate::{
    cli::RecordArgs,
    source::attached::{endpoint, unreachable},
};

pub fn run(args: &RecordArgs) -> Result<()> {
    let output = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    if let Err(e) = record(args, output) {
        remove_if_empty(&args.output);
        return Err(e);
    }
    let file = super::open(&args.output)?;
    println!(
        "{}: {} requests, {} stamps, {} dropped; `tikv-tui trace {0}` lists them",
        args.output.display(),
        file.request_count(),
        file.stamp_count(),
        file.dropped()
    );
    match file.ending() {
        Some(early) if early != Ended::Stopped => bail!(
            "the recording {early}; what came before is in {}. The server records to its temporary directory (TMPDIR): \
             make room there, or record for a shorter time",
            args.output.display()
        ),
        _ => Ok(()),
    }
}

/// What came before a failure is kept: a trace file that is cut short can be read.
fn remove_if_empty(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|m| m.len() == 0) {
        // It stays as an empty file then.
        let _ = std::fs::remove_file(path);
    }
}

fn record(args: &RecordArgs, mut output: File) -> Result<()> {
    let address = &args.address;
    let security = args.tls.security()?;
    let endpoint = endpoint(address, &security)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the network runtime")?;
    eprintln!("recording {address} for {} s ...", args.seconds);
    runtime.block_on(async {
        let channel = endpoint.connect().await.map_err(|e| unreachable(address, &e, security.hint()))?;
        let mut client = TraceControlClient::new(channel);
        let refused = |status: Status| match status.code() {
            Code::Unimplemented => {
                anyhow!("{address} does not serve trace control; is it a tikv-server of this toolkit?")
            }
            Code::Unavailable | Code::Unknown => {
                anyhow!("{address} hung up: {}{}", status.message(), security.hint())
            }
            _ => anyhow!("{address} cannot record: {}", status.message()),
        };
        let request = RecordRequest { seconds: args.seconds };
        let mut chunks = client.record(request).await.map_err(refused)?.into_inner();
        while let Some(chunk) = chunks.message().await.map_err(refused)? {
            output
                .write_all(&chunk.data)
                .with_context(|| format!("cannot write {}", args.output.display()))?;
        }
        output.sync_all().with_context(|| format!("cannot write {}", args.output.display()))
    })
}
