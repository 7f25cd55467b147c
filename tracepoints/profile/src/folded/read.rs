//! Reads folded text in the dialects of the well-known tools.
//!
//! A line is a stack, white space, and one or more numbers. `stackcollapse-*` write one, `difffolded.pl` two
//! (before and after), Austin's full mode three separated by commas; counts may have fractions or an
//! exponent.
use std::{borrow::Cow, collections::HashMap};

use super::name::{self, is_space};
use crate::format::skipped::{Skipped, excerpt};

/// Maximum number of decimal digits; further ones are rounded.
const MAX_DECIMALS: u32 = 9;

/// The stacks of a text.
#[derive(Debug, Default)]
pub(crate) struct Lines<'a> {
    /// Number of values in each line.
    pub columns: usize,
    /// Number of decimal digits in each value: with 1, 15 means 1.5.
    pub decimals: u32,
    /// Stacks and values.
    pub stacks: Vec<(&'a str, Vec<i64>)>,
    pub skipped: Skipped,
    /// Original names from comments, by their form in the text.
    pub names: HashMap<&'a str, String>,
    /// Austin's `mode` comment: `# mode: wall`.
    pub mode: Option<&'a str>,
    /// Whether commas group the thousands of a number, instead of separating values.
    thousands: bool,
}

/// A line with a stack and numbers.
struct Row<'a> {
    line: &'a str,
    number: u64,
    /// The numbers at its end, last first.
    numbers: Vec<&'a str>,
}

pub(crate) fn lines(text: &str) -> Lines<'_> {
    let (mut out, mut rows) = (Lines::default(), Vec::new());
    let lines = text.split('\n').enumerate().flat_map(|(i, line)| parts(line).map(move |part| (i, part)));
    for (i, line) in lines {
        // Concatenated files have byte order marks inside.
        let line = line.trim_start_matches('\u{feff}').trim_matches(is_space);
        if line.is_empty() || comment(line, &mut out) {
            continue;
        }
        let number = i as u64 + 1;
        let row = Row { line, number, numbers: numbers(line) };
        if row.numbers.is_empty() {
            out.skipped
                .add(number, || format!("expected `frame;frame COUNT`, found {}", excerpt(line.as_bytes())));
        } else {
            rows.push(row);
        }
    }
    // Names may end with a number, so only numbers that all lines have are values.
    let whites = rows.iter().map(|row| row.numbers.len()).min().unwrap_or(1);
    let commas = |row: &Row<'_>| row.numbers[0].split(',').count();
    let values = || rows.iter().flat_map(|row| &row.numbers[..whites]);
    out.thousands =
        out.mode.is_none() && values().any(|n| n.contains(',')) && values().all(|n| is_grouped(n));
    let listed = whites == 1 && !out.thousands;
    out.columns = if listed { rows.iter().map(commas).min().unwrap_or(1) } else { whites };
    out.decimals = decimals(&rows);
    for row in &rows {
        add(&mut out, row, whites);
    }
    out
}

/// Splits a line at each lone CR, if there are stacks on both sides: logs of terminals have both line ends.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let stacks = |text: &str| text.split('\r').map(|part| part.trim_matches(is_space)).all(is_stack);
    let text = line.trim_end_matches('\r');
    // The line itself has no LF.
    line.split(if text.contains('\r') && stacks(text) { '\r' } else { '\n' })
}

fn is_stack(text: &str) -> bool {
    text.is_empty() || !numbers(text).is_empty()
}

/// Whether a number has no sign, with commas between its thousands or without commas: `1,234` or `12`.
fn is_grouped(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let mut groups = whole.split(',');
    digits(fraction)
        && groups.next().is_some_and(|first| digits(first) && (first.len() <= 3 || !whole.contains(',')))
        && groups.all(|group| group.len() == 3 && digits(group))
}

/// Reads a comment; returns whether it is one. A frame may begin with `#`, but not with `# `.
fn comment<'a>(line: &'a str, out: &mut Lines<'a>) -> bool {
    let Some(rest) = line.strip_prefix('#') else { return false };
    if let Some((name, is)) = rest.strip_prefix(super::NAME).and_then(given_name) {
        out.names.insert(name, is);
    } else if let Some(mode) = rest.strip_prefix(" mode: ") {
        out.mode = Some(mode.trim());
    }
    rest.starts_with(is_space) || numbers(line).is_empty()
}

/// Parses `a:b is "a;b"`. The name itself may contain ` is `.
fn given_name(text: &str) -> Option<(&str, String)> {
    let parts = text.match_indices(super::IS).map(|(at, is)| (&text[..at], &text[at + is.len()..]));
    parts.into_iter().find_map(|(name, json)| Some((name, serde_json::from_str(json).ok()?)))
}

