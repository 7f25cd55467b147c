//! `trace diff`: compares two recordings by request kind and stage.
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
    cli::{DiffArgs, FilterArgs},
    state::units,
};

/// Prints the comparison as a table, or as one JSON object per line.
pub fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<()> {
    let (before, after) = (stats(&args.before, &args.wanted)?, stats(&args.after, &args.wanted)?);
    let all: BTreeSet<&Measured> = before.durations.keys().chain(after.durations.keys()).collect();
    let mut pairs: Vec<Pair<'_>> =
        all.into_iter().map(|m| (m, before.durations.get(m), after.durations.get(m))).collect();
    sort_by_change(&mut pairs);
    if args.json {
        return pairs.into_iter().try_for_each(|(m, b, a)| Ok(writeln!(out, "{}", object(m, b, a))?));
    }
    let rows: Vec<Vec<String>> = pairs.into_iter().map(|(m, b, a)| row(m, b, a)).collect();
    if rows.is_empty() {
        note("no request matches in either file");
        return Ok(());
    }
    writeln!(out, "before: {}\nafter:  {}", args.before.display(), args.after.display())?;
    Ok(out.write_all(table::lines(COLUMNS, &rows).as_bytes())?)
}

/// A request kind or one of its stages, in both recordings.
type Pair<'a> = (&'a Measured, Option<&'a Durations>, Option<&'a Durations>);

/// Sorts the largest change first: of the median, then of p99. A missing duration counts as 0.
fn sort_by_change(pairs: &mut [Pair<'_>]) {
    let change = |before: Option<&Durations>, after: Option<&Durations>, q: f64| {
        let quantile = |d: Option<&Durations>| d.map_or(0, |d| d.quantile(q));
        quantile(before).abs_diff(quantile(after))
    };
    pairs.sort_by_cached_key(|(_, b, a)| std::cmp::Reverse((change(*b, *a, 0.5), change(*b, *a, 0.99))));
}

fn stats(path: &Path, wanted: &FilterArgs) -> Result<Stats> {
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
        let quantile = |d: Option<&Durations>| d.map(|d| d.quantile(q));
        let shown = |ns: Option<u64>| ns.map_or_else(|| "-".into(), units::duration);
        let (before, after) = (quantile(before), quantile(after));
        row.extend([shown(before), shown(after), delta(before, after)]);
    }
    row
}

/// Formats a difference, and its percentage of the value before.
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
    let figures = |d: Option<&Durations>| {
        d.map(|d| {
            json!({
                "count": d.count, "total_ns": d.total, "mean_ns": d.mean(),
                "p50_ns": d.quantile(0.5), "p99_ns": d.quantile(0.99), "max_ns": d.max,
            })
        })
    };
    let whole = m.stage().is_none();
    let change = |q: f64| {
        let (before, after) = (before?.quantile(q), after?.quantile(q));
        Some(i128::from(after) - i128::from(before))
    };
    json!({
        "p50_delta_ns": change(0.5).and_then(|ns| i64::try_from(ns).ok()),
        "p99_delta_ns": change(0.99).and_then(|ns| i64::try_from(ns).ok()),
        "kind": m.kind().name(), "stage": if whole { None } else { Some(m.stage_name()) },
        "before": figures(before), "after": figures(after),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(ns: &[u64]) -> Durations {
        let mut stats = Stats::default();
        ns.iter().for_each(|ns| stats.add(Measured::default(), *ns));
        stats.durations.into_values().next().unwrap()
    }

    #[test]
    fn the_largest_change_comes_first() {
        let [same, slower, faster, tail, new] = [0; 5].map(|_| Measured::default());
        let d = durations;
        let (a, b) = (d(&[1000]), d(&[1000]));
        let (c, e) = (d(&[1000]), d(&[9000]));
        let (f, g) = (d(&[5000]), d(&[2000]));
        let h = d(&[1000, 1000, 500_000]);
        let n = d(&[7000]);
        let mut pairs = [
            (&same, Some(&a), Some(&b)),
            (&tail, Some(&a), Some(&h)),
            (&faster, Some(&f), Some(&g)),
            (&slower, Some(&c), Some(&e)),
            (&new, None, Some(&n)),
        ];
        sort_by_change(&mut pairs);
        let order: Vec<_> = pairs.iter().map(|(m, ..)| std::ptr::from_ref(*m)).collect();
        assert_eq!(order, [&slower, &new, &faster, &tail, &same].map(std::ptr::from_ref));
    }

    #[test]
    fn a_delta_has_a_sign_and_a_percentage() {
        assert_eq!(delta(Some(1000), Some(1500)), "+500 ns (+50 %)");
        assert_eq!(delta(Some(2000), Some(1500)), "-500 ns (-25 %)");
        assert_eq!(delta(Some(0), Some(5)), "+5 ns");
        assert_eq!(delta(None, Some(5)), "-");
    }
}
