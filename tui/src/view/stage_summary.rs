//! Draws the card of a stage: its meaning, its duration and TiKV's function.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use tracepoints::trace::{Step, meaning};

use super::{text, theme::Theme};
use crate::state::{Screen, tikv::Place, units};

/// Draws the card of the step at the cursor.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme) {
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let Some(step) = screen.step() else {
        let (text, style) = match screen.failure() {
            Some(why) => (format!("! {why}"), theme.bad()),
            None => ("The first stage has not been reached yet.".into(), theme.dim()),
        };
        let lines: Vec<Line<'static>> =
            text::wrap(&text, area.width.into()).into_iter().map(|l| Line::styled(l, style)).collect();
        return frame.render_widget(text::paragraph(lines), area);
    };
    let width = usize::from(area.width);
    let mut lines = vec![first(screen, step, theme)];
    let held = screen
        .timeline()
        .holds()
        .iter()
        .find(|h| screen.timeline().held_step(h) == Some(screen.timeline().cursor()));
    let last = match held {
        Some(hold) => {
            Line::styled(text::fit(&format!("‖ held here: {}", hold.shared_with()), width), theme.held())
        }
        None => tikv(step, theme, width),
    };
    let both = usize::from(area.height >= 5 && held.is_some());
    let room = usize::from(area.height).saturating_sub(2 + both);
    let mut words = text::wrap(meaning(step), width);
    if words.len() > room {
        words.truncate(room);
        if let Some(last) = words.last_mut() {
            *last = text::fit(&format!("{last} …"), width);
        }
    }
    lines.extend(words.into_iter().map(Line::from));
    if both == 1 {
        lines.push(tikv(step, theme, width));
    }
    lines.push(last);
    frame.render_widget(text::paragraph(lines), area);
}

fn first(screen: &Screen, step: &Step, theme: Theme) -> Line<'static> {
    let place = if step.store == 0 { String::new() } else { format!("store {} · ", step.store) };
    let mut spans = vec![
        Span::styled(step.stage.clone(), theme.here()),
        Span::raw(format!("  {} · {place}thread {}", step.layer, step.thread)),
    ];
    let wall = screen.timeline().wall_ns();
    if step.dur_ns > 0 {
        spans.push(Span::raw(format!(" · {}", units::duration(step.dur_ns))));
        if step.lane == "main" && wall > 0 {
            spans.push(Span::raw(format!(" ({})", units::percent(step.dur_ns as f64 / wall as f64))));
        }
    }
    if step.lane != "main" {
        spans.push(replica(screen, step, theme));
    }
    Line::from(spans)
}

/// Says whether the answer waited for a replica's stage; before the operation's end it is unknown.
fn replica(screen: &Screen, step: &Step, theme: Theme) -> Span<'static> {
    match screen.timeline().critical() {
        Some(path) if path.has(step.step) => Span::styled(" · ◆ the answer waited for it", theme.critical()),
        Some(_) => Span::styled(" · the answer did not wait for it", theme.dim()),
        None => Span::styled(" · in parallel with other stores", theme.dim()),
    }
}

fn tikv(step: &Step, theme: Theme, width: usize) -> Line<'static> {
    let place = Place::parse(&step.tikv);
    let metric = tracepoints::find_stage(&step.stage).map_or("", |s| s.metric);
    let metric = if metric.is_empty() { String::new() } else { format!("  metric {metric}") };
    let text = format!("{} {}  {}{metric}", place.whose(), place.name(), place.file);
    Line::from(Span::styled(text::fit(&text, width), theme.dim()))
}
