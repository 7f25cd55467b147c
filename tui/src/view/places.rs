//! Draws a list of places in the code: definitions or callers.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{help::popup, panel::centre, text, theme::Theme};
use crate::state::overlay::Places;

/// Draws the list with its selected entry.
pub fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme, places: &Places) {
    let height = (places.entries.len() as u16 + 2).min(area.height);
    let inner = popup(frame, area, area.width.min(110), height, &places.title, theme);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let offset = centre(places.selected, height, places.entries.len());
    let notes = places.entries.iter().map(|e| text::width(&e.note)).max().unwrap_or(0);
    let names = places.entries.iter().map(|e| text::width(&e.name)).max().unwrap_or(0).min(width / 2);
    let mut lines = Vec::new();
    for (i, entry) in places.entries.iter().enumerate().skip(offset).take(height) {
        let (sign, style) =
            if i == places.selected { ("▶", theme.current()) } else { (" ", theme.plain()) };
        let place = format!("{}:{}", entry.spot.file, entry.spot.line);
        lines.push(Line::from(vec![
            Span::styled(format!(" {sign} "), theme.here()),
            Span::styled(text::pad(&entry.name, names), style),
            Span::styled(format!("  {}", text::pad(&entry.note, notes)), theme.key()),
            Span::styled(
                format!("  {}", text::fit_end(&place, width.saturating_sub(names + notes + 8))),
                theme.dim(),
            ),
        ]));
    }
    frame.render_widget(text::paragraph(lines), inner);
}
