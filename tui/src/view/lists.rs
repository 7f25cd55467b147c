//! Draws the lists of gates and of held requests, and the input of an operation.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{help::popup, panel::centre, text, theme::Theme};
use crate::state::{Screen, overlay::Typing, units};

/// Columns of the boxes.
const WIDTH: u16 = 76;

/// The line that is typed, and below it why it was refused.
fn typing(typing: &Typing, sign: &'static str, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {sign} "), theme.key()),
        Span::raw(text::fit_end(&format!("{}▏", typing.text), width.saturating_sub(4))),
    ])];
    if let Some(problem) = &typing.problem {
        let words = text::wrap(problem, width.saturating_sub(2));
        lines.extend(words.into_iter().map(|line| Line::styled(format!(" {line}"), theme.bad())));
    }
    lines
}

/// Adds examples with their meanings.
fn examples(lines: &mut Vec<Line<'static>>, examples: &[(&str, &str)], theme: Theme, width: usize) {
    let column = examples.iter().map(|(example, _)| text::width(example)).max().unwrap_or(0) + 2;
    for (example, meaning) in examples {
        lines.push(Line::from(vec![
            Span::styled(format!(" {}", text::pad(example, column)), theme.plain()),
            Span::styled(text::fit(meaning, width.saturating_sub(column + 2)), theme.dim()),
        ]));
    }
}

/// Examples of gates, each of a kind of its own.
const GATES: &[(&str, &str)] = &[
    ("write_cf_found if commit_ts > ts1", "a condition"),
    ("raft_propose#2", "from the second arrival"),
    ("point_getter.rs:170", "a line"),
    ("PointGetter::load_data", "a function: ours, TiKV's"),
    ("any if store == 2", "any stage"),
    ("any error", "or key error, region error"),
    ("change of commit if store == 2", "or term, rows, latch"),
];

/// Draws the list of gates.
pub fn gates(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    theme: Theme,
    (selected, input): (usize, Option<&Typing>),
) {
    let inner = popup(frame, area, WIDTH, area.height.min(20), "Gates", theme);
    let width = usize::from(inner.width);
    let mut lines = Vec::new();
    for (i, state) in screen.gates().iter().enumerate() {
        let here = i == selected && input.is_none();
        let (sign, style) = if here { ("▶", theme.current()) } else { (" ", theme.plain()) };
        let hits = format!("{} hits", state.hits);
        let text = text::pad(state.gate.text(), width.saturating_sub(20));
        lines.push(Line::from(vec![
            Span::styled(format!(" {sign} "), theme.here()),
            Span::styled(format!("{} ", if state.on { "● on " } else { "○ off" }), theme.held()),
            Span::styled(text, style),
            Span::styled(format!(" {hits:>9}"), theme.dim()),
        ]));
    }
    let shown = usize::from(inner.height).saturating_sub(2);
    let offset = centre(selected, shown, lines.len());
    let mut lines: Vec<Line<'static>> = lines.into_iter().skip(offset).take(shown).collect();
    if let Some(input) = input {
        lines.extend(typing(input, "gate", theme, width));
        if input.problem.is_none() {
            lines.push(Line::default());
            examples(&mut lines, GATES, theme, width);
        }
    }
    frame.render_widget(text::paragraph(lines), inner);
}

/// Draws the list of held requests.
pub fn held(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, selected: usize) {
    let holds = screen.timeline().holds();
    let height = (holds.len() as u16 + 3).min(area.height);
    let inner = popup(frame, area, WIDTH, height, "Held: choose which one continues", theme);
    let width = usize::from(inner.width);
    let mut lines = Vec::new();
    for (i, hold) in holds.iter().enumerate() {
        let (sign, style) = if i == selected { ("▶", theme.current()) } else { (" ", theme.plain()) };
        let place = units::place(hold.store);
        let held = units::held(screen.timeline().held_for(hold));
        let text = format!("{:<18} {place:<8} {}", hold.stage, hold.thread);
        lines.push(Line::from(vec![
            Span::styled(format!(" {sign} "), theme.here()),
            Span::styled(text::pad(&text, width.saturating_sub(20)), style),
            Span::styled(format!(" {held}"), theme.held()),
        ]));
    }
    frame.render_widget(text::paragraph(lines), inner);
}

/// Examples of operations.
const OPERATIONS: &[(&str, &str)] = &[
    ("get k1", "read the newest value"),
    ("put k1 v1", "also async-commit, one-pc"),
    ("delete k1", "a transaction"),
    ("scan a z limit=10", "also scan-reverse, batch-get"),
    ("begin put a 1; put b 2; commit", "a transaction of two keys"),
    ("put k1 v1 | get k1", "two clients side by side"),
    ("raw-put k1 v1", "also raw-get, raw-cas, ..."),
];

/// Draws the input of an operation.
pub fn operation(frame: &mut Frame<'_>, area: Rect, theme: Theme, input: &Typing) {
    let inner = popup(frame, area, WIDTH, area.height.min(13), "Step an operation", theme);
    let mut lines = typing(input, "op", theme, inner.width.into());
    if input.problem.is_none() {
        lines.push(Line::default());
        examples(&mut lines, OPERATIONS, theme, inner.width.into());
    }
    frame.render_widget(text::paragraph(lines), inner);
}
