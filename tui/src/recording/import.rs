//! `trace import`: lists, searches and opens traces of other tools, or writes them to a trace file.
use std::{io::Write, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tracepoints::{
    printable::note,
    trace_file::{TraceFile, TraceFileWriter},
};
use tracepoints_export::{Imported, Request, import, recorded};

use super::{
    output,
    table::{self, Column},
    times,
};
use crate::{
    cli::ImportArgs,
    source::recorded::Recorded,
    state::{Start, units},
};

/// Reads a file of another tool; reports skipped parts on standard error.
pub fn read(path: &Path) -> Result<Vec<Request>> {
    let shown = path.display();
    let bytes = tracepoints_input::Input::open(path).with_context(|| format!("cannot read {shown}"))?;
    let Imported { requests, notes } = import::read(&bytes).with_context(|| shown.to_string())?;
    notes.iter().for_each(|n| note(format_args!("warning: {shown}: {n}")));
    Ok(requests)
}

/// Lists the requests that match, or writes them to `--output`.
pub fn run(args: &ImportArgs, out: &mut dyn Write) -> Result<()> {
    let mut requests = read(&args.file)?;
    if let Some(text) = &args.grep {
        requests.retain(|r| has(r, text));
    }
    if requests.is_empty() {
        note("no request matches");
        return Ok(());
    }
    if let Some(path) = &args.output {
        return keep(&requests, path);
    }
    if args.common.json {
        return requests.iter().try_for_each(|r| Ok(writeln!(out, "{}", object(r))?));
    }
    let rows: Vec<Vec<String>> = requests.iter().map(row).collect();
    Ok(out.write_all(table::lines(COLUMNS, &rows).as_bytes())?)
}

fn keep(requests: &[Request], path: &Path) -> Result<()> {
    let mut file = TraceFileWriter::to(Box::new(output::claim(path)?), path)?;
    requests.iter().try_for_each(|r| file.trace(&recorded::record(r)))?;
    file.finish()?;
    note(format_args!("{}: wrote {} traces; `tikv-tui trace` opens them", path.display(), requests.len()));
    Ok(())
}

fn has(request: &Request, text: &str) -> bool {
    let in_attributes = |attributes: &[(String, tracepoints_export::Value)]| {
        attributes.iter().any(|(name, value)| name.contains(text) || value.to_string().contains(text))
    };
    request.name.contains(text)
        || in_attributes(&request.attributes)
        || request
            .spans
            .iter()
            .any(|s| s.name.contains(text) || s.thread.contains(text) || in_attributes(&s.attributes))
}

const COLUMNS: &[Column] = &[
    Column("request", true),
    Column("began (UTC)", false),
    Column("took", true),
    Column("name", false),
    Column("spans", true),
    Column("longest span", false),
];

fn row(r: &Request) -> Vec<String> {
    let longest = r.spans.iter().max_by_key(|s| s.dur_ns);
    vec![
        r.id.to_string(),
        times::time_of_day(r.start_ns),
        units::duration(r.dur_ns),
        r.name.clone(),
        r.spans.len().to_string(),
        longest.map_or_else(String::new, |s| format!("{} {}", s.name, units::duration(s.dur_ns))),
    ]
}

fn object(r: &Request) -> serde_json::Value {
    let spans: Vec<_> = r.spans.iter().map(|s| span(r, s)).collect();
    json!({
        "request": r.id,
        "name": r.name,
        "begin": times::utc(r.start_ns),
        "begin_ns": r.start_ns,
        "duration_ns": r.dur_ns,
        "spans": spans,
    })
}

fn span(r: &Request, s: &tracepoints_export::Span) -> serde_json::Value {
    let attributes: serde_json::Map<_, _> =
        s.attributes.iter().map(|(name, value)| (name.clone(), value.to_string().into())).collect();
    json!({
        "name": s.name,
        "category": s.category,
        "thread": s.thread,
        "store": s.store,
        "parent": s.parent,
        "at_ns": s.start_ns.saturating_sub(r.start_ns),
        "dur_ns": s.dur_ns,
        "attributes": attributes,
    })
}

/// Lists the finished traces of a trace file (imported or of stepped operations). False if it has none.
pub fn list_kept(file: &TraceFile, json: bool, out: &mut dyn Write) -> Result<bool> {
    let requests: Vec<Request> =
        file.traces().filter_map(Result::ok).flat_map(|t| recorded::requests(&t, 0)).collect();
    if json {
        requests.iter().try_for_each(|r| writeln!(out, "{}", object(r)))?;
    } else if !requests.is_empty() {
        let rows: Vec<Vec<String>> = requests.iter().map(row).collect();
        out.write_all(table::lines(COLUMNS, &rows).as_bytes())?;
    }
    Ok(!requests.is_empty())
}

/// Finds a finished trace of a trace file by the id of one of its requests.
pub fn kept(file: &TraceFile, id: u64, start: &Start) -> Option<Recorded> {
    let record = file.traces().filter_map(Result::ok).find(|t| t.requests.iter().any(|r| r.id == id))?;
    let name = record.steps.first().map_or("", |s| s.kind.as_str());
    let title = format!("request {id} {name}");
    Some(Recorded::new(&title, record.steps, record.summary, start).with("", record.requests))
}

/// Opens the request `id` of another tool's file as steps.
pub fn open(path: &Path, id: u64, start: &Start) -> Result<Recorded> {
    let requests = read(path)?;
    let Some(request) = requests.iter().find(|r| r.id == id) else {
        bail!("{} contains no request {id}; `tikv-tui trace import FILE` lists all requests", path.display());
    };
    let record = recorded::record(request);
    let title = format!("request {id} {}", request.name);
    Ok(Recorded::new(&title, record.steps, record.summary, start).with("", record.requests))
}
