//! Draws the state pane: the engine's tables, with changes since the previous step marked by `*`.
use ratatui::text::{Line, Span};

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{
    Screen,
    engine::{Cell, Kind, Section, TableRow},
};

/// Formats the tables of the step.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let sections = screen.sections();
    let changed = sections.iter().flat_map(|s| &s.rows).flat_map(|r| &r.cells).filter(|c| c.changed).count();
    let (mut lines, mut first_change) = (Vec::new(), None);
    for section in &sections {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(format!(" {}", section.title), theme.strong()));
        let widths = widths(section, width.saturating_sub(3));
        for r in &section.rows {
            if r.cells.iter().any(|c| c.changed) {
                first_change.get_or_insert(lines.len());
            }
            lines.push(row(r, &widths, theme, width));
        }
    }
    let title = if changed == 0 { String::new() } else { format!("* {changed} changed") };
    // Scrolls to the first change if it is below the pane.
    let offset = first_change.filter(|at| *at >= height).map_or(0, |at| centre(at, height, lines.len()));
    Content { title, lines, offset, ..Content::default() }
}

fn shown(cell: &Cell) -> String {
    if cell.changed { format!("{}*", cell.text) } else { cell.text.clone() }
}

/// The widths of the columns: the widest cell of each; the last column is limited to the remaining room.
fn widths(section: &Section, room: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in section.rows.iter().filter(|r| r.kind != Kind::Text) {
        for (i, cell) in row.cells.iter().enumerate() {
            let n = text::width(&shown(cell));
            match widths.get_mut(i) {
                Some(w) => *w = (*w).max(n),
                None => widths.push(n),
            }
        }
    }
    let before: usize = widths.iter().rev().skip(1).map(|w| w + 2).sum();
    if let Some(last) = widths.last_mut() {
        *last = (*last).min(room.saturating_sub(before)).max(1);
    }
    widths
}

fn row(row: &TableRow, widths: &[usize], theme: Theme, width: usize) -> Line<'static> {
    let sign = if row.kind == Kind::Marked { "▸" } else { " " };
    let base = match row.kind {
        Kind::Head => theme.dim(),
        Kind::Marked => theme.marked(),
        Kind::Row | Kind::Text => theme.plain(),
    };
    let mut spans = vec![Span::styled(format!(" {sign} "), base)];
    for (i, cell) in row.cells.iter().enumerate() {
        let style = if cell.changed { theme.changed() } else { base };
        let text = match (row.kind, widths.get(i)) {
            (Kind::Text, _) | (_, None) => text::fit(&shown(cell), width.saturating_sub(3)),
            (_, Some(w)) => text::pad(&shown(cell), *w),
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw("  "));
    }
    spans.pop();
    Line::from(spans)
}
