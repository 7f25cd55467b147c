//! Draws the step screen as an SVG, from saved steps of a point get, held at a gate again:
//! `cargo run -p tikv-tui -- step point_get --json > get.jsonl`, then
//! `cargo run -p tikv-tui --example picture -- get.jsonl docs/src/step-screen.svg`.
use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use tikv_tui::{
    source::recorded::Recorded,
    state::{Phase, Screen, Start, gates, screen::Options},
    view,
};

/// Columns and rows of the picture.
const SIZE: (u16, u16) = (160, 46);
/// The stage at which the request is held.
const GATE: &str = "write_cf_found";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(steps), Some(path)) = (args.next(), args.next()) else {
        bail!("expected two arguments, found fewer: give STEPS.jsonl and the path of the picture");
    };
    let record = Recorded::read(Path::new(&steps))?;
    let start = Start { gates: vec![gates::parse(GATE)?], ..Start::default() };
    let source = Recorded::new("point_get", record.steps, record.summary, &start);
    let mut screen = Screen::new(Box::new(source), Options { color: true, tikv_src: None });
    while screen.poll() {}
    if screen.phase() != Phase::Held {
        bail!("expected a step {GATE} in {steps}, found none: save the steps of point_get");
    }
    screen.on_key(KeyEvent::new(KeyCode::Char('4'), KeyModifiers::NONE));
    screen.on_key(KeyEvent::new(KeyCode::Char('1'), KeyModifiers::NONE));
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1))?;
    terminal.draw(|frame| drop(view::draw(frame, &screen)))?;
    let picture = svg(terminal.backend().buffer());
    std::fs::write(&path, picture).with_context(|| format!("cannot write {path}"))
}

/// Width and height of a character.
const CELL: (f64, f64) = (8.0, 17.0);
const INK: &str = "#24292f";
const PAPER: &str = "#fbfbfa";

fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) = (f64::from(area.width) * CELL.0 + 24.0, f64::from(area.height) * CELL.1 + 24.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"13.2px\">\n<title>A point get held at \
         {GATE}: its path, the code, the stack, the state</title><rect width=\"100%\" height=\"100%\" rx=\"8\" \
         fill=\"{PAPER}\" stroke=\"#d0d7de\"/>\n"
    );
    for y in 0..area.height {
        let row: Vec<&Cell> = (0..area.width).map(|x| &buffer[(x, y)]).collect();
        let mut x = 0;
        for run in row.chunk_by(|a, b| (a.fg, a.modifier) == (b.fg, b.modifier)) {
            text(&mut out, run, x, y);
            x += run.len();
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Writes a run of characters of one style, without the blanks around it.
fn text(out: &mut String, run: &[&Cell], column: usize, row: u16) {
    let style = run[0];
    let reversed = style.modifier.contains(Modifier::REVERSED);
    let whole: String = run.iter().map(|c| c.symbol()).collect();
    let (x, y) = (12.0 + column as f64 * CELL.0, 12.0 + f64::from(row) * CELL.1);
    let ink = colour(style.fg);
    if reversed {
        let width = run.len() as f64 * CELL.0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{ink}\"/>",
            CELL.1
        );
    }
    let shown = whole.trim();
    if shown.is_empty() {
        return;
    }
    let blank = whole.chars().take_while(|c| *c == ' ').count();
    let columns = shown.chars().count();
    let mut look = String::new();
    if style.modifier.contains(Modifier::BOLD) {
        look.push_str(" font-weight=\"bold\"");
    }
    if style.modifier.contains(Modifier::DIM) {
        look.push_str(" opacity=\"0.6\"");
    }
    if style.modifier.contains(Modifier::UNDERLINED) {
        look.push_str(" text-decoration=\"underline\"");
    }
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" fill=\"{}\"{look} textLength=\"{}\" xml:space=\"preserve\">{escaped}</text>",
        x + blank as f64 * CELL.0,
        y + 13.0,
        if reversed { PAPER } else { ink },
        columns as f64 * CELL.0,
    );
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#b3261e",
        Color::Green => "#2e7d32",
        Color::Yellow => "#8a6100",
        Color::Blue => "#1f5fbf",
        Color::Magenta => "#8e24aa",
        Color::Cyan => "#0e7c86",
        _ => INK,
    }
}
