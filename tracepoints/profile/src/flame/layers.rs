//! Colours of wall-clock pictures: a stage has the colour of its layer, and a legend names the layers.
use inferno::flamegraph::color::{Color, PaletteMap};
use tracepoints::catalogue::find;

use crate::tree::stage_of;

/// The layers from the client down to the disk.
const LAYERS: [(&str, Color); 10] = [
    ("client", Color { r: 158, g: 188, b: 218 }),
    ("pd", Color { r: 190, g: 174, b: 212 }),
    ("grpc", Color { r: 128, g: 205, b: 214 }),
    ("storage", Color { r: 160, g: 217, b: 149 }),
    ("scheduler", Color { r: 205, g: 226, b: 120 }),
    ("mvcc", Color { r: 231, g: 160, b: 206 }),
    ("raftkv", Color { r: 252, g: 214, b: 122 }),
    ("raftstore", Color { r: 250, g: 180, b: 98 }),
    ("apply", Color { r: 240, g: 148, b: 120 }),
    ("rocksdb", Color { r: 214, g: 126, b: 126 }),
];
const RUNS: Color = Color { r: 226, g: 240, b: 217 };
const WAITS: Color = Color { r: 232, g: 232, b: 232 };
const OTHER: Color = Color { r: 208, g: 216, b: 224 };

/// Returns the layers in folded lines, and a colour for each frame.
pub fn palette<'a>(lines: impl Iterator<Item = &'a str>) -> (PaletteMap, Vec<&'static str>) {
    let (mut palette, mut seen) = (PaletteMap::default(), Vec::new());
    for line in lines {
        let stack = line.rsplit_once(' ').map_or(line, |(stack, _)| stack);
        for frame in stack.split(';') {
            let layer = find(stage_of(frame)).map_or(frame, |stage| stage.layer);
            let known = LAYERS.iter().find(|(name, _)| *name == layer);
            let color = match known {
                Some((name, color)) => {
                    seen.push(*name);
                    *color
                }
                None if frame.starts_with("runs: ") => RUNS,
                None if frame.starts_with("waits: ") || frame.starts_with("off CPU: ") => WAITS,
                None => OTHER,
            };
            palette.insert(frame, color);
        }
    }
    let order = LAYERS.iter().map(|(name, _)| *name).filter(|name| seen.contains(name)).collect();
    (palette, order)
}

/// Adds a row with the names of layers below the picture.
pub fn with_legend(svg: &str, layers: &[&str]) -> String {
    const ROW: usize = 24;
    let Some((height, rest)) = attribute(svg, "height") else { return svg.to_owned() };
    let mut out = svg.replacen(&format!("height=\"{height}\""), &format!("height=\"{}\"", height + ROW), 1);
    if let Some(view) = rest.find("viewBox=\"").and_then(|at| rest[at + 9..].split('"').next())
        && let Some((before, _)) = view.rsplit_once(' ')
    {
        out = out.replacen(
            &format!("viewBox=\"{view}\""),
            &format!("viewBox=\"{before} {}\"", height + ROW),
            1,
        );
    }
    let (mut legend, mut x) = ("<g id=\"legend\">".to_owned(), 12);
    for (name, color) in LAYERS.iter().filter(|(name, _)| layers.contains(name)) {
        let y = height + 4;
        legend.push_str(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"rgb({},{},{})\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            color.r,
            color.g,
            color.b,
            x + 17,
            y + 10,
        ));
        x += 34 + 8 * name.len();
    }
    let end = out.rfind("</svg>").unwrap_or(out.len());
    out.insert_str(end, &(legend + "</g>"));
    out
}

/// Returns a number of the first tag `<svg>`, and the text from that tag on.
fn attribute<'a>(svg: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let rest = &svg[svg.find("<svg ")?..];
    let tag = &rest[..rest.find('>')?];
    let key = format!(" {name}=\"");
    let value = tag.split_once(&key)?.1.split('"').next()?;
    Some((value.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::{FlameOptions, Measure, assert_well_formed, svg};

    #[test]
    fn every_layer_has_a_colour_used_by_its_stages() {
        for stage in tracepoints::catalogue::STAGES {
            assert!(LAYERS.iter().any(|(name, _)| *name == stage.layer), "{}", stage.layer);
        }
        let lines = [
            "kv_get;mvcc_get;runs: unified-read-pool 70",
            "kv_get;raft_propose;waits: fsync, store-writer-1 30",
        ];
        let options =
            FlameOptions { measure: Measure::Nanoseconds, width: Some(900), ..FlameOptions::default() };
        let picture = svg(lines, "one", &options).unwrap();
        assert_well_formed(&picture);
        for (name, color) in LAYERS.iter().filter(|(name, _)| ["mvcc", "raftstore"].contains(name)) {
            assert!(picture.contains(&format!(">{name}</text>")), "{name}");
            let fill = format!("fill=\"rgb({},{},{})\"", color.r, color.g, color.b);
            assert_eq!(picture.matches(&fill).count(), 2, "{name}: one stage, and the legend");
        }
        assert!(!picture.contains(">rocksdb</text>"));
    }
}
