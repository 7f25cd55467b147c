//! Wall clock: the stages of requests, from a trace file or from a recording server.
use std::{collections::HashSet, io::Write, path::Path};

use kvproto::tracecontrol::{RecordRequest, trace_control_client::TraceControlClient};
use tracepoints::trace_file::TraceFile;
use tracepoints_input::OnDisk;
use tracepoints_profile::{
    Operation, Pick, cohort,
    flame::Measure,
    join,
    wall::{self, WallOptions},
};

use super::{cpu::Samples, input, profile::Profile};
use crate::{Error, Result, cli::Global, grpc, print::output::Output};

/// Reads the requests in the trace file at `path`.
pub fn read_file(path: &Path, out: &mut Output<'_>) -> Result<Recording> {
    let disk = OnDisk::open(path).map_err(|e| Error::other(format!("--trace {}: {e}", path.display())))?;
    let file = TraceFile::open(disk.path()).map_err(|e| Error::other(format!("--trace: {e}")))?;
    let title = format!("Wall clock of {}", input::title(path));
    let recording = Recording::from_trace_file(title, &file);
    // Most damage is found while requests are read, so it is reported after that.
    for damage in file.damage() {
        out.note(&format!("warning: {}: {damage}", path.display()));
    }
    if let Some(at) = file.truncated_at() {
        out.note(&format!(
            "warning: {} is truncated at byte {at}; only the requests before this byte are read",
            path.display()
        ));
    }
    Ok(recording)
}

/// Records the requests that the server at `host` serves in the next `seconds`.
pub fn record_server(host: &str, seconds: u32, global: &Global, out: &mut Output<'_>) -> Result<Recording> {
    let (runtime, channel) = grpc::connect(host, &global.security()?)?;
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
    Ok(Recording::from_trace_file(format!("Wall clock of {host}, {seconds} s"), &file))
}

#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{}: check that the server at this address serves trace control", .0.message())]
    Status(#[from] tonic::Status),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Recorded requests.
pub struct Recording {
    title: String,
    /// Stepped operations as wholes, then the other recorded requests.
    operations: Vec<Operation>,
    /// The single requests of the stepped operations.
    requests: Vec<Operation>,
}

impl Recording {
    fn from_trace_file(title: String, file: &TraceFile) -> Self {
        let (mut operations, mut requests, mut traced) = (Vec::new(), Vec::new(), HashSet::new());
        for trace in file.traces().flatten() {
            traced.extend(trace.requests.iter().map(|request| request.id));
            requests.extend(Operation::requests_of(&trace));
            operations.push(Operation::stepped(&trace));
        }
        // A stepped request may have been recorded, too.
        for request in file.requests().filter(|request| !traced.contains(&request.id)) {
            operations.push(Operation::recorded(&request));
            requests.push(Operation::recorded(&request));
        }
        Self { title, operations, requests }
    }

    /// Returns whole operations, unless a kind or a request is selected.
    pub fn pick(self, pick: &Pick) -> Result<Vec<Operation>> {
        let client = pick.kind.as_deref().is_some_and(|k| k.eq_ignore_ascii_case("client"));
        let whole = (pick.kind.is_none() || client) && pick.request.is_none();
        let all = if whole { self.operations } else { self.requests };
        pick.filter(all).map_err(|e| Error::other(format!("{}: {e}", self.title)))
    }

    /// Builds the profile. `samples` are CPU samples of all recorded requests and show the code that stages
    /// ran.
    pub fn profile(
        self,
        pick: &Pick,
        options: WallOptions,
        samples: Option<Samples>,
        out: &mut Output<'_>,
    ) -> Result<Profile> {
        let mut title = self.title.clone();
        if *pick != Pick::default() {
            title.push_str(&format!(": {}", pick.words()));
        }
        let cpu = samples.map(|s| s.take(out)).transpose()?.flatten();
        let all = if cpu.is_some() { self.operations.clone() } else { Vec::new() };
        let operations = self.pick(pick)?;
        let in_time = match (&cpu, operations.as_slice()) {
            (None, [one]) if !options.replicas => Some(wall::in_time(one, options)),
            _ => None,
        };
        let folded = match cpu {
            Some(cpu) => join::stacks(&operations, &all, &cpu, options),
            None => cohort::sum(&cohort::stacks(&operations, options)),
        };
        let count = operations.len();
        let subtitle = format!("{count} requests, {:.3} ms in all", folded.total() as f64 / 1e6);
        Ok(Profile {
            folded,
            measure: Measure::Nanoseconds,
            title,
            subtitle,
            operations,
            stacks: None,
            in_time,
        })
    }
}
