//! `trace grep`: lists the requests that match.
use std::io::Write;

use anyhow::Result;
use serde_json::json;
use tracepoints::{
    collector::{RecordedRequest, Span},
    printable::{escape_readable, note, whole_chars},
    trace_file::TraceFile,
};

use super::{
    select,
    table::{self, Column},
    times,
};
use crate::{
    cli::{FilterArgs, GrepArgs},
    state::units,
};

/// Prints the matching requests, or their number.
pub fn run(args: &GrepArgs, out: &mut dyn Write) -> Result<()> {
    let file = super::open(&args.file)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    if args.count {
        let query = select::query(&args.wanted, &file)?;
        return Ok(writeln!(out, "{}", file.heads(&query).count())?);
    }
    print(&file, &args.wanted, limit, args.json, out)
}

/// Rows per page. Pages show the first rows at once; the widths of the columns are those of the page.
const PAGE: usize = 1000;

/// Prints up to `limit` matching requests, as a table or as JSON.
pub fn print(
    file: &TraceFile,
    wanted: &FilterArgs,
    limit: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let query = select::query(wanted, file)?;
    let mut found = file.find(&query).take(limit).peekable();
    if json {
        return found.try_for_each(|r| Ok(writeln!(out, "{}", object(&r))?));
    }
    if found.peek().is_none() {
        note("no request matches");
    }
    while found.peek().is_some() {
        let rows: Vec<Vec<String>> = found.by_ref().take(PAGE).map(|r| row(&r)).collect();
        out.write_all(table::lines(COLUMNS, &rows).as_bytes())?;
    }
    Ok(())
}

/// The columns of the list of requests.
pub const COLUMNS: &[Column] = &[
    Column("request", true),
    Column("began (UTC)", false),
    Column("took", true),
    Column("kind", false),
    Column("region", true),
    Column("store", true),
    Column("key", false),
    Column("stamps", true),
    Column("slowest stage", false),
    Column("", false),
];

/// Formats a request as a row of [`COLUMNS`].
pub fn row(r: &RecordedRequest) -> Vec<String> {
    let spans = r.spans();
    let slowest = spans.iter().filter(|s| is_main(s)).max_by_key(|s| s.dur_ns);
    let number = |n: u64| if n == 0 { "-".into() } else { n.to_string() };
    vec![
        r.id.to_string(),
        times::time_of_day(r.begin_ns),
        r.duration_ns().map_or_else(|| "?".into(), units::duration),
        r.kind.name(),
        number(r.region),
        number(r.store),
        key(r),
        spans.len().to_string(),
        slowest.map_or_else(String::new, |s| format!("{} {}", s.stage.name(), units::duration(s.dur_ns))),
        losses(r),
    ]
}

fn is_main(span: &Span) -> bool {
    span.lane() == tracepoints::Lane::Main
}

/// Lists the parts of the request that the recording lacks; empty if it is complete.
pub fn losses(r: &RecordedRequest) -> String {
    let mut said = Vec::new();
    if !r.began {
        said.push("start not recorded".to_owned());
    }
    if r.end_ns.is_none() {
        said.push("end not recorded".to_owned());
    }
    if r.truncated > 0 {
        said.push(format!("{} stamps missing", r.truncated));
    }
    if r.lost > 0 {
        said.push(format!("{} stamps dropped or damaged during the request", r.lost));
    }
    said.join(", ")
}

/// The key as text, with `...` if the recording contains only its start.
pub fn key(r: &RecordedRequest) -> String {
    if r.key_len as usize > r.key_head.len() {
        return format!("{}...", escape_readable(whole_chars(&r.key_head)));
    }
    escape_readable(&r.key_head)
}

/// Formats a request and its stages as JSON.
pub fn object(r: &RecordedRequest) -> serde_json::Value {
    let spans = r.spans();
    let stages: Vec<_> = spans
        .iter()
        .map(|s| {
            json!({
                "stage": s.stage.name(),
                "lane": if is_main(s) { "main" } else { "replica" },
                "store": s.store,
                "thread": tracepoints::thread::info(s.thread).name,
                "at_ns": s.at_ns.saturating_sub(r.begin_ns),
                "dur_ns": s.dur_ns,
            })
        })
        .collect();
    json!({
        "request": r.id,
        "kind": r.kind.name(),
        "region": r.region,
        "store": r.store,
        "key": escape_readable(&r.key_head),
        "key_len": r.key_len,
        "begin": times::utc(r.begin_ns),
        "begin_ns": r.begin_ns,
        "duration_ns": r.duration_ns(),
        "losses": losses(r),
        "stages": stages,
    })
}