/// Returns the numbers at the end of a line, last first; a line has text before them.
fn numbers(line: &str) -> Vec<&str> {
    let (mut rest, mut out) = (line, Vec::new());
    while let Some((before, word)) = rest.rsplit_once(is_space) {
        if !name::is_count(word) || out.len() == 16 {
            break;
        }
        out.push(word);
        rest = before.trim_end_matches(is_space);
    }
    out
}

/// Returns the number of decimals that the values need, limited so that their sum fits.
fn decimals(rows: &[Row<'_>]) -> u32 {
    let numbers = || rows.iter().flat_map(|row| row.numbers.iter().flat_map(|n| n.split(',')));
    let mut most = numbers().map(of_number).max().unwrap_or(0).min(MAX_DECIMALS);
    if most > 0 {
        let sum: f64 = numbers().filter_map(|n| n.parse::<f64>().ok()).map(f64::abs).sum();
        while most > 0 && sum * 10f64.powi(most as i32) > 1e18 {
            most -= 1;
        }
    }
    most
}

fn of_number(n: &str) -> u32 {
    if n.contains(['e', 'E']) {
        let value = n.parse::<f64>().unwrap_or(0.0);
        let exact = |d: &u32| (value * 10f64.powi(*d as i32)).fract() == 0.0;
        return (0..MAX_DECIMALS).find(exact).unwrap_or(MAX_DECIMALS);
    }
    n.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len() as u32)
}

fn add<'a>(out: &mut Lines<'a>, row: &Row<'a>, whites: usize) {
    let numbers: Vec<Cow<'_, str>> = match whites {
        _ if out.thousands => row.numbers[..whites].iter().rev().map(|n| n.replace(',', "").into()).collect(),
        1 => row.numbers[0].split(',').map(Cow::from).collect(),
        n => row.numbers[..n].iter().rev().map(|n| Cow::from(*n)).collect(),
    };
    if numbers.len() != out.columns {
        let what = || format!("expected {} counts, found {}", out.columns, excerpt(row.line.as_bytes()));
        return out.skipped.add(row.number, what);
    }
    let first = row.numbers[whites - 1];
    let stack = &row.line[..first.as_ptr() as usize - row.line.as_ptr() as usize];
    let values: Option<Vec<i64>> = numbers.iter().map(|n| scaled(n, out.decimals)).collect();
    match values {
        Some(values) if values.iter().all(|n| *n == 0) && !is_zero(&numbers) => {
            let what = || format!("the count is too small: {}", excerpt(row.line.as_bytes()));
            out.skipped.add(row.number, what);
        }
        Some(values) => out.stacks.push((stack.trim_matches(is_space), values)),
        None => out
            .skipped
            .add(row.number, || format!("the count does not fit 63 bits: {}", excerpt(row.line.as_bytes()))),
    }
}

fn is_zero(numbers: &[Cow<'_, str>]) -> bool {
    numbers.iter().all(|n| n.parse::<f64>() == Ok(0.0))
}

/// Returns the value times ten to the power of `decimals`.
fn scaled(number: &str, decimals: u32) -> Option<i64> {
    let whole = |n: &str| n.strip_prefix('+').unwrap_or(n).parse::<i64>().ok();
    if let Some(exact) = whole(number) {
        return exact.checked_mul(10i64.checked_pow(decimals)?);
    }
    let value = (number.parse::<f64>().ok()? * 10f64.powi(i32::try_from(decimals).ok()?)).round();
    (value.abs() < 9.2e18).then_some(value as i64)
}

impl Lines<'_> {
    /// The frames of a stack, hidden for use in memory.
    pub fn frames<'s>(&'s self, stack: &'s str) -> impl Iterator<Item = Cow<'s, str>> {
        stack.split(';').map(|frame| name::hide(self.names.get(frame).map_or(frame, String::as_str)))
    }

    /// Returns kind and unit of each column.
    pub fn value_types(&self) -> Vec<(String, String)> {
        let unit = |unit: &str| match self.decimals {
            0 => unit.to_owned(),
            n => format!("{unit}/{}", 10u64.pow(n)),
        };
        let of =
            |names: &[(&str, &str)]| names.iter().map(|(kind, u)| ((*kind).to_owned(), unit(u))).collect();
        match (self.mode, self.columns) {
            (Some("wall"), 1) => of(&[("wall", "microseconds")]),
            (Some("cpu"), 1) => of(&[("cpu", "microseconds")]),
            (Some("memory"), 1) => of(&[("space", "bytes")]),
            (Some("full"), 3) => of(&[("wall", "microseconds"), ("idle", "count"), ("space", "bytes")]),
            (_, 1) => of(&[("samples", "count")]),
            (_, 2) => of(&[("before", "count"), ("after", "count")]),
            (_, n) => (1..=n).map(|i| (format!("column {i}"), unit("count"))).collect(),
        }
    }

    /// Returns the column to draw: the second one of a difference.
    pub fn default_column(&self) -> usize {
        usize::from(self.columns == 2)
    }
}
