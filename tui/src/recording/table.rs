//! Formats rows of text in columns.
use tracepoints::printable::{pad, pad_left, width};

/// A column: its name, and whether its cells are aligned right.
pub struct Column(pub &'static str, pub bool);

/// Formats the columns' names and the rows, each column as wide as its widest cell.
pub fn lines(columns: &[Column], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = columns.iter().map(|c| c.0.to_owned()).collect();
    let all = || std::iter::once(&names).chain(rows);
    let widest = |i: usize| all().filter_map(|r| r.get(i)).map(|c| width(c)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    let mut out = String::new();
    for row in all() {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, Column(_, right)), w)| match right {
            true => pad_left(cell, *w),
            false => pad(cell, *w),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}
