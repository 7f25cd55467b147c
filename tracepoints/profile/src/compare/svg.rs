//! Draws a comparison as one picture with both sides at one scale. inferno draws it; then the frames get
//! colours by the difference and titles with the cost of each side.
use std::collections::HashMap;

use super::{Basis, Comparison, text::small};
use crate::{
    Folded, ProfileError,
    flame::{self, FlameOptions},
    folded::show_in_xml,
    xml::{escape, unescape},
};

/// Shares are drawn in parts per million, since inferno's widths are integers.
const PARTS: f64 = 1e6;

impl Comparison {
    /// Draws both sides next to each other. A side's width is the time of its requests; both sides of samples
    /// are equally wide.
    ///
    /// # Errors
    /// As [`flame::svg`].
    pub fn svg(&self, title: &str, options: &FlameOptions) -> Result<String, ProfileError> {
        let subtitle = format!("{}. {}", self.totals(), self.test());
        let options = FlameOptions { subtitle: Some(subtitle), measure: self.measure, ..options.clone() };
        let svg = flame::raw_svg(self.halves().lines(), title, &options, false)?;
        Ok(show_in_xml(&self.recolour(&svg)).into_owned())
    }

    /// Returns the stacks of both sides, each under a frame of its own, in ns per request or parts per
    /// million.
    fn halves(&self) -> Folded {
        let mut out = Folded::default();
        for (side, n) in [(&self.before, 1), (&self.after, 2)] {
            // inferno sorts frames by name.
            let name = format!("{n}: {}", side.label.replace(';', ","));
            let scale = match self.basis {
                Basis::Request => 1.0 / side.requests.len() as f64,
                Basis::Share => PARTS / side.total() as f64,
            };
            for (stack, count) in side.folded.iter() {
                let count = (count as f64 * scale).round() as u64;
                out.add(std::iter::once(name.as_str()).chain(stack.split(';')), count);
            }
        }
        out
    }

    fn recolour(&self, svg: &str) -> String {
        let by_path: HashMap<&str, usize> = self.frames.iter().map(|f| (f.path.as_str(), f.node)).collect();
        let boxes = boxes(svg);
        let paths = paths(&boxes);
        let (mut out, mut at) = (String::with_capacity(svg.len()), 0);
        for (found, path) in boxes.iter().zip(&paths) {
            let Some(rest) = path.strip_prefix("all;") else { continue };
            let (side, path) = rest.split_once(';').unwrap_or((rest, ""));
            let Some(node) = by_path.get(path) else { continue };
            out.push_str(&svg[at..found.title.start]);
            out.push_str(&escape(&self.words(*node, side)));
            out.push_str(&svg[found.title.end..found.fill.start]);
            out.push_str(&self.colour(*node));
            at = found.fill.end;
        }
        out.push_str(&svg[at..]);
        out
    }

    fn words(&self, node: usize, side: &str) -> String {
        let frame = &self.frames[node];
        let name = if node == 0 { side } else { self.tree.nodes[node].name.as_str() };
        let a_request = if self.basis == Basis::Request { " a request" } else { "" };
        let change = frame.change().map_or_else(|| "new".into(), |c| format!("{:+.1} %", c * 100.0));
        let p = match frame.p {
            Some(p) if frame.significant() => format!("; significant, p = {}", small(p)),
            Some(p) => format!("; not significant, p = {}", small(p)),
            None => String::new(),
        };
        let (before, after) = (self.amount(frame.before), self.amount(frame.after));
        let (a, b) = (&self.before.label, &self.after.label);
        format!("{name} ({a} {before}{a_request}, {b} {after}{a_request}; {change}{p})")
    }

    /// Returns the colour: red grew, blue shrank; stronger for a larger change, half as strong if it is not
    /// significant.
    fn colour(&self, node: usize) -> String {
        let frame = &self.frames[node];
        let most = frame.before.max(frame.after);
        let share = if most > 0.0 { frame.delta().abs() / most } else { 0.0 };
        if share < 0.02 {
            return "rgb(224,228,232)".into();
        }
        let doubt = frame.p.is_some() && !frame.significant();
        let strength = (0.25 + 0.75 * share) * if doubt { 0.45 } else { 1.0 };
        let [r, g, b] = if frame.delta() > 0.0 { [221, 82, 66] } else { [75, 124, 214] };
        let mix = |full: u32| (255.0 - (255.0 - f64::from(full)) * strength).round() as u32;
        format!("rgb({},{},{})", mix(r), mix(g), mix(b))
    }
}

/// A frame drawn by inferno: the positions of its title and colour in the text, and its position in the
/// picture.
struct Box<'a> {
    title: std::ops::Range<usize>,
    fill: std::ops::Range<usize>,
    name: &'a str,
    x: u64,
    y: u64,
    width: u64,
}

fn boxes(svg: &str) -> Vec<Box<'_>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = next_box(svg, at) {
        at = found.fill.end;
        out.push(found);
    }
    out
}

