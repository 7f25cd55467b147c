//! Packs spans into rows without overlaps in time, since viewers draw a row as a stack.
use std::collections::BTreeMap;

/// One row: its spans by their start, as (end, owner).
type Row = BTreeMap<u64, (u64, u64)>;

#[derive(Debug, Default)]
pub(crate) struct Lanes(Vec<Row>);

impl Lanes {
    /// Returns the row for a span, from 0. Spans of one owner may touch if they come in order; spans of two
    /// owners may not, since a viewer could not decide which of them ended first.
    pub(crate) fn place(&mut self, start: u64, end: u64, owner: u64) -> usize {
        let free = self.0.iter().position(|row| fits(row, start, end, owner));
        let row = free.unwrap_or_else(|| {
            self.0.push(Row::new());
            self.0.len() - 1
        });
        let kept = self.0[row].entry(start).or_insert((end, owner));
        kept.0 = kept.0.max(end);
        row
    }
}

fn fits(row: &Row, start: u64, end: u64, owner: u64) -> bool {
    let before = row.range(..=start).next_back();
    let after = row.range((std::ops::Bound::Excluded(start), std::ops::Bound::Unbounded)).next();
    let follows = before.is_none_or(|(_, (e, o))| *e < start || *e == start && *o == owner);
    follows && after.is_none_or(|(s, _)| end < *s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_spans_take_another_row_and_later_ones_stay() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.place(10, 20, 1), 0);
        assert_eq!(lanes.place(20, 30, 1), 0, "the next stage of the same request");
        assert_eq!(lanes.place(30, 40, 2), 1, "another owner's span that touches");
        assert_eq!(lanes.place(5, 9, 2), 0, "an earlier span that is placed later");
        assert_eq!(lanes.place(8, 11, 3), 1);
        assert_eq!(lanes.place(0, 100, 4), 2);
    }
}
