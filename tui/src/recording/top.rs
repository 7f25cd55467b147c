//! `trace top`: lists the slowest requests, or ranks the stages.
use std::{cmp::Reverse, collections::BinaryHeap, io::Write};

use anyhow::Result;
use serde_json::json;
use tracepoints::trace_file::{Query, TraceFile};

use super::{
    grep, select,
    stats::{Durations, Measured, Stats},
    table::{self, Column},
};
use crate::{
    cli::{By, TopArgs},
    state::units,
};

/// Prints the list, as a table or as one JSON object per line.
pub fn run(args: &TopArgs, out: &mut dyn Write) -> Result<()> {
    let file = super::open(&args.file)?;
    let query = select::query(&args.wanted, &file)?;
    match args.by {
        None => requests(&file, &query, args, out),
        Some(by) => stages(&file, &query, by, args, out),
    }
}

fn requests(file: &TraceFile, query: &Query, args: &TopArgs, out: &mut dyn Write) -> Result<()> {
    // A heap with the shortest of the longest requests on top; the id breaks ties.
    let mut longest: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    for request in file.heads(query) {
        let Some(ns) = request.duration_ns() else { continue };
        longest.push(Reverse((ns, request.id)));
        if longest.len() > args.limit {
            longest.pop();
        }
    }
    let ids = longest.into_sorted_vec();
    let requests: Vec<_> = ids.iter().filter_map(|Reverse((_, id))| file.request(*id)).collect();
    if args.json {
        return requests.iter().try_for_each(|r| Ok(writeln!(out, "{}", grep::object(r))?));
    }
    let rows: Vec<_> = requests.iter().map(grep::row).collect();
    Ok(out.write_all(table::lines(grep::COLUMNS, &rows).as_bytes())?)
}

fn measure(d: &Durations, by: By) -> u64 {
    match by {
        By::Total => d.total,
        By::Count => d.count,
        By::P50 => d.quantile(0.5),
        By::P99 => d.quantile(0.99),
        By::Max => d.max,
    }
}

const COLUMNS: &[Column] = &[
    Column("kind", false),
    Column("stage", false),
    Column("lane", false),
    Column("count", true),
    Column("total", true),
    Column("share", true),
    Column("mean", true),
    Column("p50", true),
    Column("p99", true),
    Column("max", true),
];

fn stages(file: &TraceFile, query: &Query, by: By, args: &TopArgs, out: &mut dyn Write) -> Result<()> {
    let mut stats = Stats::default();
    file.find(query).for_each(|r| stats.add_request(&r));
    let mut ranked: Vec<(&Measured, &Durations)> =
        stats.durations.iter().filter(|(m, _)| m.stage().is_some()).collect();
    ranked.sort_by_key(|(m, d)| (Reverse(measure(d, by)), **m));
    ranked.truncate(args.limit);
    if args.json {
        return ranked.iter().try_for_each(|(m, d)| Ok(writeln!(out, "{}", object(m, d))?));
    }
    let whole: u64 = stats.durations.iter().filter(|(m, _)| m.stage().is_none()).map(|(_, d)| d.total).sum();
    let rows: Vec<_> = ranked.iter().map(|(m, d)| row(m, d, whole)).collect();
    Ok(out.write_all(table::lines(COLUMNS, &rows).as_bytes())?)
}

fn lane(m: &Measured) -> &'static str {
    match m.stage().map(|s| s.stage().lane) {
        Some(tracepoints::Lane::Replica) => "replica",
        _ => "main",
    }
}

/// Formats a stage as a row. Replicas run in parallel with requests, so they have no share of the time.
fn row(m: &Measured, d: &Durations, whole: u64) -> Vec<String> {
    let share = match (lane(m), whole) {
        ("replica", _) | (_, 0) => "-".into(),
        _ => units::percent(d.total as f64 / whole as f64),
    };
    let mut row = vec![m.kind().name(), m.stage_name().into(), lane(m).into(), d.count.to_string()];
    row.extend([units::duration(d.total), share]);
    row.extend([d.mean(), d.quantile(0.5), d.quantile(0.99), d.max].map(units::duration));
    row
}

fn object(m: &Measured, d: &Durations) -> serde_json::Value {
    json!({
        "kind": m.kind().name(), "stage": m.stage_name(), "lane": lane(m), "count": d.count, "total_ns": d.total,
        "mean_ns": d.mean(), "p50_ns": d.quantile(0.5), "p99_ns": d.quantile(0.99), "max_ns": d.max,
    })
}
