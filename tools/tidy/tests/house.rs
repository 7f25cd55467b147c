//! Draws the crates by floor, from the table in the guide's page on architecture.
use std::{fmt::Write as _, fs};

use tidy::root;

const PAGE: &str = "docs/src/architecture.md";
const PICTURE: &str = "docs/src/house.svg";

const WIDTH: usize = 1160;
/// Width of the column with the names of storeys, in pixels.
const NAMES: usize = 110;
const STOREY: usize = 80;
const GAP: usize = 8;
const ROOF: usize = 64;
/// Characters in 100 pixels of the small font.
const CHARS: usize = 17;

/// A row of the table of crates.
struct Row {
    storey: String,
    floor: String,
    name: String,
    purpose: String,
}

/// Reads the rows `| storey | floor | crate | purpose |`, highest storey first.
fn rows(page: &str) -> Vec<Row> {
    let table = page.split("| storey | floor | crate | purpose |\n|---|---|---|---|\n").nth(1).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(|cell| cell.trim()).collect();
        let [storey, floor, name, purpose] = cells[..] else { panic!("four cells in {line}") };
        let text = |cell: &str| cell.replace('`', "");
        Row { storey: text(storey), floor: text(floor), name: text(name), purpose: text(purpose) }
    };
    table.lines().take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Breaks a text into lines of up to `width` characters, at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            write!(line, " {word}").unwrap();
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A crate's box with its name, floor and purpose.
fn crate_box(out: &mut String, row: &Row, (x, y, width): (usize, usize, usize)) {
    let height = STOREY - GAP;
    writeln!(
        out,
        r##"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="#ffffff" stroke="#8c959f"/>
<text x="{}" y="{}" font-weight="bold" font-size="13">{}</text>
<text x="{}" y="{}" font-size="11" fill="#57606a" text-anchor="end">{}</text>"##,
        x + 8,
        y + 19,
        row.name,
        x + width - 7,
        y + height - 7,
        row.floor
    )
    .unwrap();
    for (i, line) in wrap(&row.purpose, (width - 14) * CHARS / 100).iter().enumerate() {
        let (x, y) = (x + 8, y + 36 + i * 14);
        writeln!(out, r##"<text x="{x}" y="{y}" font-size="11" fill="#424a53">{line}</text>"##).unwrap();
    }
}

/// The picture. It has a background of its own, so that it is readable on light and dark pages.
fn picture(rows: &[Row]) -> String {
    let storeys: Vec<&[Row]> = rows.chunk_by(|a, b| a.storey == b.storey).collect();
    let height = ROOF + storeys.len() * STOREY + 3 * GAP;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="'DejaVu Sans',Helvetica,Arial,sans-serif" fill="#24292f">
<title>The crates by floor: each imports only crates on lower floors</title>
<rect width="100%" height="100%" rx="8" fill="#f6f8fa" stroke="#d0d7de"/>
<path d="M {GAP} {ROOF} L {} {GAP} L {} {ROOF} Z" fill="#dbe9f9" stroke="#8c959f"/>
<text x="{}" y="{}" font-size="12" text-anchor="middle">a crate imports only crates below</text>
"##,
        WIDTH / 2,
        WIDTH - GAP,
        WIDTH / 2,
        ROOF - 12
    );
    for (i, storey) in storeys.iter().enumerate() {
        let (y, inside) = (ROOF + GAP + i * STOREY, WIDTH - NAMES - GAP);
        let (middle, width) = (y + STOREY / 2, inside / storey.len());
        writeln!(out, r#"<text x="16" y="{middle}" font-size="13">{}</text>"#, storey[0].storey).unwrap();
        for (n, row) in storey.iter().rev().enumerate() {
            crate_box(&mut out, row, (NAMES + n * width, y, width - GAP));
        }
    }
    out + "</svg>\n"
}

#[test]
fn the_picture_of_the_crates_equals_the_table() {
    let page = fs::read_to_string(root().unwrap().join(PAGE)).unwrap();
    let (expected, path) = (picture(&rows(&page)), root().unwrap().join(PICTURE));
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{PICTURE} is out of date; run: REWRITE=1 cargo test -p tidy");
}

#[test]
fn a_text_is_wrapped_at_spaces() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("", 7), [""]);
}
