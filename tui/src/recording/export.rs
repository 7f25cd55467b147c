//! `trace export`: writes requests for other tools into a file, or sends them to a collector.
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tracepoints::{printable::note, trace_file::TraceFile};
use tracepoints_export::{
    Request, chrome, folded, import, otlp, perfetto,
    recorded::{self, Origin},
    send::{Endpoint, Report, SendConfig, Sender},
};

use super::{open::is_recording, select};
use crate::{
    cli::{ExportArgs, FilterArgs, TraceFormat},
    print::unless_pipe_closed,
    source::recorded::Recorded,
};

/// Writes or sends the requests.
///
/// # Errors
/// If the input cannot be read, no request matches, or the output fails.
pub fn run(args: &ExportArgs) -> Result<()> {
    match (&args.to, args.format, &args.output) {
        (Some(to), ..) => send(args, to),
        (None, Some(format), Some(output)) => write(args, format, output),
        _ => bail!("expected --format FORMAT -o OUT, or --to URL; found neither"),
    }
}

/// Passes all matching requests of a file to `take`, one after the other.
fn each(args: &ExportArgs, mut take: impl FnMut(&Request) -> Result<()>) -> Result<()> {
    let path = &args.file;
    if is_recording(path) {
        let file = super::open(path)?;
        let query = select::query(&args.wanted, &file)?;
        for found in file.find(&query) {
            take(&recorded::request(&found, Origin::Unix))?;
        }
        return kept(&file, &args.wanted, &mut take);
    }
    let wanted = only_request(&args.wanted).with_context(|| {
        format!(
            "{} is not a recording: expected no filter but --request, found another: leave it out",
            path.display()
        )
    })?;
    let bytes =
        tracepoints_input::Input::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let requests = match import::read(&bytes) {
        Ok(imported) => {
            imported.notes.iter().for_each(|n| note(format_args!("warning: {}: {n}", path.display())));
            imported.requests
        }
        Err(not_foreign) => steps(path).with_context(|| format!("{}: {not_foreign}", path.display()))?,
    };
    requests.iter().filter(|r| wanted.is_none_or(|id| r.id == id)).try_for_each(take)
}

/// Passes the finished traces of a recording to `take`. Without stamps, only `--request` selects one.
fn kept(file: &TraceFile, wanted: &FilterArgs, take: &mut impl FnMut(&Request) -> Result<()>) -> Result<()> {
    let Some(wanted) = only_request(wanted) else { return Ok(()) };
    let base = changed_ns(file.path())?;
    for trace in file.traces() {
        match trace {
            Ok(trace) => {
                let requests = recorded::requests(&trace, base);
                requests.iter().filter(|r| wanted.is_none_or(|id| r.id == id)).try_for_each(&mut *take)?;
            }
            Err(damage) => note(format_args!("warning: {}: {damage}", file.path().display())),
        }
    }
    Ok(())
}

/// The request id if no other filter is set; None if another filter is.
fn only_request(wanted: &FilterArgs) -> Option<Option<u64>> {
    let rest = FilterArgs { request: None, ..wanted.clone() };
    (rest == FilterArgs::default()).then_some(wanted.request)
}

/// Reads steps as `--json` prints them. They have no wall time, so the file's time of change takes its place.
fn steps(path: &Path) -> Result<Vec<Request>> {
    let record = Recorded::read(path)?;
    Ok(recorded::requests(&record, changed_ns(path)?))
}

/// Time of the file's last change, in Unix ns.
fn changed_ns(path: &Path) -> Result<u64> {
    let changed = path.metadata().and_then(|m| m.modified());
    Ok(recorded::unix_ns(
        changed.with_context(|| format!("cannot read the time of change of {}", path.display()))?,
    ))
}

#[derive(Default)]
struct Count {
    requests: u64,
    spans: u64,
}

impl Count {
    fn add(&mut self, request: &Request) {
        self.requests += 1;
        self.spans += request.spans.len() as u64 + 1;
    }

    /// Fails if no request was exported.
    fn require_some(&self, path: &Path) -> Result<()> {
        if self.requests == 0 {
            bail!("{} contains no request that matches the filters: nothing to export", path.display());
        }
        Ok(())
    }
}

/// Writes under a temporary name first, so that a failure keeps an existing file.
fn write(args: &ExportArgs, format: TraceFormat, output: &Path) -> Result<()> {
    if output == Path::new("-") {
        return unless_pipe_closed(fill(args, format, std::io::stdout().lock()).map(drop));
    }
    let mut name = output.file_name().context("-o: expected the name of a file, found a folder")?.to_owned();
    name.push(".partial");
    let partial = output.with_file_name(name);
    let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let done = fill(args, format, file).and_then(|count| {
        std::fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))?;
        Ok(count)
    });
    match done {
        Ok(count) => {
            note(format_args!("{}: {} requests, {} spans", output.display(), count.requests, count.spans));
        }
        Err(e) => {
            // The first error matters more than a partial file that cannot be removed.
            let _ = std::fs::remove_file(&partial);
            return Err(e);
        }
    }
    Ok(())
}

fn fill(args: &ExportArgs, format: TraceFormat, out: impl Write) -> Result<Count> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut count = Count::default();
    macro_rules! all {
        ($writer:expr) => {{
            let mut writer = $writer;
            each(args, |r| {
                count.add(r);
                Ok(writer.request(r)?)
            })?;
            count.require_some(&args.file)?;
            writer.finish()?;
        }};
    }
    match format {
        TraceFormat::Perfetto => all!(perfetto::Writer::new(out)),
        TraceFormat::Chrome => all!(chrome::Writer::new(out)),
        TraceFormat::Otlp => all!(otlp::ProtobufWriter::new(out)),
        TraceFormat::OtlpJson => all!(otlp::JsonWriter::new(out)),
        TraceFormat::Folded => {
            let mut folder = folded::Folder::default();
            each(args, |r| {
                count.add(r);
                folder.request(r);
                Ok(())
            })?;
            count.require_some(&args.file)?;
            folder.write(&mut out)?;
        }
    }
    Ok(count)
}

fn send(args: &ExportArgs, to: &str) -> Result<()> {
    let endpoint: Endpoint = to.parse().context("--to")?;
    let config = SendConfig { stop_at_failure: true, ..SendConfig::new(endpoint.clone()) };
    let sender = Sender::start(config)?;
    let mut count = Count::default();
    let read = each(args, |r| {
        count.add(r);
        sender.put(r.clone());
        Ok(())
    });
    // The requests before an error in the file are sent, too.
    let report = sender.finish();
    read.and_then(|()| count.require_some(&args.file))?;
    report_sent(&endpoint, &count, &report)
}

/// Reports how much arrived; an error if a span did not.
fn report_sent(endpoint: &Endpoint, count: &Count, report: &Report) -> Result<()> {
    let sent =
        format!("{} of {} spans in {} messages to {endpoint}", report.sent, count.spans, report.messages);
    if report.sent == count.spans {
        note(format_args!("sent {sent}"));
        return Ok(());
    }
    let why = report.last_error.clone().unwrap_or_else(|| "the collector gave no reason".into());
    let unsent = count.spans - report.sent - report.failed - report.rejected;
    bail!(
        "sent {sent}; {} could not be delivered, {} were refused, {unsent} were not tried: {why}",
        report.failed,
        report.rejected,
    )
}
