//! The levels as a picture: keys from left to right, a row for each level, borders of regions as lines.

use std::{collections::BTreeSet, fmt::Write};

use keys::escape;
use kvproto::metapb::Region;

use super::lsm::{Family, bounds, readable};
use crate::commands::data::convert_gbmb;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 130.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;
const FAMILY_GAP: f64 = 26.0;

/// Draws `families`. Keys have no length: each key that begins or ends something takes one step to the right.
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
    let x = |key: &[u8]| {
        LEFT + (WIDTH - LEFT - 20.0) * borders.partition_point(|border| border.as_slice() < key) as f64 / last
    };
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
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0:.0}\" width=\"{WIDTH}\" height=\"{0:.0}\">\n\
         <style>text{{font:11px monospace;fill:#222}}.name{{font-weight:bold}}rect{{stroke:#fff;stroke-width:.7}}\
         .border{{stroke:#b00;stroke-dasharray:3 3;stroke-width:.8}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"20\" class=\"name\">region from:</text>\n{body}</svg>\n",
        y + 12.0
    )
}

/// Draws the levels of a family from `y` down, and tells where they end.
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
        // On level 0 files lie over each other: each has a row.
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

/// `plain` for the inside of an element.
fn text(plain: &str) -> String {
    let plain = if plain.is_ascii() { plain.to_owned() } else { escape(plain.as_bytes()) };
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
