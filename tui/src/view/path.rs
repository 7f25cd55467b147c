//! Draws the path pane: a tree of requests, stages and replica lanes, with their durations.
use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{Pane, Screen, path::Row, units};
use ratatui::text::{Line, Span};

/// Formats the rows of the pane.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let timeline = screen.timeline();
    let (tree, cursor) = (timeline.tree(), timeline.cursor());
    let total = tree.len(cursor);
    let at = tree.position(cursor, cursor).unwrap_or(0);
    let offset = screen.panes().scroll(Pane::Path).unwrap_or_else(|| centre(at, height, total));
    let offset = offset.min(total.saturating_sub(height));
    let critical = timeline.critical().filter(|c| c.is_part);
    let on_path = |r: &Row| r.step.zip(critical.as_ref()).is_some_and(|(step, path)| path.has(step));
    let rows = timeline.rows_in(offset..offset + height);
    let lines = rows.iter().map(|r| line(screen, theme, r, width, on_path(r))).collect();
    Content { offset, lines, part: Some((offset, total)), ..Content::default() }
}

fn line(screen: &Screen, theme: Theme, row: &Row, width: usize, critical: bool) -> Line<'static> {
    let bar_width = match width {
        0..44 => 0,
        44..54 => 6,
        54..90 => 10,
        _ => 20,
    };
    let percent_width = if width >= 56 { 6 } else { 0 };
    let right = 8 + percent_width + if bar_width > 0 { bar_width + 1 } else { 0 };
    let current = row.step == Some(screen.timeline().cursor());
    let held = row.step.is_some_and(|s| screen.timeline().is_held(s));
    let gated = row.step.is_some() && screen.is_gated(&row.label);
    let later = row.span.0 > screen.timeline().cursor();
    let base = if later || row.step.is_none() { theme.dim() } else { theme.plain() };
    let sign = match (held, gated) {
        (true, _) => Span::styled("‖", theme.held()),
        (_, true) => Span::styled("●", theme.gate()),
        _ => Span::raw(" "),
    };
    let room = width.saturating_sub(3 + right + 1);
    let mut label = row.label.clone();
    let branch = text::width(&row.branch);
    let fits = |word: &str| branch + text::width(&row.label) + text::width(word) <= room;
    label.push_str(match (held, gated) {
        (true, true) if fits(" held, gate") => " held, gate",
        (true, _) => " held",
        (false, true) => " gate",
        (false, false) => "",
    });
    if row.folded > 0 && fits(" +99 inside") && !held && !gated {
        label.push_str(&format!(" +{} inside", row.folded));
    }
    if !row.note.is_empty() {
        label = text::fit(
            &format!("{label} {}", screen.timestamps().apply(&row.note)),
            room.saturating_sub(branch),
        );
    }
    let label = text::pad(&label, room.saturating_sub(branch));
    let name = if current {
        theme.current()
    } else if row.step.is_none() {
        theme.strong()
    } else {
        base
    };
    let mut spans = vec![
        Span::styled(if current { "▶" } else { " " }, theme.here()),
        sign,
        if critical { Span::styled("◆", theme.critical()) } else { Span::raw(" ") },
        Span::styled(row.branch.clone(), theme.dim()),
        Span::styled(label, name),
        Span::styled(format!(" {}", text::pad_left(&took(row), 8)), base),
    ];
    if percent_width > 0 {
        spans.push(Span::styled(text::pad_left(&units::percent(row.share), percent_width), base));
    }
    if bar_width > 0 {
        let share = if row.step.is_some() { row.share } else { 0.0 };
        spans.push(Span::styled(format!(" {}", text::bar(share, bar_width)), theme.layer(&row.layer)));
    }
    Line::from(spans)
}

fn took(row: &Row) -> String {
    if row.open { "…".into() } else { units::duration(row.dur_ns) }
}
