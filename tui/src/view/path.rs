//! Draws the path pane: a tree of requests, stages and replica lanes, with their durations.
use std::collections::BTreeSet;

use ratatui::text::{Line, Span};
use tracepoints::trace::Step;

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{Screen, path::Row, units};

/// Formats the rows of the pane.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let rows = screen.timeline().rows();
    let at = rows.iter().position(|r| r.step == Some(screen.timeline().cursor())).unwrap_or(0);
    let offset = centre(at, height, rows.len());
    let critical = critical(screen);
    let lines: Vec<_> = rows
        .iter()
        .map(|r| line(screen, theme, r, width, r.step.is_some_and(|s| critical.contains(&s))))
        .collect();
    Content { title: String::new(), offset, lines, ..Content::default() }
}

/// The steps on the critical path; empty if all steps are on it (no replicas and no parallel requests).
fn critical(screen: &Screen) -> BTreeSet<usize> {
    let Some(path) = screen.timeline().critical() else { return BTreeSet::new() };
    let on: BTreeSet<usize> = path.segments.iter().map(|s| s.step).collect();
    let off_path = |s: &Step| s.dur_ns > 0 && !on.contains(&s.step);
    if screen.timeline().steps().iter().any(off_path) { on } else { BTreeSet::new() }
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