fn next_box(svg: &str, from: usize) -> Option<Box<'_>> {
    const TITLE: &str = "<title>";
    let start = from + svg[from..].find(TITLE)? + TITLE.len();
    let end = start + svg[start..].find("</title>")?;
    let rect = end + svg[end..].find("<rect ")?;
    let close = rect + svg[rect..].find('>')?;
    let attribute = |name: &str| {
        let key = format!(" {name}=\"");
        let from = rect + svg[rect..close].find(&key)? + key.len();
        Some(from..from + svg[from..close].find('"')?)
    };
    let number = |name: &str| attribute(name).and_then(|r| svg[r].parse::<u64>().ok());
    // The numbers come last; the text before them is the frame's name, which may contain anything.
    let title = &svg[start..end];
    let name = title.rsplit_once(" (").map_or(title, |(name, _)| name);
    let (x, y, width) = (number("fg:x")?, number("y")?, number("fg:w")?);
    Some(Box { title: start..end, fill: attribute("fill")?, name, x, y, width })
}

/// Returns the frames from the root to each box, `all;1: before;a;b`, derived from the positions of the
/// boxes.
fn paths(boxes: &[Box<'_>]) -> Vec<String> {
    let mut rows: Vec<u64> = boxes.iter().map(|b| b.y).collect();
    rows.sort_unstable();
    rows.dedup();
    let root = boxes.iter().max_by_key(|b| b.width).map_or(0, |b| b.y);
    // The root is at the bottom, or on top.
    if rows.last() == Some(&root) {
        rows.reverse();
    }
    let mut out = vec![String::new(); boxes.len()];
    let mut below: Vec<usize> = Vec::new();
    for row in rows {
        let mut here: Vec<usize> = (0..boxes.len()).filter(|i| boxes[*i].y == row).collect();
        here.sort_by_key(|i| boxes[*i].x);
        for i in &here {
            let callers = below.partition_point(|c| boxes[*c].x <= boxes[*i].x);
            let caller = callers.checked_sub(1).map(|n| &out[below[n]]);
            let name = unescape(boxes[*i].name);
            out[*i] = caller.map_or_else(|| name.clone(), |c| format!("{c};{name}"));
        }
        below = here;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Side, compare};
    use super::*;
    use crate::flame::{Measure, assert_well_formed};

    fn folded(text: &str) -> Folded {
        Folded::parse(text).unwrap()
    }

    /// Returns title and fill of every box with a name.
    fn shown(svg: &str, name: &str) -> Vec<(String, String)> {
        let of = |b: Box<'_>| (svg[b.title].to_owned(), svg[b.fill].to_owned());
        boxes(svg).into_iter().filter(|b| b.name == name).map(of).collect()
    }

    #[test]
    fn both_sides_share_a_scale_and_vanished_frames_are_drawn() {
        let side = |label: &str, text: &str| Side::cohort(label, vec![folded(text); 10]);
        let before = side("old", "get;run 100\nget;gone 50\nget;<T as \"X\">::same & more 50\n");
        let after = side("new", "get;run 300\nget;<T as \"X\">::same & more 50\n");
        let c = compare(before, after, Measure::Nanoseconds).unwrap();
        for inverted in [false, true] {
            let svg = c.svg("old and new", &FlameOptions { inverted, ..FlameOptions::default() }).unwrap();
            assert_well_formed(&svg);
            let run = shown(&svg, "run");
            assert_eq!(run.len(), 2, "on both sides");
            assert!(
                run[0]
                    .0
                    .starts_with("run (old 100 ns a request, new 300 ns a request; +200.0 %; significant"),
                "{run:?}"
            );
            assert_eq!(run[0], run[1]);
            let gone = shown(&svg, "gone");
            assert_eq!(gone.len(), 1);
            assert!(gone[0].0.contains("-100.0 %") && gone[0].1 == "rgb(75,124,214)", "{gone:?}");
            let same = shown(&svg, "&lt;T as &quot;X&quot;&gt;::same &amp; more");
            assert!(same.len() == 2 && same.iter().all(|s| s.1 == "rgb(224,228,232)"), "{same:?}");
            let halves: Vec<(u64, u64)> = boxes(&svg)
                .iter()
                .filter(|b| ["1: old", "2: new"].contains(&b.name))
                .map(|b| (b.x, b.width))
                .collect();
            assert_eq!(halves, [(0, 200), (200, 350)], "200 ns a request before, 350 after, in this order");
            assert!(svg.contains("old 2.00 µs of 10 requests; new 3.50 µs of 10 requests"));
        }
    }

    #[test]
    fn shares_of_samples_take_half_the_picture_each() {
        let c = compare(
            Side::samples("a", folded("m;x 500\nm;y 500\n")),
            Side::samples("b", folded("m;x 100\nm;z 900\n")),
            Measure::Samples,
        );
        let svg = c.unwrap().svg("two", &FlameOptions::default()).unwrap();
        assert_well_formed(&svg);
        let m: Vec<u64> = boxes(&svg).iter().filter(|b| b.name == "m").map(|b| b.width).collect();
        assert_eq!(m, [1_000_000, 1_000_000]);
        assert!(shown(&svg, "z")[0].0.contains("new; significant"), "{:?}", shown(&svg, "z"));
    }
}
