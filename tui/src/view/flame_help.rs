//! Draws the help of the flame and of the timeline.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{help::popup, text, theme::Theme};

const FLAME: &str = "Each bar is as wide as its wall-clock time: the operation, its requests, their layers, their stages. The lanes below \
    are the replicas' work at the same scale; ◆ is on the critical path. The selected bar is in brackets.";
const TIMELINE: &str = "Each lane is a place that works for the operation: the client, PD, each store's requests, and each store's log and \
    apply beside them. An arrow is a message, drawn when it arrives. The selected stage is in brackets or ▼.";

const FLAME_KEYS: &[(&str, &str)] = &[
    ("h l ← →", "bar before or after"),
    ("j k ↓ ↑", "bar inside or around"),
    ("z", "zoom to the bar"),
    ("Enter", "go to the step, or to the first one of the bar"),
    ("t", "timeline with the messages as arrows"),
    ("m", "legend; then colours by class, by difference, by layer"),
    ("s", "only stacks with this frame, or all again"),
    ("i", "operation at the top or at the bottom"),
    ("/ ] [", "search, next match, previous match"),
    (":", "palette: save as folded stacks, SVG and a page"),
    ("Esc", "undo zoom, filter, search; then back to the step screen"),
];
const TIMELINE_KEYS: &[(&str, &str)] = &[
    ("h l ← →", "stage before or after in the lane"),
    ("n p", "stage before or after in time, in any lane"),
    ("j k ↓ ↑", "nearest stage of the next lane"),
    ("z", "zoom on the stage"),
    ("Enter", "go to the step"),
    ("m", "legend; then colours by class or by layer"),
    ("t", "flame"),
    ("Esc", "undo the zoom; then back to the step screen"),
];

/// Draws the help of the flame, or of its timeline.
pub fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme, timeline: bool) {
    let (title, about, keys) = if timeline {
        ("Help: timeline", TIMELINE, TIMELINE_KEYS)
    } else {
        ("Help: flame", FLAME, FLAME_KEYS)
    };
    let width = area.width.min(84);
    let room = usize::from(width.saturating_sub(4));
    let mut lines: Vec<Line<'static>> =
        text::wrap(about, room).into_iter().map(|l| Line::from(format!(" {l}"))).collect();
    lines.push(Line::default());
    for (key, word) in keys {
        lines.push(Line::from(vec![
            Span::styled(format!("   {key:<10}"), theme.key()),
            Span::raw(text::fit(word, room.saturating_sub(12))),
        ]));
    }
    let inner = popup(frame, area, width, lines.len() as u16 + 2, title, theme);
    frame.render_widget(text::paragraph(lines), inner);
}
