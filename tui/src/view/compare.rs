//! Draws the comparison with another run: the aligned steps, with a sign at each difference.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Block,
};

use super::{panel::centre, text, theme::Theme};
use crate::{
    compare,
    state::{Screen, compare::Pair},
};

/// Draws the comparison into `area`, with the selected row.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, selected: usize) {
    let Some(before) = screen.other() else { return };
    let (pairs, after) = (screen.pairs(), screen.timeline());
    let title = format!(" Compare: {} with {} ", before.title, after.operation());
    let block = Block::bordered().border_style(theme.dim()).title(Line::styled(title, theme.strong()));
    let inner = block.inner(area);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height).saturating_sub(2));
    let offset = centre(selected, height, pairs.len());
    let shown = || pairs.iter().enumerate().skip(offset).take(height);
    let rows: Vec<Vec<String>> =
        shown().map(|(_, p)| compare::row(p, &before.steps, after.steps())).collect();
    let widths = widths(&rows, width);
    let head = ["", "request", "stage", "before", "after", "delta", "difference"].map(String::from).to_vec();
    let mut lines = vec![line(&head, &widths, theme, None, false)];
    for ((i, pair), row) in shown().zip(&rows) {
        lines.push(line(row, &widths, theme, Some(pair), i == selected));
    }
    lines.push(Line::styled(
        format!(" {}", text::fit(&compare::summary(&pairs), width.saturating_sub(1))),
        theme.strong(),
    ));
    frame.render_widget(block, area);
    frame.render_widget(text::paragraph(lines), inner);
}

/// The widths of the columns; a narrow screen has no column for the request and the delta.
fn widths(rows: &[Vec<String>], width: usize) -> [usize; 7] {
    let widest = |i: usize| rows.iter().map(|r| text::width(&r[i])).max().unwrap_or(0).max(6);
    let mut widths = [1, widest(1), widest(2), 8, 8, 9, 0];
    if width < 100 {
        widths[1] = 0;
    }
    if width < 70 {
        widths[5] = 0;
    }
    let used: usize = widths.iter().filter(|w| **w > 0).map(|w| w + 2).sum();
    widths[6] = width.saturating_sub(used + 2);
    widths
}

fn line(
    row: &[String],
    widths: &[usize; 7],
    theme: Theme,
    pair: Option<&Pair>,
    selected: bool,
) -> Line<'static> {
    let style = match pair {
        None => theme.dim(),
        Some(_) if selected => theme.current(),
        Some(pair) => match pair.sign() {
            "+" => theme.good(),
            "-" => theme.bad(),
            "≠" => theme.changed(),
            "▲" => theme.grew(),
            "▼" => theme.shrank(),
            _ => theme.plain(),
        },
    };
    let mut spans = vec![Span::styled(if selected { "▶" } else { " " }, theme.here())];
    for (i, cell) in row.iter().enumerate().filter(|(i, _)| widths[*i] > 0) {
        let cell = match i {
            3..=5 => text::pad_left(cell, widths[i]),
            _ => text::pad(cell, widths[i]),
        };
        spans.push(Span::styled(cell, style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}
