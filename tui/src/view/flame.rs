//! The flame screen: the operation's wall time as nested bars, the replicas' lanes below at their time.
use ratatui::{
    Frame,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::{Block, Paragraph},
};
use tracepoints::trace::Step;

use super::{text, theme::Theme};
use crate::state::{
    Screen,
    flame::{self, Bar},
    path::wall_ns,
    units,
};

pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, selected: usize) {
    let block = Block::bordered()
        .border_style(theme.dim())
        .title(Line::styled(" Flame: wall-clock time of the operation ", theme.strong()));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let bars = flame::bars(&screen.operation, &screen.steps, &screen.requests);
    let width = usize::from(inner.width);
    let mut lines = Vec::new();
    if bars.is_empty() {
        lines.push(Line::styled(" No step yet.", theme.dim()));
    }
    let depth = bars.iter().map(|b| b.depth + 1).max().unwrap_or(0);
    for level in 0..depth {
        lines.push(level_line(&bars, level, selected, width, theme));
    }
    lines.push(Line::default());
    lines.extend(replicas(screen, width, theme));
    lines.extend(bars.get(selected).into_iter().flat_map(|b| detail(b, screen, theme, width)));
    lines.extend(longest(&bars, usize::from(inner.height).saturating_sub(lines.len()), theme));
    frame.render_widget(Paragraph::new(lines), inner);
}

fn columns(at: f64, width: f64, total: usize) -> (usize, usize) {
    let from = (at * total as f64).round() as usize;
    let to = ((at + width) * total as f64).round() as usize;
    (from.min(total), to.min(total))
}

/// One depth: bars in reverse video with their label; the selected one plain and in brackets.
fn level_line(bars: &[Bar], level: usize, selected: usize, width: usize, theme: Theme) -> Line<'static> {
    let (mut spans, mut x) = (Vec::new(), 0);
    for (i, bar) in bars.iter().enumerate().filter(|(_, b)| b.depth == level) {
        let (from, to) = columns(bar.at, bar.width, width);
        let (from, to) = (from.max(x), to.max(if i == selected { x + 1 } else { x }).min(width));
        if to <= from {
            continue;
        }
        spans.push(Span::raw(" ".repeat(from - x)));
        spans.push(block(bar, to - from, i == selected, theme));
        x = to;
    }
    Line::from(spans)
}

fn block(bar: &Bar, width: usize, selected: bool, theme: Theme) -> Span<'static> {
    let style = theme.layer(&bar.layer);
    if selected {
        let text =
            if width >= 3 { format!("[{}]", text::pad(&bar.label, width - 2)) } else { "▼".repeat(width) };
        return Span::styled(text, style.add_modifier(Modifier::BOLD));
    }
    let label =
        if width >= 4 { text::pad(&format!("│{}", bar.label), width) } else { text::pad("│", width) };
    Span::styled(label, style.add_modifier(Modifier::REVERSED))
}

/// A lane for each store: its stages at the time they ran, beside the operation's own.
fn replicas(screen: &Screen, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut stores: Vec<u64> = screen.steps.iter().filter(|s| s.lane != "main").map(|s| s.store).collect();
    stores.sort();
    stores.dedup();
    if stores.is_empty() {
        return Vec::new();
    }
    let total = wall_ns(&screen.steps).max(1) as f64;
    let mut out = vec![Line::styled(" Replicas beside it, at their time", theme.strong())];
    for store in stores {
        let name = format!(" store {store} ");
        let room = width.saturating_sub(name.len());
        let mut lane = vec![Span::raw(name)];
        let mut x = 0;
        for step in screen.steps.iter().filter(|s| s.lane != "main" && s.store == store) {
            let (from, to) = columns(step.at_ns as f64 / total, step.dur_ns as f64 / total, room);
            let (from, to) = (from.max(x), to.max(from.max(x) + 1).min(room));
            if to <= from {
                continue;
            }
            lane.push(Span::raw(" ".repeat(from - x)));
            lane.push(lane_block(step, to - from, theme));
            x = to;
        }
        out.push(Line::from(lane));
    }
    out.push(Line::default());
    out
}

fn lane_block(step: &Step, width: usize, theme: Theme) -> Span<'static> {
    let label =
        if width >= 4 { text::pad(&format!("│{}", step.stage), width) } else { text::pad("│", width) };
    Span::styled(label, theme.layer(&step.layer).add_modifier(Modifier::REVERSED))
}

/// The stages that took longest, as many as there is room for.
fn longest(bars: &[Bar], room: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut stages: Vec<&Bar> = bars.iter().filter(|b| b.step.is_some()).collect();
    stages.sort_by_key(|b| std::cmp::Reverse(b.dur_ns));
    if room < 4 || stages.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Line::default(), Line::styled(" Longest stages", theme.strong())];
    for bar in stages.into_iter().take(room - 2) {
        out.push(Line::from(vec![
            Span::raw(format!(" {:<22}{:<11}", bar.label, bar.layer)),
            Span::raw(format!("{:>8} {:>6}  ", units::duration(bar.dur_ns), units::percent(bar.width))),
            Span::styled(text::bar(bar.width, 24), theme.layer(&bar.layer)),
        ]));
    }
    out
}

fn detail(bar: &Bar, screen: &Screen, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let share = units::percent(bar.width);
    let mut out = vec![Line::from(vec![
        Span::styled(format!(" {}", bar.label), theme.here()),
        Span::raw(format!("  {}  {share} of the operation  {}", units::duration(bar.dur_ns), bar.layer)),
    ])];
    if let Some(step) = bar.step.and_then(|i| screen.steps.get(i)) {
        let words = text::wrap(tracepoints::trace::meaning(step), width.saturating_sub(2));
        out.extend(words.into_iter().map(|l| Line::from(format!(" {l}"))));
    }
    out
}
