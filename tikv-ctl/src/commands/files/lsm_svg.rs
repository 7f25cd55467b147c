//! Draws the levels: keys from left to right, a row for each level, borders of regions as lines.
use std::{collections::BTreeSet, fmt::Write};

use keys::escape;
use kvproto::metapb::Region;

use super::lsm_levels::{Family, bounds, readable};
use crate::commands::data::convert_gbmb;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 130.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;
const FAMILY_GAP: f64 = 26.0;
/// Heights of the parts below the levels, in pixels.
const AXIS: f64 = 56.0;
const LEGEND: f64 = 28.0;
/// Maximum number of keys named on the axis, and of characters of each.
const LABELS: usize = 8;
const KEY_CHARS: usize = 22;

/// Draws `families`. Keys have no length: each key that starts or ends a file or a region takes one step to
/// the right.
pub fn draw(families: &[Family<'_>], regions: &[Region]) -> String {
    let mut borders = BTreeSet::new();
    for row in families.iter().flat_map(|family| &family.rows) {
        borders.insert(row.file.smallest().to_vec());
        borders.insert(row.file.largest().to_vec());
    }
    for region in regions {
        let (start, end) = bounds(region);
        borders.extend([start, end]);
    }
    let borders: Vec<Vec<u8>> = borders.into_iter().collect();
    let last = borders.len().saturating_sub(1).max(1) as f64;
    let x = |key: &[u8]| place(borders.partition_point(|border| border.as_slice() < key), last);
    let (mut body, mut y) = (String::new(), TOP);
    for family in families {
        y = draw_family(family, &x, y, &mut body);
    }
    for region in regions {
        let (start, end) = bounds(region);
        let _ = writeln!(
            body,
            "<line x1=\"{0:.1}\" y1=\"24\" x2=\"{0:.1}\" y2=\"{y:.1}\" class=\"border\"/>\
             <text x=\"{1:.1}\" y=\"20\">{2}<title>region {2}: {3} .. {4}</title></text>",
            x(&start),
            x(&start) + 3.0,
            region.id,
            text(&readable(&start)),
            text(&readable(&end))
        );
    }
    body.push_str(&axis(&borders, y + 10.0));
    body.push_str(&legend(y + 10.0 + AXIS));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0:.0}\" width=\"{WIDTH}\" height=\"{0:.0}\">\n\
         <style>text{{font:11px monospace;fill:#222}}.name{{font-weight:bold}}rect{{stroke:#fff;stroke-width:.7}}\
         .border{{stroke:#b00;stroke-dasharray:3 3;stroke-width:.8}}.axis line{{stroke:#888}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"20\" class=\"name\">region from:</text>\n{body}</svg>\n",
        y + 10.0 + AXIS + LEGEND
    )
}

/// Returns the x coordinate of the border with this number.
fn place(border: usize, last: f64) -> f64 {
    LEFT + (WIDTH - LEFT - 20.0) * border as f64 / last
}

