//! Wall clock: the stages of requests, from a trace file or from a server that records.

use std::{collections::HashSet, io::Write, path::Path};

use kvproto::tracecontrol::{RecordRequest, trace_control_client::TraceControlClient};
use tracepoints::trace_file::TraceFile;
use tracepoints_profile::{
    Folded,
    flame::Measure,
    wall::{self, WallOptions},
};

use super::Profile;
use crate::{Error, Result, online, output::Output};

/// The requests in the trace file at `path`.
pub fn of_file(path: &Path, options: WallOptions, out: &mut Output<'_>) -> Result<Profile> {
    let file = TraceFile::open(path).map_err(|e| Error::other(format!("--trace: {e}")))?;
    for damage in file.damage() {
        out.note(&format!(
            "warning: {} at byte {}: {} ({} bytes passed over)",
            path.display(),
            damage.offset,
            damage.reason,
            damage.len
        ));
    }
    let title = format!("Wall clock of {}", path.file_name().unwrap_or_default().to_string_lossy());
    Ok(profile(title, &file, options))
}

/// The requests that the server at `host` serves in the next `seconds`.
pub fn of_server(host: &str, seconds: u32, options: WallOptions, out: &mut Output<'_>) -> Result<Profile> {
    let (runtime, channel) = online::connect(host)?;
    out.note(&format!("recording {host} for {seconds} s ..."));
    let fail = |what: &dyn std::fmt::Display| Error::other(format!("--host {host}: recording: {what}"));
    let mut recorded = tempfile::NamedTempFile::new().map_err(|e| fail(&e))?;
    runtime
        .block_on(async {
            let mut client = TraceControlClient::new(channel);
            let mut chunks = client.record(RecordRequest { seconds }).await?.into_inner();
            while let Some(chunk) = chunks.message().await? {
                recorded.write_all(&chunk.data)?;
            }
            recorded.flush()?;
            Ok(())
        })
        .map_err(|e: RecordError| fail(&e))?;
    let file = TraceFile::open(recorded.path()).map_err(|e| fail(&e))?;
    Ok(profile(format!("Wall clock of {host}, {seconds} s"), &file, options))
}

#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{}; does the server at this address serve trace control?", .0.message())]
    Status(#[from] tonic::Status),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn profile(title: String, file: &TraceFile, options: WallOptions) -> Profile {
    let mut folded = Folded::default();
    let (mut traced, mut count) = (HashSet::new(), 0);
    for trace in file.traces().flatten() {
        traced.extend(trace.requests.iter().map(|request| request.id));
        count += trace.requests.len();
        folded.merge(&wall::fold(&trace.steps, options));
    }
    // A stepped request may have been recorded, too.
    for request in file.requests().iter().filter(|request| !traced.contains(&request.id)) {
        count += 1;
        folded.merge(&wall::fold(&request.trace().steps, options));
    }
    let subtitle = format!("{count} requests, {:.3} ms in all", folded.total() as f64 / 1e6);
    Profile { folded, measure: Measure::Nanoseconds, title, subtitle }
}
