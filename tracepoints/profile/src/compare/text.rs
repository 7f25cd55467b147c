//! Formats a comparison as a table.
use super::{Basis, Comparison, FrameDelta, units::duration};
use crate::folded::printable;

impl Comparison {
    /// Formats the compared value of a side.
    pub(crate) fn amount(&self, value: f64) -> String {
        match self.basis {
            Basis::Request => duration(value),
            Basis::Share => format!("{:.2} %", value * 100.0),
        }
    }

    /// Lists the frames with the largest differences, at most `max`, below the totals.
    pub fn table(&self, max: usize) -> String {
        let mut frames: Vec<&FrameDelta> =
            self.frames.iter().filter(|f| f.delta() != 0.0 || f.node == 0).collect();
        frames.sort_by(|a, b| {
            b.delta().abs().total_cmp(&a.delta().abs()).then_with(|| a.path.len().cmp(&b.path.len()))
        });
        let left_out = frames.len().saturating_sub(max);
        frames.truncate(max);
        let head = match self.basis {
            Basis::Request => ["before/request", "after/request", "delta", "change", "p", "frame"],
            Basis::Share => ["before", "after", "delta", "change", "p", "frame"],
        };
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(frames.iter().map(|f| self.row(f)));
        let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..5).map(width).collect();
        let mut out = format!("{}\n{}\n", self.totals(), self.test());
        for row in &rows {
            let cells: Vec<String> = (0..5).map(|i| format!("{:>w$}", row[i], w = widths[i])).collect();
            out.push_str(&format!("{}  {}\n", cells.join("  "), row[5]));
        }
        if left_out > 0 {
            out.push_str(&format!("{left_out} more frames differ less\n"));
        }
        out
    }

    fn row(&self, frame: &FrameDelta) -> [String; 6] {
        let sign = if frame.delta() > 0.0 { "+" } else { "" };
        let p = match frame.p {
            None => "-".into(),
            Some(p) => format!("{}{}", small(p), if frame.significant() { " *" } else { "  " }),
        };
        [
            self.amount(frame.before),
            self.amount(frame.after),
            format!("{sign}{}", self.amount(frame.delta())),
            frame.change().map_or_else(|| "new".into(), |c| format!("{:+.1} %", c * 100.0)),
            p,
            if frame.path.is_empty() { "all".into() } else { printable(&frame.path).into_owned() },
        ]
    }
}

pub(crate) fn small(p: f64) -> String {
    match p {
        0.0 => "<1e-300".into(),
        p if p < 1e-4 => format!("{p:.0e}"),
        p => format!("{p:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Side, compare};
    use super::*;
    use crate::{Folded, flame::Measure};

    #[test]
    fn the_largest_difference_is_first_and_the_rest_is_counted() {
        let side = |label: &str, text: &str| Side::samples(label, Folded::parse(text).unwrap());
        let before = side("old", "a;b 500\na;c 400\na;e 100\n");
        let after = side("new", "a;b 720\na;c 200\na;e 60\na;d 20\n");
        let table = compare(before, after, Measure::Samples).unwrap().table(4);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "old 1000 samples; new 1000 samples");
        assert!(
            lines[3].ends_with("a;b") && lines[3].contains("+22.00 %") && lines[3].contains("* "),
            "{table}"
        );
        assert!(lines[4].contains("-50.0 %") && lines[5].contains("-40.0 %"), "{table}");
        assert!(lines[6].contains("new"), "{table}");
        assert_eq!(lines[7], "1 more frames differ less");
        assert_eq!(
            (duration(999.6), duration(-12_345_678.0), duration(5e9)),
            ("1.00 µs".into(), "-12.3 ms".into(), "5.00 s".into())
        );
    }
}
