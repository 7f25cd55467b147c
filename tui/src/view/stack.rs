//! Draws the stack pane: the logical stack, then the frames of the thread, innermost first.
use ratatui::text::{Line, Span};

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{Screen, stack::Row};

/// Formats the rows of the step.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let rows = screen.stack_rows();
    let frames = screen.step().map_or(0, |s| s.stack.len());
    let mut fixed = Vec::new();
    if frames == 0 {
        fixed.push(Line::styled(" no call stack was captured at this step", theme.dim()));
    }
    let picked = rows.iter().position(|r| r.pick().is_some() && r.pick() == screen.panes().pick());
    let lines: Vec<_> =
        rows.iter().enumerate().map(|(i, r)| line(r, picked == Some(i), width, theme)).collect();
    let offset = picked.map_or(0, |at| centre(at, height.saturating_sub(fixed.len()), lines.len()));
    let title = if frames == 0 { String::new() } else { format!("{frames} frames") };
    Content { title, fixed, lines, offset, part: None }
}

/// Formats a row: its name is never cut if it fits, its place gets the remaining room.
fn line(row: &Row, selected: bool, width: usize, theme: Theme) -> Line<'static> {
    let (name, place, style) = match row {
        Row::Title(title) => return Line::styled(format!(" {title}"), theme.strong()),
        Row::Joined { step, label, stage } => {
            (label.clone(), format!("step {} {stage}", step + 1), theme.plain())
        }
        Row::Frame { count, name, place, inlined, ours, .. } => {
            let more = if *count > 1 { format!(" ({count})") } else { String::new() };
            let inlined = if *inlined { " i" } else { "" };
            let style = if *ours { theme.plain() } else { theme.dim() };
            (format!("{name}{more}{inlined}"), place.clone(), style)
        }
        Row::Folded { count, name, .. } => (format!("+{count} {name}"), String::new(), theme.dim()),
    };
    let room = width.saturating_sub(3);
    let name = text::fit(&name, room);
    let rest = room.saturating_sub(text::width(&name) + 2);
    // Without room for its folder, a place is its file and line.
    let short = place.rsplit('/').next().unwrap_or(&place);
    let place = if text::width(&place) <= rest { place.as_str() } else { short };
    let place = if text::width(place) <= rest { place } else { "" };
    let style = if selected { theme.current() } else { style };
    Line::from(vec![
        Span::styled(if selected { " ▶ " } else { "   " }, theme.here()),
        Span::styled(name, style),
        Span::styled(text::pad_left(place, rest + 1), theme.dim()),
    ])
}
