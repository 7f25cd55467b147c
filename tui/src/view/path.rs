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

/// The widths of a row's columns beside its label, in cells.
struct Columns {
    bar: usize,
    percent: usize,
}

impl Columns {
    fn fit(width: usize) -> Self {
        let bar = match width {
            0..44 => 0,
            44..54 => 6,
            54..90 => 10,
            _ => 20,
        };
        Self { bar, percent: if width >= 56 { 6 } else { 0 } }
    }

    /// The cells of the duration and of these columns, with a space before the bar.
    fn total(&self) -> usize {
        8 + self.percent + if self.bar > 0 { self.bar + 1 } else { 0 }
    }
}

/// The signs of a row that a label repeats in words.
#[derive(Clone, Copy)]
struct Signs {
    held: bool,
    gated: bool,
    /// Another request was held when the step arrived.
    beside: bool,
}

impl Signs {
    fn span(self, theme: Theme) -> Span<'static> {
        match (self.held, self.gated) {
            (true, _) => Span::styled("‖", theme.held()),
            (_, true) => Span::styled("●", theme.gate()),
            _ if self.beside => Span::styled("·", theme.dim()),
            _ => Span::raw(" "),
        }
    }

    fn words(self) -> &'static str {
        match (self.held, self.gated) {
            (true, true) => " held, gate",
            (true, false) => " held",
            (false, true) => " gate",
            (false, false) if self.beside => " while held",
            (false, false) => "",
        }
    }
}

fn line(screen: &Screen, theme: Theme, row: &Row, width: usize, critical: bool) -> Line<'static> {
    let columns = Columns::fit(width);
    let current = row.step == Some(screen.timeline().cursor());
    let signs = Signs {
        held: row.step.is_some_and(|s| screen.timeline().is_held(s)),
        gated: row.step.is_some() && screen.is_gated(&row.label),
        beside: row.step.is_some_and(|s| screen.timeline().came_while_held(s)),
    };
    let later = row.span.0 > screen.timeline().cursor();
    let base = if later || row.step.is_none() { theme.dim() } else { theme.plain() };
    let room = width.saturating_sub(3 + columns.total() + 1);
    let name = if current {
        theme.current()
    } else if row.step.is_none() {
        theme.strong()
    } else {
        base
    };
    let mut spans = vec![
        Span::styled(if current { "▶" } else { " " }, theme.here()),
        signs.span(theme),
        if critical { Span::styled("◆", theme.critical()) } else { Span::raw(" ") },
        Span::styled(row.branch.clone(), theme.dim()),
        Span::styled(label(screen, row, signs, room), name),
        Span::styled(format!(" {}", text::pad_left(&took(row), 8)), base),
    ];
    if columns.percent > 0 {
        spans.push(Span::styled(text::pad_left(&units::percent(row.share), columns.percent), base));
    }
    if columns.bar > 0 {
        let share = if row.step.is_some() { row.share } else { 0.0 };
        spans.push(Span::styled(format!(" {}", text::bar(share, columns.bar)), theme.layer(&row.layer)));
    }
    Line::from(spans)
}

/// Formats the label with the words that fit; branch and label fill `room` cells.
fn label(screen: &Screen, row: &Row, signs: Signs, room: usize) -> String {
    let branch = text::width(&row.branch);
    let fits = |word: &str| branch + text::width(&row.label) + text::width(word) <= room;
    let mut label = row.label.clone();
    label.push_str(match signs.words() {
        both @ " held, gate" if !fits(both) => " held",
        beside @ " while held" if !fits(beside) => "",
        words => words,
    });
    if row.folded > 0 && fits(" +99 inside") && signs.words().is_empty() {
        label.push_str(&format!(" +{} inside", row.folded));
    }
    let room = room.saturating_sub(branch);
    if !row.note.is_empty() {
        label = text::fit(&format!("{label} {}", screen.timestamps().apply(&row.note)), room);
    }
    text::pad(&label, room)
}

fn took(row: &Row) -> String {
    if row.open { "…".into() } else { units::duration(row.dur_ns) }
}
