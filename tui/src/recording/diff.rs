//! `trace diff`: two recordings, by request type and stage.
use std::{collections::BTreeSet, io::Write, path::Path};

use anyhow::Result;
use serde_json::json;
use tracepoints::printable::note;

use super::{
    select,
    stats::{Durations, Measured, Stats},
    table::{self, Column},
};
use crate::{
    cli::{DiffArgs, Wanted},
    state::units,
};

pub fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<()> {
    let (before, after) = (stats(&args.before, &args.wanted)?, stats(&args.after, &args.wanted)?);
    let all: BTreeSet<&Measured> = before.of.keys().chain(after.of.keys()).collect();
    let pairs = all.into_iter().map(|m| (m, before.of.get(m), after.of.get(m)));
    if args.json {
        return pairs.into_iter().try_for_each(|(m, b, a)| Ok(writeln!(out, "{}", object(m, b, a))?));
    }
    let rows: Vec<Vec<String>> = pairs.map(|(m, b, a)| row(m, b, a)).collect();
    if rows.is_empty() {
        note("no request matches in either file");
        return Ok(());
    }
    writeln!(out, "before: {}\nafter:  {}", args.before.display(), args.after.display())?;
    Ok(out.write_all(table::lines(COLUMNS, &rows).as_bytes())?)
}

fn stats(path: &Path, wanted: &Wanted) -> Result<Stats> {
    let file = super::open(path)?;
    let query = select::query(wanted, &file)?;
    let mut stats = Stats::default();
    file.find(&query).for_each(|r| stats.add_request(&r));
    Ok(stats)
}

const COLUMNS: &[Column] = &[
    Column("kind", false),
    Column("stage", false),
    Column("count", true),
    Column("after", true),
    Column("p50", true),
    Column("after", true),
    Column("delta", true),
    Column("p99", true),
    Column("after", true),
    Column("delta", true),
];

fn row(m: &Measured, before: Option<&Durations>, after: Option<&Durations>) -> Vec<String> {
    let mut row = vec![m.kind().name(), m.stage_name().to_owned()];
    let count = |d: Option<&Durations>| d.map_or_else(|| "-".into(), |d| d.count.to_string());
    row.extend([count(before), count(after)]);
    for q in [0.5, 0.99] {
        let of = |d: Option<&Durations>| d.map(|d| d.quantile(q));
        let shown = |ns: Option<u64>| ns.map_or_else(|| "-".into(), units::duration);
        row.extend([shown(of(before)), shown(of(after)), delta(of(before), of(after))]);
    }
    row
}

/// The difference, and by how much of what it was.
fn delta(before: Option<u64>, after: Option<u64>) -> String {
    let (Some(before), Some(after)) = (before, after) else { return "-".into() };
    let sign = if after < before { "-" } else { "+" };
    let by = after.abs_diff(before);
    match before {
        0 => format!("{sign}{}", units::duration(by)),
        _ => format!("{sign}{} ({sign}{:.0} %)", units::duration(by), by as f64 * 100.0 / before as f64),
    }
}

fn object(m: &Measured, before: Option<&Durations>, after: Option<&Durations>) -> serde_json::Value {
    let of = |d: Option<&Durations>| {
        d.map(|d| {
            json!({
                "count": d.count, "total_ns": d.total, "mean_ns": d.mean(),
                "p50_ns": d.quantile(0.5), "p99_ns": d.quantile(0.99), "max_ns": d.max,
            })
        })
    };
    let whole = m.stage().is_none();
    json!({
        "kind": m.kind().name(), "stage": if whole { None } else { Some(m.stage_name()) },
        "before": of(before), "after": of(after),
    })
}

#[cfg(test)]
mod tests {
    use super::delta;

    #[test]
    fn a_delta_has_its_sign_and_its_share() {
        assert_eq!(delta(Some(1000), Some(1500)), "+500 ns (+50 %)");
        assert_eq!(delta(Some(2000), Some(1500)), "-500 ns (-25 %)");
        assert_eq!(delta(Some(0), Some(5)), "+5 ns");
        assert_eq!(delta(None, Some(5)), "-");
    }
}