/// Draws the axis of keys: a tick for each border, and names for some keys, in the order of their bytes.
fn axis(borders: &[Vec<u8>], y: f64) -> String {
    let last = borders.len().saturating_sub(1).max(1) as f64;
    let mut out = format!(
        "<g class=\"axis\"><text x=\"4\" y=\"{:.1}\" class=\"name\">keys</text>\
         <line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\n",
        y + 14.0,
        place(borders.len().saturating_sub(1), last)
    );
    let step = borders.len().div_ceil(LABELS).max(1);
    for (i, border) in borders.iter().enumerate() {
        let (x, labelled) = (place(i, last), i % step == 0);
        let end = y + if labelled { 6.0 } else { 3.0 };
        let _ = write!(out, "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{end:.1}\"/>");
        if labelled {
            let key = readable(border);
            let short: String = key.chars().take(KEY_CHARS).collect();
            let cut = if short.len() < key.len() { "…" } else { "" };
            // Labels alternate between two rows, so that long keys do not overlap.
            let row = y + 18.0 + if (i / step).is_multiple_of(2) { 0.0 } else { 13.0 };
            let anchor = if x > WIDTH - 120.0 { "end" } else { "start" };
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{row:.1}\" text-anchor=\"{anchor}\">{}{cut}<title>{}</title></text>",
                text(&short),
                text(&key)
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\">in the order of their bytes; each key that begins or ends a file or a region is one \
         step to the right</text></g>",
        y + 46.0
    );
    out
}

/// Draws the legend of shades and lines.
fn legend(y: f64) -> String {
    let mut out =
        format!("<g class=\"legend\"><text x=\"4\" y=\"{:.1}\" class=\"name\">legend</text>", y + 12.0);
    let mut x = LEFT;
    for (depth, says) in
        [(70, "a small SST"), (52, "half of the largest"), (35, "the largest SST of its column family")]
    {
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"30\" height=\"16\" fill=\"hsl(210,60%,{depth}%)\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{says}</text>",
            x + 36.0,
            y + 12.0
        );
        x += 60.0 + 7.0 * says.len() as f64;
    }
    let _ = writeln!(
        out,
        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" class=\"border\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">border of a region</text></g>",
        y + 16.0,
        x + 8.0,
        y + 12.0
    );
    out
}

/// Draws the levels of a family from `y` downwards; returns the y coordinate of their end.
fn draw_family(family: &Family<'_>, x: &impl Fn(&[u8]) -> f64, mut y: f64, body: &mut String) -> f64 {
    let files = family.rows.len();
    let total = convert_gbmb(family.rows.iter().map(|row| row.file.meta().size).sum());
    let _ = writeln!(
        body,
        "<text x=\"4\" y=\"{:.1}\" class=\"name\">CF {}: {files} files, {total}</text>",
        y + 14.0,
        text(family.name)
    );
    y += FAMILY_GAP;
    let most = family.rows.iter().map(|row| row.file.meta().size).max().unwrap_or(1).max(1) as f64;
    let mut level = None;
    for row in &family.rows {
        let file = row.file;
        // Files of level 0 overlap: each has its own row.
        let new_row = level != Some(file.level()) || file.level() == 0;
        if new_row && level.is_some() {
            y += ROW;
        }
        if level != Some(file.level()) {
            let _ = writeln!(body, "<text x=\"4\" y=\"{:.1}\">level {}</text>", y + 14.0, file.level());
        }
        level = Some(file.level());
        let (from, to) = (x(file.smallest()), x(file.largest()));
        let depth = 70.0 - 35.0 * file.meta().size as f64 / most;
        let _ = writeln!(
            body,
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"hsl(210,60%,{depth:.0}%)\"><title>{} \
             {}, {} entries, {} .. {}, overlaps {} below</title></rect>",
            (to - from).max(3.0),
            ROW - 3.0,
            text(&file.path().file_name().unwrap_or_default().display().to_string()),
            convert_gbmb(file.meta().size),
            row.entries,
            text(&readable(file.smallest())),
            text(&readable(file.largest())),
            row.below
        );
    }
    if level.is_some() { y + ROW + 6.0 } else { y }
}

/// Escapes `plain` for the inside of an element.
fn text(plain: &str) -> String {
    let plain = if plain.is_ascii() { plain.to_owned() } else { escape(plain.as_bytes()) };
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_an_axis_of_keys_and_a_legend() {
        let region = |id, start: &str, end: &str| Region {
            id,
            start_key: start.as_bytes().to_vec(),
            end_key: end.as_bytes().to_vec(),
            ..Region::default()
        };
        let svg = draw(&[], &[region(1, "", "k1"), region(2, "k1", "a<b")]);
        for part in [
            "class=\"axis\"",
            "class=\"legend\"",
            "in the order of their bytes",
            "border of a region",
            "k1",
            "&lt;",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!((svg.matches("<g").count(), svg.matches("</g>").count()), (2, 2));
    }
}
