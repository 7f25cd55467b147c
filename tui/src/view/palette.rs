//! Draws the palette: all actions, filtered by the typed query.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{help::popup, panel::centre, text, theme::Theme};
use crate::state::Screen;

/// Draws the palette with the query and the selected entry.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, query: &str, selected: usize) {
    let entries = screen.palette_entries(query);
    let inner = popup(frame, area, 76, area.height.min(20), "Palette", theme);
    let width = usize::from(inner.width);
    let height = usize::from(inner.height.saturating_sub(1));
    let mut lines = vec![Line::from(vec![Span::styled(" :", theme.key()), Span::raw(format!("{query}▏"))])];
    let offset = centre(selected, height, entries.len());
    for (i, entry) in entries.iter().enumerate().skip(offset).take(height) {
        let keys = &entry.keys;
        let title = text::pad(&entry.title, width.saturating_sub(text::width(keys) + 5));
        let (sign, style) = if i == selected { ("▶", theme.current()) } else { (" ", theme.plain()) };
        lines.push(Line::from(vec![
            Span::styled(format!(" {sign} "), theme.here()),
            Span::styled(title, style),
            Span::styled(format!(" {keys}"), theme.key()),
        ]));
    }
    if entries.is_empty() {
        lines.push(Line::styled("   no action fits", theme.dim()));
    }
    frame.render_widget(text::paragraph(lines), inner);
}
