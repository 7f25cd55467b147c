//! `trace info`: summarises a recording.
use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
};

use anyhow::Result;
use serde_json::json;
use tracepoints::trace_file::{Query, TraceFile};

use super::{
    stats::Stats,
    table::{self, Column},
    times,
};
use crate::{cli::InfoArgs, state::units};

/// Counts over all requests of a file.
#[derive(Default)]
struct FileSummary {
    requests: u64,
    unfinished: u64,
    traces: u64,
    /// Number of stamps by thread; empty with `--quick`.
    threads: HashMap<u16, u64>,
    stats: Stats,
}

/// Reads the file; `quick`: only the index.
fn summarise(file: &TraceFile, quick: bool) -> FileSummary {
    let mut found = FileSummary { traces: file.traces().count() as u64, ..FileSummary::default() };
    if !quick {
        file.verify();
        for stamp in file.stamps() {
            *found.threads.entry(stamp.thread).or_default() += 1;
        }
    }
    for request in file.heads(&Query::default()) {
        found.requests += 1;
        found.unfinished += u64::from(request.duration_ns().is_none());
        found.stats.add_whole(&request);
    }
    found
}

/// Prints the summary as text or JSON.
pub fn run(args: &InfoArgs, out: &mut dyn Write) -> Result<()> {
    let file = TraceFile::open(&args.file)?;
    let found = summarise(&file, args.quick);
    match args.json {
        true => Ok(writeln!(out, "{}", object(&file, &found))?),
        false => Ok(out.write_all(text(&file, &found).as_bytes())?),
    }
}

fn text(file: &TraceFile, found: &FileSummary) -> String {
    let mut out = format!("file      {}\n", file.path().display());
    if let Some((begin, end)) = file.span() {
        let took = units::duration(end.saturating_sub(begin));
        out += &format!("recorded  {} to {} UTC, {took}\n", times::utc(begin), times::time_of_day(end));
    }
    let ending = file.ending().map_or("its writer was killed, or is still writing".into(), |e| e.to_string());
    out += &format!("ended     {ending}\n");
    let notes = file.notes();
    if let (Some(first), Some(last)) = (notes.first(), notes.last()) {
        out += &format!("by        {}, process {}\n", first.program, first.pid);
        let drift = last.drift_ns() - first.drift_ns();
        out += &format!("clock     drifted by {} ns from the system's\n", drift);
    }
    let threads = match found.threads.len() {
        0 => String::new(),
        n => format!(", of {n} threads"),
    };
    out += &format!("stamps    {}{threads}\n", file.stamp_count());
    out += &format!("dropped   {}\n", file.dropped());
    if let Some(n) = notes.last().map(|n| n.unwritten).filter(|n| *n > 0) {
        out += &format!("unwritten {n} stamps at its end, and all later ones\n");
    }
    for (thread, n) in notes.last().map_or(&[][..], |n| &n.dropped_by_thread) {
        out += &format!("          {n} by {thread}\n");
    }
    out += &format!(
        "requests  {}, {} of them without a recorded start or end\n",
        found.requests, found.unfinished
    );
    if file.rebuilt_count() > 0 {
        out += &format!(
            "rebuilt   {} of them from their stamps, because no table lists them\n",
            file.rebuilt_count()
        );
    }
    if found.traces > 0 {
        out += &format!("traces    {}\n", found.traces);
    }
    out += &match (file.damage().as_slice(), file.truncated_at()) {
        ([], None) => "damage    none\n".to_owned(),
        (damage, cut) => {
            let mut lines: Vec<String> = damage.iter().map(|d| format!("damage    {d}\n")).collect();
            lines.extend(cut.map(|at| format!("damage    cut short at byte {at}\n")));
            lines.concat()
        }
    };
    if !found.stats.durations.is_empty() {
        out += "\n";
        out += &kinds(&found.stats);
    }
    out
}

fn kinds(stats: &Stats) -> String {
    let right = |name| Column(name, true);
    let columns = [Column("kind", false), right("count"), right("p50"), right("p99"), right("max")];
    let row = |(m, d): (&super::stats::Measured, &super::stats::Durations)| {
        let mut row = vec![m.kind().name(), d.count.to_string()];
        row.extend([d.quantile(0.5), d.quantile(0.99), d.max].map(units::duration));
        row
    };
    table::lines(&columns, &stats.durations.iter().map(row).collect::<Vec<_>>())
}

fn by_name(threads: &HashMap<u16, u64>) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for (thread, n) in threads {
        *named.entry(tracepoints::thread::info(*thread).name).or_default() += n;
    }
    named
}

fn object(file: &TraceFile, found: &FileSummary) -> serde_json::Value {
    let damage =
        |d: &tracepoints::trace_file::Damage| json!({ "offset": d.offset, "len": d.len, "reason": d.reason });
    let kinds = found.stats.durations.iter().map(|(m, d)| {
        let figures = json!({
            "count": d.count, "p50_ns": d.quantile(0.5), "p99_ns": d.quantile(0.99), "max_ns": d.max,
        });
        (m.kind().name(), figures)
    });
    json!({
        "file": file.path().display().to_string(),
        "begin_ns": file.span().map(|s| s.0),
        "end_ns": file.span().map(|s| s.1),
        "ended": file.ending().map(|e| e.to_string()),
        "notes": file.notes(),
        "stamps": file.stamp_count(),
        "stamps_by_thread": by_name(&found.threads),
        "dropped": file.dropped(),
        "requests": found.requests,
        "unfinished": found.unfinished,
        "rebuilt": file.rebuilt_count(),
        "traces": found.traces,
        "cut": file.truncated_at(),
        "damage": file.damage().iter().map(damage).collect::<Vec<_>>(),
        "kinds": kinds.collect::<serde_json::Map<_, _>>(),
    })
}
